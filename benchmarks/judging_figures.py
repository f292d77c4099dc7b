"""What ten crops and an ensemble of five gain and cost, and what judging itself costs.

    python -m benchmarks.judging_figures fashion-mnist [--runs FOLDER] [--pairs 3] [--json]
    python -m benchmarks.judging_figures clothing-small

Trains the ensemble first (FOLDER/NAME, kept between calls and resumable), then judges on the set's own test images: one
run, its ten crops, the ensemble, both together. Gains are over the best single run with one look. Then, in turns: on
photos, five evaluations against one of the ensemble, whole commands with reading and checking the files; everything
that judging does with 10,000 images' logits against the bare forward pass; and writing the report. `--part` does one of
the three alone: train, accuracy, costs. `--smoke` runs it all on digits.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saccade import api
from saccade.classify.classifier import Member, open_member
from saccade.classify.evaluation import Evaluation
from saccade.core.runtime import RuntimeConfig
from saccade.evaluate.calibration import selective_sentence
from saccade.evaluate.metrics import compute_metrics
from saccade.evaluate.mistakes import find_mistakes
from saccade.evaluate.scores import score_images
from saccade.evaluate.verdict import verdict
from saccade.report.page import write_report

from .common import argument_parser, interleave, paired_ratio, report, shared_folder, start

NUM_MEMBERS, NUM_IMAGES, BATCH_SIZE = 5, 10_000, 250


@dataclass(frozen=True, kw_only=True)
class Case:
    """A set of images, and what is trained on it in minutes."""

    source: str
    model: str
    epochs: int
    is_photos: bool = False
    recipe: str = ""
    settings: list[str] = field(default_factory=list)


# Photos at 64 px, and a network for them of ten million multiply-adds: an epoch is seconds on two cores.
SMALL_PHOTO_NETWORK = (
    "conv 24 f5 s2 same bn | pool | conv 48 f3 same bn | pool | conv 96 f3 same bn | pool | conv 192 f3 same bn | gap"
)
PARTS = ("all", "train", "accuracy", "costs")
CASES = {
    "fashion-mnist": Case(source="data/fashion-mnist", model="lenet5", epochs=12),
    "clothing-small": Case(
        source="data/clothing-small",
        model=SMALL_PHOTO_NETWORK,
        epochs=20,
        is_photos=True,
        recipe="photos",
        settings=["input.size_px=64", "batch_size=32"],
    ),
}


def main() -> None:
    """Run the benchmark."""
    parser = argument_parser(__doc__.split("\n")[0])
    parser.add_argument("case", choices=list(CASES))
    parser.add_argument("--runs", type=Path, default=Path("runs/judging-figures"), help="where the runs are kept")
    parser.add_argument("--part", choices=PARTS, default="all", help="do this part alone (default all)")
    arguments = parser.parse_args()
    header = start(arguments)
    case = CASES[arguments.case]
    num_members = 2 if arguments.smoke else NUM_MEMBERS
    with tempfile.TemporaryDirectory() as temporary:
        folder = (Path(temporary) if arguments.smoke else arguments.runs) / arguments.case
        source = "digits" if arguments.smoke else str(shared_folder(case.source))
        ensemble = train(case, source, folder, num_members, arguments.smoke)
        rows = figures(ensemble, source) if arguments.part in ("all", "accuracy") else []
        costs = measure_costs(case, ensemble, source, arguments) if arguments.part in ("all", "costs") else {}
    result = {"header": header, "case": arguments.case, "model": case.model, "figures": rows, "costs": costs}
    report(arguments, result, table(rows, costs))


def measure_costs(case: Case, ensemble: Path, source: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """What one pass saves on photos, what judging adds, how long a report takes."""
    runtime = RuntimeConfig(num_threads=arguments.threads)
    pairs = 1 if arguments.smoke else arguments.pairs
    costs = {"one_pass": one_pass(ensemble, source, runtime, pairs)} if case.is_photos or arguments.smoke else {}
    return costs | {
        "judging": judging(open_member(ensemble / "member-1", runtime), pairs),
        "report_seconds": report_seconds(ensemble / "member-1", pairs),
    }


def train(case: Case, source: str, folder: Path, num_members: int, smoke: bool) -> Path:
    """The folder of the finished ensemble: trained now, gone on with, or found."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    resume = api.is_ensemble(folder)
    request = api.TrainRequest(out=folder, resume=True)
    if not resume:
        request = api.TrainRequest(
            source=source,
            model="lenet5" if smoke else case.model,
            recipe="" if smoke else case.recipe,
            epochs=1 if smoke else case.epochs,
            out=folder,
            ensemble=num_members,
            settings=[] if smoke else case.settings,
        )
    print(f"  training or finding {folder}", file=sys.stderr)
    api.train_ensemble(request)
    return folder


