"""What is not there is told before torch is imported, which takes seconds, in the words of what would open it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.processes import PATIENCE_S

CODE = """
import sys
sys.modules["torch"] = None  # importing it fails
from saccade.cli.main import main
for words in {commands!r}:
    sys.argv = ["saccade", *words]
    try:
        main()
    except SystemExit as ending:
        print(ending.code, file=sys.stderr)
"""
NO_RUN = (
    "error: The run runs/none is not there.\n"
    "Give the folder that 'saccade train' printed, such as runs/digits-lenet5-1.\n"
)
NO_IMAGE = "error: none.jpg: cannot be read: No such file or directory.\n"


def test_no_verb_waits_for_torch_to_say_that_nothing_is_there(tmp_path: Path):
    no_source = (
        f"error: There is no file or folder 'none/' (looked in {tmp_path}).\n"
        f"Give a folder with one sub-folder of images per class, or a built-in set: digits.\n"
    )
    (tmp_path / "run" / "checkpoint-best").mkdir(parents=True)
    told = {
        NO_IMAGE: [
            "predict run none.jpg",
            "explain run none.jpg",
            "similar run none.jpg digits",
            "suggest run none.jpg",
            "drift run none.jpg",
            "features run none.jpg --out f.parquet",
        ],
        NO_RUN: [
            "predict runs/none digits",
            "evaluate runs/none digits",
            "explain runs/none none.jpg",
            "similar runs/none none.jpg digits",
            "suggest runs/none digits",
            "drift runs/none digits",
            "features runs/none digits --out f.parquet",
            "add-class runs/none digits",
            "export runs/none --format hub",
            "report runs/none",
        ],
        no_source: [
            "train none/",
            "transfer none/",
            "evaluate run none/",
            "add-class run none/",
            "inspect none/",
            "shard none/ --out o",
            "preview none/ --out p.png",
        ],
    }
    commands = [line.split() for lines in told.values() for line in lines]
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(commands=commands)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout == ""
    assert done.stderr == "".join(f"{message}1\n" for message, lines in told.items() for _ in lines)


def test_a_network_that_is_given_with_weights_is_no_missing_run(saccade: Callable[..., Any], tmp_path: Path):
    """The hub calls networks OWNER/NAME."""
    (tmp_path / "a.png").touch()
    done = saccade("features", "timm/nothing", tmp_path / "a.png", "--weights", "none.safetensors", "--out", "f.npz")
    assert (done.status, done.output) == (2, "")
    assert done.errors.startswith("error: Unknown model 'timm/nothing'.")
