"""From a folder of photos to a judged classifier: `saccade transfer` beside fastai's `fine_tune`, in turns in one run.

    python -m benchmarks.transfer_peer --peer-python PYTHON --pairs 1

PYTHON is an interpreter of an environment with fastai. Both begin with the same public weights of SqueezeNet 1.1 and
the same photos, and judge the set's own test images. Ours is a whole process, start to report, with nothing kept from
an earlier one; of the peer the imports do not count. The peer is as its tutorials have it (`transfer_fastai.py`). One
round takes a quarter of an hour on two cores, so no round warms up; every file is read once before.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import common
from saccade.evaluate.metrics import wilson_interval

NETWORK, FINE_TUNE_EPOCHS = "squeezenet1.1", 3


def main() -> None:
    parser = common.argument_parser(__doc__ or "")
    parser.add_argument("--peer-python", required=True, help="an interpreter of an environment with fastai")
    parser.add_argument("--freeze", default="auto", help="of ours: auto, all or a part (default auto)")
    parser.add_argument("--minutes", type=float, default=0.0, help="of ours: a limit; 0: none (default)")
    arguments = parser.parse_args()
    header = common.start(arguments)
    folder = common.shared_folder("data/clothing-small")
    for path in folder.rglob("*.jpg"):
        path.read_bytes()  # both find the files in memory
    contestants = {"fastai": lambda: fastai(arguments, folder), "ours": lambda: ours(arguments, folder)}
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    for number in range(1 if arguments.smoke else arguments.pairs):
        for name, contestant in contestants.items():
            rounds[name].append(contestant())
            print(f"  {name}: {json.dumps(rounds[name][-1])} (round {number + 1})", file=sys.stderr)
    result = {"header": header, "rounds": rounds}
    common.report(arguments, result, table(rounds))


def ours(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Seconds of the whole command, and what its verdict says."""
    weights = common.shared_folder("weights/squeezenet1_1")
    with tempfile.TemporaryDirectory() as base:
        command = [sys.executable, "-m", "saccade", "transfer", str(folder), "--backbone", NETWORK]
        command += ["--weights", str(weights), "--freeze", arguments.freeze, "--out", f"{base}/run", "--cache"]
        command += [f"{base}/cache", "--json", "--set", f"runtime.num_threads={arguments.threads}"]
        command += ["--minutes", str(arguments.minutes)] if arguments.minutes else []
        command += ["--epochs", "1"] if arguments.smoke else []
        started_s = time.perf_counter()
        done = subprocess.run(command, cwd=common.REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
        seconds = time.perf_counter() - started_s
    answer = json.loads(done.stdout)
    parts = ("features_seconds", "depth_seconds", "heads_seconds", "fine_tuning_seconds", "frozen")
    num_correct = round(answer["top1"] * answer["num_samples"])
    return {"seconds": seconds, "num_samples": answer["num_samples"], "num_correct": num_correct} | {
        part: answer[part] for part in parts
    }


def fastai(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What `transfer_fastai.py` prints."""
    weights = common.shared_folder("weights/squeezenet1_1") / "model.safetensors"
    epochs = 1 if arguments.smoke else FINE_TUNE_EPOCHS
    command = [arguments.peer_python, "-m", "benchmarks.transfer_fastai", str(folder), str(weights), str(epochs)]
    command += [str(arguments.threads)]
    done = subprocess.run(command, cwd=common.REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def table(rounds: dict[str, list[dict[str, Any]]]) -> str:
    """Accuracy and time of every round, and the ratio of the times."""
    lines = ["| way | test accuracy | start to verdict |", "|---|---|---|"]
    for name, results in rounds.items():
        for result in results:
            lines.append(f"| {name} | {accuracy(result, 'num_correct')} | {result['seconds']:.0f} s |")
            if "num_correct_augmented" in result:
                augmented = accuracy(result, "num_correct_augmented")
                lines.append(f"| {name}, with its test-time augmentation | {augmented} | |")
    seconds = {name: [result["seconds"] for result in results] for name, results in rounds.items()}
    lines.append("")
    lines.append(f"times, ours over fastai's: {common.paired_ratio(seconds['ours'], seconds['fastai'])}")
    return "\n".join(lines)


def accuracy(result: dict[str, Any], key: str) -> str:
    """Share of correct answers in percent, with its 95 % Wilson interval."""
    low, high = wilson_interval(result[key], result["num_samples"])
    share = 100 * result[key] / result["num_samples"]
    return f"{share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    main()
