"""How far to trust a classifier: intervals, calibration, confusions, mistakes, and labels that may be wrong."""

import tempfile
from pathlib import Path

import numpy as np

from saccade import api


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary) / "run"
        api.train(api.TrainRequest(source="digits", epochs=3, out=run))

        evaluation = api.evaluate([run], "digits")
        metrics = evaluation.metrics
        print(f"judged on {evaluation.judged_on}")
        print(f"accuracy {metrics.top1:.3f}, between {metrics.top1_low:.3f} and {metrics.top1_high:.3f} (95 %)")
        print(f"always guessing '{metrics.majority_class}': {metrics.majority_rate:.3f}")

        # A confidence of 0.8 should be right 8 times of 10; the temperature, fitted on validation images, mends it.
        print(f"calibration error {metrics.ece:.3f}, with the temperature {evaluation.calibrated().ece:.3f}")

        confusion_KK = metrics.confusion_KK.copy()
        np.fill_diagonal(confusion_KK, 0)
        true, said = np.unravel_index(confusion_KK.argmax(), confusion_KK.shape)
        print(f"most frequent confusion: '{metrics.classes[true]}' taken for '{metrics.classes[said]}'")

        for mistake in evaluation.mistakes()[:3]:
            print(f"{mistake.key}: labelled '{mistake.label}', said '{mistake.said}' ({mistake.said_probability:.2f})")

        print(api.check_labels(run, "digits").sentence())
        print(f"report: {api.report(run).name}")


if __name__ == "__main__":
    main()
