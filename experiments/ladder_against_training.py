"""Do the short trainings by which `--freeze auto` chooses a depth favour the new last layer over real fine-tuning?

    python -m experiments.ladder_against_training PHOTOS --backbone squeezenet1.1 --weights FILE --out runs/ladder

The ladder trains everything behind a depth for three epochs on kept features, without augmentation; the run that
follows trains for the recipe's epochs with it. For each seed this runs the ladder once, then the whole transfer at
each of its depths, and compares what training behind a depth gains over the new last layer alone: on the images that
the ladder left out, and on the test images. A positive `favours_all` (points, mean over depths and seeds) says that
the ladder promises less than fine-tuning keeps. `lost` is what the best depth of a seed, the last layer alone among
them, gains on the test images over the one that `--freeze auto` takes (points, mean over seeds); `lost_by_evidence` is
the same where a depth is taken only if its short tail is better beyond chance. PHOTOS has its own splits; the rows go
into `results.json`, too.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from experiments.freeze_by_images import EVERYTHING, write_list
from saccade import api
from saccade.data.source import open_source
from saccade.models.surgery import ALL
from saccade.transfer.looks import BOUNDS
from saccade.transfer.request import TransferRequest
from saccade.transfer.run import TransferResult


def main() -> None:
    """Print one line for each seed and depth, then the mean difference of the two gains with its standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", default="20", help="training images a class, or all")
    parser.add_argument(
        "--depths", default="", help="depths to train behind, separated by commas; default: the ladder's"
    )
    parser.add_argument("--epochs", type=int, default=None, help="of the fine-tuning; default: the recipe's")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for line in measured(seed, arguments):
            rows.append(line)
            print(json.dumps(line), flush=True)
    result = {"rows": rows, **summary(rows)}
    print(json.dumps({name: value for name, value in result.items() if name != "rows"}), flush=True)
    (arguments.out / "results.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measured(seed: int, arguments: argparse.Namespace) -> list[dict[str, object]]:
    """The gain at each depth of one seed, left out and on test images; nothing where the ladder tried no depth."""
    arguments.seed = seed  # of the order in which images are taken
    number = EVERYTHING if arguments.images == "all" else int(arguments.images)
    listed = write_list(open_source(str(arguments.photos)), arguments.photos, number, arguments)
    listed = listed.rename(listed.with_name(f"seed-{seed}-{listed.name}"))

    def transfer(freeze: str) -> TransferResult:
        request = TransferRequest(
            source=str(listed),
            backbone=arguments.backbone,
            weights=arguments.weights,
            freeze=freeze,
            epochs=arguments.epochs,
            seed=seed,
            out=arguments.out / f"seed-{seed}-{freeze}",
        )
        return api.transfer(request)

    ladder = transfer("auto")
    rungs = {(rung.depth, rung.trained): rung for rung in ladder.start.rungs}
    tails = [depth for depth, trained in rungs if trained == "tail"]
    chosen = [depth for depth in arguments.depths.split(",") if depth] or tails
    if not (chosen := [depth for depth in chosen if depth in tails]):
        return []
    head = rungs[ALL, "linear"]
    base = transfer(ALL).run.judgement.metrics.top1
    lines: list[dict[str, object]] = []
    evident = [depth for depth in tails if rungs[depth, "tail"].p_better < BOUNDS[1][0]]  # the last is the best
    for depth in chosen:
        rung = rungs[depth, "tail"]
        test = (ladder if depth == ladder.start.frozen else transfer(depth)).run.judgement.metrics  # one run, if equal
        lines.append(
            {
                "seed": seed,
                "depth": depth,
                "left_out_images": rung.num_judged,
                "left_out_gain": rung.accuracy - head.accuracy,
                "test_images": test.num_samples,
                "test_gain": test.top1 - base,
                "chosen": ladder.start.frozen,
                "evident": evident[-1] if evident else ALL,
            }
        )
    return lines


def summary(rows: list[dict[str, object]]) -> dict[str, object]:
    """How much more fine-tuning gains than the ladder saw, in points, with its standard error over rows; and what is
    lost by the depth that is taken."""
    difference_N = np.array([100 * (float(row["test_gain"]) - float(row["left_out_gain"])) for row in rows])  # type: ignore[arg-type]
    if not len(difference_N):
        return {"favours_all": None, "standard_error": None, "lost": None, "lost_by_evidence": None}
    error = float(difference_N.std(ddof=1) / len(difference_N) ** 0.5) if len(difference_N) > 1 else None
    return {
        "favours_all": round(float(difference_N.mean()), 2),
        "standard_error": error and round(error, 2),
        "lost": lost(rows, "chosen"),
        "lost_by_evidence": lost(rows, "evident"),
    }


def lost(rows: list[dict[str, object]], how: str) -> float | None:
    """Points of test accuracy between the best depth of a seed and that in the column `how`, mean over seeds."""
    gains: dict[object, dict[object, float]] = {}
    for row in rows:
        gains.setdefault(row["seed"], {ALL: 0.0})[row["depth"]] = 100 * float(row["test_gain"])  # type: ignore[arg-type]
    taken = {row["seed"]: row[how] for row in rows}
    each = [max(own.values()) - own[taken[seed]] for seed, own in gains.items() if taken[seed] in own]
    return round(sum(each) / len(each), 2) if each else None


if __name__ == "__main__":
    main()
