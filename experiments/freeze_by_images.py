"""The more data, the fewer frozen layers: the depth that `--freeze auto` chooses for 5, 20, 100 and all images a class.

    python -m experiments.freeze_by_images PHOTOS --backbone squeezenet1.1 --weights FILE --out runs/freeze-by-images

PHOTOS has its own splits. Each transfer sees the first so many training images of each class in an order drawn by
the seed, smaller sets inside larger ones, all validation images, and is judged on all test images. What was measured
at every depth goes into one picture, `ladder.svg`, beside `results.json`. Nothing about depth is told to any run.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np

from saccade import api
from saccade.data.source import DataSource, open_source
from saccade.report.ladder_chart import Step, measured_steps, write_ladder_chart
from saccade.transfer.request import TransferRequest
from saccade.transfer.run import TransferResult

EVERYTHING = 0


def main() -> None:
    """Transfer with each number of images and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", default="5,20,100,all", help="training images a class, separated by commas")
    parser.add_argument("--epochs", type=int, default=None, help="of the fine-tuning; default: the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    source = open_source(str(arguments.photos))
    rows, steps = [], []
    for text in arguments.images.split(","):
        number = EVERYTHING if text == "all" else int(text)
        listed = write_list(source, arguments.photos, number, arguments)
        request = TransferRequest(
            source=str(listed),
            backbone=arguments.backbone,
            weights=arguments.weights,
            freeze="auto",
            epochs=arguments.epochs,
            seed=arguments.seed,
            out=arguments.out / f"run-{text}",
        )
        result = api.transfer(request)
        rows.append(row(text, result))
        steps += largest_steps(result)
        print(json.dumps(rows[-1]), flush=True)
    (arguments.out / "results.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    chosen = "; ".join(f"{line['images_a_class']} a class: {line['frozen']}" for line in rows)
    write_ladder_chart(arguments.out / "ladder.svg", steps, f"Frozen up to, with so many images: {chosen}.")


def write_list(source: DataSource, photos: Path, number: int, arguments: argparse.Namespace) -> Path:
    """A CSV file of the images: `number` of each class to train on (all: 0), every validation and test image."""
    order_N = np.random.default_rng(arguments.seed).permutation(len(source))
    taken: dict[int, int] = {}
    lines = []
    for index in order_N.tolist():
        record = source.record(index)
        if record.split == "train":
            taken[record.label] = taken.get(record.label, 0) + 1
            if number and taken[record.label] > number:
                continue
        lines.append([f"photos/{record.key}", source.classes[record.label], record.split])
    link = arguments.out / "photos"  # a list names files beside or below itself
    if not link.is_symlink():
        link.symlink_to(photos.resolve(), target_is_directory=True)
    path = arguments.out / f"images-{number or 'all'}.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", "label", "split"], *sorted(lines)])
    return path


def row(text: str, result: TransferResult) -> dict[str, object]:
    """What one transfer came to."""
    metrics = result.run.judgement.metrics
    return {
        "images_a_class": text,
        "training_images": result.run.num_train,
        "frozen": result.start.frozen,
        "why": result.start.sentence,
        "top1": metrics.top1,
        "top1_low": metrics.top1_low,
        "top1_high": metrics.top1_high,
        "features_s": result.start.features_s,
        "heads_s": result.start.heads_s,
        "fine_tuning_s": result.run.training_s,
    }


def largest_steps(result: TransferResult) -> list[Step]:
    """The measurements on all the images of a run."""
    steps = measured_steps(result.start.rungs)
    full = max((step.num_images for step in steps), default=0)
    return [step for step in steps if step.num_images == full]


if __name__ == "__main__":
    main()