def figures(ensemble: Path, source: str) -> list[dict[str, Any]]:
    """One row each for a single run, its ten crops, the ensemble, and both."""
    single = ensemble / "member-1"
    rows = []
    for name, runs, crops in (
        ("single", [single], 1),
        ("10 crops", [single], 10),
        ("ensemble", [ensemble], 1),
        ("ensemble, 10 crops", [ensemble], 10),
    ):
        rows.append({"name": name} | figures_row(api.evaluate(runs, source, crops)))
    return rows


def figures_row(evaluation: Evaluation) -> dict[str, Any]:
    """Accuracy with its interval; gain and times slower against one look of the best single run."""
    metrics, together = evaluation.metrics, evaluation.together
    row: dict[str, Any] = {
        "num_samples": metrics.num_samples,
        "percent": [100 * rate for rate in (metrics.top1, metrics.top1_low, metrics.top1_high)],
    }
    if together:
        gain, mean = together.gain, together.gain_over_mean
        row |= {
            "gain_points": [100 * rate for rate in (gain.difference, gain.low, gain.high)],
            "mcnemar_p": gain.p_value,
            "times_slower": together.times_slower,
        }
        if mean:
            row["gain_over_mean_points"] = [100 * rate for rate in (mean.difference, mean.low, mean.high)]
    return row


def one_pass(ensemble: Path, source: str, runtime: RuntimeConfig, pairs: int) -> Any:
    """Seconds of evaluating every member by itself over seconds of evaluating them together."""
    members = sorted(path for path in ensemble.iterdir() if path.name.startswith("member-"))

    def apart() -> float:
        started_s = time.perf_counter()
        for member in members:
            api.evaluate([member], source, runtime=runtime)
        return time.perf_counter() - started_s

    def together() -> float:
        started_s = time.perf_counter()
        api.evaluate([ensemble], source, runtime=runtime)
        return time.perf_counter() - started_s

    seconds = interleave({"evaluated one by one, s": apart, "in one pass, s": together}, pairs)
    return paired_ratio(seconds["evaluated one by one, s"], seconds["in one pass, s"])


def judging(member: Member, pairs: int) -> Any:
    """Seconds of all that judging does with the logits of 10,000 images over seconds of their forward pass."""
    num_classes = len(member.classes)
    draw = np.random.default_rng(0)
    label_N = draw.integers(0, num_classes, NUM_IMAGES)
    logits_NK = draw.normal(0, 1, (NUM_IMAGES, num_classes)).astype(np.float32)
    logits_NK[np.arange(NUM_IMAGES), label_N] += 3
    image_BCHW = torch.randint(0, 256, (BATCH_SIZE, *member.preprocessing.input_CHW), dtype=torch.uint8)
    keys = [str(number) for number in range(NUM_IMAGES)]

    def forward() -> float:
        started_s = time.perf_counter()
        for _ in range(NUM_IMAGES // BATCH_SIZE):
            member.logits(image_BCHW)
        return time.perf_counter() - started_s

    def judge() -> float:
        started_s = time.perf_counter()
        verdict(compute_metrics(logits_NK, label_N, member.classes))
        scores = score_images(logits_NK / member.temperature, label_N)
        compute_metrics(logits_NK / member.temperature, label_N, member.classes)
        selective_sentence(scores.confidence_N, scores.rank_N == 0, 0.9)
        find_mistakes(logits_NK, label_N, keys, member.classes, member.temperature)
        return time.perf_counter() - started_s

    seconds = interleave({"judging, s": judge, "forward pass, s": forward}, pairs)
    return paired_ratio(seconds["judging, s"], seconds["forward pass, s"])


def report_seconds(run: Path, pairs: int) -> list[float]:
    """Seconds to write the report, after one that loads the chart library."""

    def write() -> float:
        started_s = time.perf_counter()
        write_report(run, run / "report-timed.html")
        return time.perf_counter() - started_s

    seconds = interleave({"report, s": write}, pairs)["report, s"]
    (run / "report-timed.html").unlink()
    return seconds.tolist()


def table(rows: list[dict[str, Any]], costs: dict[str, Any]) -> str:
    """The figures for people."""
    lines = ["| what answers | correct % | 95 % interval | gain over the best single, points | times slower |"]
    lines.append("|---|---|---|---|---|")
    lines = lines if rows else []
    for row in rows:
        value, low, high = row["percent"]
        gain = "{:+.1f} ({:+.1f} to {:+.1f})".format(*row["gain_points"]) if "gain_points" in row else ""
        slower = f"{row['times_slower']:.1f}" if "times_slower" in row else "1"
        lines.append(f"| {row['name']} | {value:.1f} | {low:.1f} to {high:.1f} | {gain} | {slower} |")
    if "one_pass" in costs:
        lines += ["", f"The ensemble in one pass is {costs['one_pass']} times as fast as its members one by one."]
    if "judging" in costs:
        times = ", ".join(f"{seconds:.2f}" for seconds in costs["report_seconds"])
        share = f"Judging 10,000 images takes {costs['judging']} of the forward pass."
        lines += ["", share, f"Writing the report: {times} s."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
