"""Completion in a real shell: what a person gets who presses Tab."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.processes import PATIENCE_S

ASK = """
set -e
eval "$(saccade completion bash)"
complete -p saccade
COMP_WORDS=(saccade tra) COMP_CWORD=1 COMP_LINE="saccade tra" COMP_POINT=11
"$(complete -p saccade | sed 's/.*-F \\([^ ]*\\).*/\\1/')" saccade
printf '%s\\n' "${COMPREPLY[@]}"
"""


def saccade_on_the_path(folder: Path) -> dict[str, str]:
    """The environment of a shell in which `saccade` is this package."""
    command = folder / "saccade"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m saccade "$@"\n')
    command.chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHON": sys.executable, "HOME": str(folder)}


def test_bash_completes_a_command_by_the_script_that_saccade_prints(tmp_path: Path):
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK],
        env=saccade_on_the_path(tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-2:] == ["train", "transfer"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_saccade_prints_a_script_that_the_shell_can_read(tmp_path: Path, shell: str):
    environment = saccade_on_the_path(tmp_path)
    command = ["saccade", "completion", shell]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_SACCADE_COMPLETE" in done.stdout
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here to read its script")
    script = tmp_path / f"script.{shell}"
    script.write_text(done.stdout)
    read = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, timeout=PATIENCE_S)
    assert (read.returncode, read.stderr) == (0, "")


def test_another_shell_is_refused(saccade: Callable):
    done = saccade("completion", "tcsh")
    message = "error: There is no completion for 'tcsh'. Did you mean 'zsh'? Shells: bash, zsh, fish.\n"
    assert (done.status, done.errors) == (2, message)
