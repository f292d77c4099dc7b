"""Kill the building of a feature cache at random calls to the disk, and compare what is read afterwards with the truth.

    python -m campaigns.kill_feature_cache --trials 100 --seed 0

A child process computes the features of 160 of the built-in digits, sixteen to a file, and sends itself SIGKILL in
front of a random write, sync, rename or removal; sometimes a second one goes on and is killed too. Whoever comes next
must get the bits of features that never saw a cache, compute only what is not there, and leave no temporary file.
"""

import argparse
import json
import random
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from saccade.core import atomic
from saccade.core.runtime import RuntimeConfig, start
from saccade.core.types import Preprocessing
from saccade.data.scan import scan_source
from saccade.data.source import open_source
from saccade.models.architecture import ModelSpec, build_model
from saccade.transfer import features
from saccade.transfer.feature_plan import FeaturePlan
from saccade.transfer.features import FeatureReport, FeatureWork, collect_features
from saccade.transfer.frozen import Tap

from .kill_and_resume import die_inside_saves
from .small_training import MEMORY, in_child

NUM_IMAGES, IMAGES_PER_FILE = 160, 16
MAX_CALLS = 52  # to the disk that an undisturbed build makes, about
LAST = Tap(depth="all", pooled=True)


def main() -> None:
    """Run the trials and print the result as JSON; exit status 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        result = run_campaign(arguments.trials, arguments.seed, Path(folder))
    print(json.dumps(result))
    sys.exit(1 if result["failures"] else 0)


def run_campaign(num_trials: int, seed: int, folder: Path) -> dict[str, Any]:
    """`num_trials` builds, killed; returns how many kills struck, how much they left, and every difference found."""
    features.RECORDS_PER_FILE = IMAGES_PER_FILE
    torch.set_num_threads(1)  # a process that has computed on several threads cannot fork
    plan = digits_plan()
    truth_ND, _ = collect_in_child(plan, None, folder)
    draw = random.Random(seed)
    failures: list[str] = []
    num_kills = num_kept = 0
    for number in range(num_trials):
        root = folder / f"trial-{number}"
        for _ in range(draw.choice([1, 1, 2])):
            num_kills += in_child(partial(build_until, plan, root, draw.randint(1, MAX_CALLS)))
        value_ND, report = collect_in_child(plan, root, folder)
        num_kept += report["found"]
        again_ND, all_found = collect_in_child(plan, root, folder)
        if not (np.array_equal(value_ND, truth_ND) and np.array_equal(again_ND, truth_ND)):
            failures.append(f"trial {number}: other features")
        if report["computed"] + report["found"] != NUM_IMAGES or all_found["computed"] or report["notes"]:
            failures.append(f"trial {number}: {report} and then {all_found}")
        failures += [f"trial {number}: {path} was left" for path in root.rglob(f"*{atomic.TEMPORARY_SUFFIX}")]
    return {"trials": num_trials, "kills": num_kills, "images kept": num_kept, "seed": seed, "failures": failures}


def digits_plan() -> FeaturePlan:
    """LeNet-5 with random weights on some digits, on one thread, so that a process that uses it can fork."""
    torch.manual_seed(0)
    source = open_source("digits")
    return FeaturePlan(
        model=build_model("lenet5", ModelSpec(num_classes=10, input_CHW=(1, 32, 32))),
        network="lenet5",
        source=source,
        digest_NB=scan_source(source, 1).bytes_digest_N,
        preprocessing=Preprocessing(channels="grey", input_height_px=32, input_width_px=32, mean=(0.5,), std=(0.25,)),
        runtime=start(RuntimeConfig.parse({"num_threads": 1, "precision": "float32"}, "campaign")),
        dtype="float32",
    )


def collect_in_child(plan: FeaturePlan, root: Path | None, folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """The features, with the cache in `root` or none, and what happened. They are computed in a process of their own:
    one that computes and then forks may leave its child a lock that nobody opens."""
    path = folder / "collected.safetensors"

    def compute() -> None:
        value_ND, report = collect(plan, root)
        told = {"computed": report.num_computed, "found": report.num_found, "notes": report.notes}
        save_file({"value_ND": value_ND.numpy()}, path, metadata={"report": json.dumps(told)})

    if in_child(compute):
        raise RuntimeError("the features were not computed: something killed the process")
    with safe_open(path, "numpy") as file:
        return file.get_tensor("value_ND"), json.loads(file.metadata()["report"])


def collect(plan: FeaturePlan, root: Path | None) -> tuple[torch.Tensor, FeatureReport]:
    """The features, with the cache in `root` or none, and what happened."""
    work = FeatureWork(cache=(root, 10**9) if root else None)
    found = collect_features(plan, [LAST], np.arange(NUM_IMAGES), work)
    return found[LAST], work.report


def build_until(plan: FeaturePlan, root: Path, calls_left: int) -> None:
    """Build the cache; die in front of a call to the disk."""
    die_inside_saves(calls_left)
    collect(plan, root)


if __name__ == "__main__":
    main()
