"""What does temperature scaling gain on other images, by the number of images it is fitted on?

    python -m experiments.temperature_by_images RUN...          a minute for each run

Of the judged images of each run, which training did not see, `n` are drawn to fit the temperature and all others are
judged by their log loss, 200 times. The change against no temperature is given for the fit with the smallest log loss
(Guo et al. 2017) and for the shrunk fit that a run uses: its mean, and in what share of the draws it is worse.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from saccade.evaluate.calibration import fit_temperature, log_probabilities, shrunk_temperature
from saccade.report.record import read_run

NUMBERS = (10, 20, 40, 100, 300, 1000)
FITS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"fitted": fit_temperature, "shrunk": shrunk_temperature}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="judged runs")
    parser.add_argument("--draws", type=int, default=200, help="how often images are drawn (default 200)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    rows = []
    for path in arguments.runs:
        record = read_run(path)
        for number in NUMBERS:
            if 2 * number <= len(record.label_N):
                found = {
                    name: changes(record.logits_NK, record.label_N, number, fit, arguments.draws)
                    for name, fit in FITS.items()
                }
                rows.append(
                    {"run": path.name, "images": number, **{name: summary(values) for name, values in found.items()}}
                )
    if arguments.json:
        print(json.dumps({"results": rows}))
        return
    print("change of the log loss on other images; in brackets: share of draws in which it is worse")
    for row in rows:
        cells = [f"{name} {row[name]['mean']:+.4f} ({row[name]['worse']:.0%})" for name in FITS]
        print(f"{row['run']:24} {row['images']:5} images   {'   '.join(cells)}")


def changes(
    logits_NK: np.ndarray, label_N: np.ndarray, number: int, fit: Callable[[np.ndarray, np.ndarray], float], draws: int
) -> np.ndarray:
    """float64 (draws,): log loss with the temperature less that without, on the images that it was not fitted on."""
    draw, found = np.random.default_rng(0), np.zeros(draws)
    for attempt in range(draws):
        order_N = draw.permutation(len(label_N))
        used, others = order_N[:number], order_N[number:][:1000]
        temperature = fit(logits_NK[used], label_N[used])
        own = np.arange(len(others)), label_N[others]
        logits = logits_NK[others].astype(np.float64)
        found[attempt] = (log_probabilities(logits)[own] - log_probabilities(logits / temperature)[own]).mean()
    return found


def summary(change: np.ndarray) -> dict[str, float]:
    """The mean, and the share that is worse."""
    return {"mean": float(change.mean()), "worse": float((change > 1e-9).mean())}


if __name__ == "__main__":
    main()
