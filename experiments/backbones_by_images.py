"""Which of several networks is chosen with 5, 20, 100 and all images a class, and was the choice right?

    python -m experiments.backbones_by_images PHOTOS --weights FILE --weights FILE --out runs/backbones-by-images

PHOTOS has its own splits. Each comparison sees the first so many training images of each class in an order drawn by
the seed, smaller sets inside larger ones. Then every network is fitted with everything frozen and judged on all test
images, of which the comparison saw none: `test_top1` by network says whether the chosen one is the better one.
"""

import argparse
import json
from pathlib import Path

from experiments.freeze_by_images import EVERYTHING, write_list
from saccade import api
from saccade.data.source import open_source
from saccade.models.surgery import ALL
from saccade.transfer.request import TransferRequest
from saccade.transfer.run import TransferResult


def main() -> None:
    """Compare with each number of images and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--weights", action="append", required=True, help="of one network; repeat it for each")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", default="5,20,100,all", help="training images a class, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    source = open_source(str(arguments.photos))
    rows = []
    for text in arguments.images.split(","):
        number = EVERYTHING if text == "all" else int(text)
        listed = str(write_list(source, arguments.photos, number, arguments))
        compared = transfer(listed, arguments.weights, arguments, f"compared-{text}")
        alone = [
            transfer(listed, weights, arguments, f"alone-{text}-{place}")
            for place, weights in enumerate(arguments.weights)
        ]
        rows.append(row(text, compared, alone))
        print(json.dumps(rows[-1]), flush=True)
    (arguments.out / "results.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def transfer(listed: str, weights: str | list[str], arguments: argparse.Namespace, name: str) -> TransferResult:
    """A transfer with everything frozen; features are kept in the output folder."""
    request = TransferRequest(
        source=listed,
        weights=weights,
        freeze=ALL,
        seed=arguments.seed,
        out=arguments.out / name,
        cache=arguments.out / "cache",
    )
    return api.transfer(request)


def row(text: str, compared: TransferResult, alone: list[TransferResult]) -> dict[str, object]:
    """What was chosen and why, and how good every network is on the test images."""
    test_top1 = {result.run.config.transfer.backbone: result.run.judgement.metrics.top1 for result in alone}
    return {
        "images_a_class": text,
        "training_images": compared.run.num_train,
        "chosen": compared.run.config.transfer.backbone,
        "why": compared.start.backbone_sentence,
        "left_out_top1": {each.name: round(each.accuracy, 4) for each in compared.start.backbones},
        "test_top1": {name: round(top1, 4) for name, top1 in test_top1.items()},
    }


if __name__ == "__main__":
    main()
