"""Who starts whom, who is started again, and that one process says what went wrong."""

import os
import shlex
import signal
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from tests.processes import Program

from saccade.cli import launch
from saccade.cli.agent import Ended, failure_of, may_start_again
from saccade.core.errors import UsageError

SCALE = Path(__file__).parents[2] / "examples/scale"
linux = pytest.mark.skipif(sys.platform == "darwin", reason="torch's processes of one machine are tried on Linux")
SMALL = ["digits", "--model", "conv 4 f3 | gap | fc 10", "--epochs", "1", "--set", "input.size_px=12"]
NO_ANSWER = "process 0 (host a): another process of the run does not answer: it is gone.\nand so on"
INTACT = "What was saved is intact; go on with --resume, on any number of processes."


def ended(rank: int, status: int, kind: str = "", message: str = "", seconds: float = 0.0) -> Ended:
    return Ended(rank=rank, status=status, kind=kind, message=message, seconds=seconds)


KILLED = [ended(0, 1, "no answer", NO_ANSWER, 2.0), ended(1, -9)]
HALTED = [ended(0, 1, "no answer", NO_ANSWER, 1.0), ended(1, 143, "stopped", "Stopped.", 2.0)]
BAD_FILE = [ended(0, 1, "own", "process 1 (host b): a.png: cut off", 2.0), ended(1, 1, "own", "a.png: cut off", 1.0)]
ASKED = [ended(0, 143, "stopped", "Stopped; everything is saved in r.", 2.0), ended(1, 143, "stopped", "Stopped.", 1.0)]
BUG = [ended(0, 1, "no answer", NO_ANSWER, 2.0), ended(1, 1)]


def test_processes_are_started_again_after_a_kill_and_never_after_an_error_that_would_come_again():
    assert [may_start_again(them) for them in (KILLED, HALTED, BAD_FILE, ASKED, BUG)] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_one_message_says_why_the_processes_ended():
    assert failure_of(KILLED, 3) == (
        f"Process 1 was ended by SIGKILL. The processes were started again 3 times.\n"
        f"SIGKILL is what the system sends when memory runs out.\n{INTACT}",
        1,
    )
    assert failure_of(HALTED, 0) == (f"P{NO_ANSWER[1:].splitlines()[0]}\n{INTACT}", 1)
    assert failure_of(BAD_FILE, 0) == ("process 1 (host b): a.png: cut off", 1)
    assert failure_of(ASKED, 0) == ("Stopped; everything is saved in r.", 143)
    assert failure_of(BUG, 0) == (f"Process 1 ended with status 1.\n{INTACT}", 1)
    assert failure_of([ended(0, -signal.SIGTERM), ended(1, -signal.SIGTERM)], 0) == ("Stopped.", 143)


def test_each_process_is_started_with_the_command_without_the_option():
    words = ["train", "--processes", "2", "digits", "--processes=3", "--out", "a", "--", "--processes"]
    assert launch.without_processes(words) == ["train", "digits", "--out", "a", "--", "--processes"]


@pytest.mark.parametrize("asked", ["0", "-1", "two", "1025", "2.0"])
def test_a_number_of_processes_that_is_none_is_refused(asked: str):
    with pytest.raises(UsageError) as error:
        launch.number_of_processes(asked, "train")
    assert error.value.message == (
        f"--processes must be auto or a number from 1 to 1,024; not '{asked}'.\nHelp: saccade train --help"
    )
    assert launch.number_of_processes("", "train") == 1


def said_by(
    arguments: list[str], folders: list[Path], settings: dict[str, str] | None = None
) -> tuple[list[int], list[str]]:
    """(exit statuses, what each said on stderr) of `saccade ARGUMENTS` as one process in each of the folders."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(len(folders))}
    group |= {"LOCAL_WORLD_SIZE": str(len(folders)), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    programs = [
        Program(
            ["-m", "saccade", *arguments],
            folder,
            {**os.environ, **group, **(settings or {}), "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank, folder in enumerate(folders)
    ]
    done = [program.communicate() for program in programs]
    return [one.returncode for one in done], [one.stderr for one in done]


@linux
def test_a_verb_of_one_process_says_so_once(tmp_path: Path):
    text = (
        "error: 'saccade models' runs in one process, and 2 were started (torchrun).\n"
        "Start it without torchrun. Together run: saccade train, saccade transfer, saccade evaluate.\n"
    )
    assert said_by(["models"], [tmp_path] * 2) == ([2, 2], [text, ""])
    text = (
        "error: Each of the 2 processes that were started (torchrun) would do all of 'saccade predict'.\n"
        "Let each do its part: --out FOLDER --unit-of env\n"
    )
    assert said_by(["predict", "run", "photos"], [tmp_path] * 2) == ([2, 2], [text, ""])


@linux
@pytest.mark.parametrize("option", [["--find-lr"], ["--dry-run"]])
def test_what_trains_nothing_is_refused_once(tmp_path: Path, option: list[str]):
    text = (
        f"error: {option[0]} runs in one process.\n"
        f"Leave it out, or start the command without --processes and torchrun.\n"
    )
    assert said_by(["train", *SMALL, *option], [tmp_path] * 2) == ([2, 2], [text, ""])


@linux
def test_an_option_that_is_unknown_is_told_once(tmp_path: Path):
    statuses, said = said_by(["train", "digits", "--nonsense"], [tmp_path] * 2)
    assert statuses == [2, 2]
    assert said[0].startswith("error: No such option: --nonsense")
    assert said[1] == ""


@linux
def test_more_processes_than_lanes_are_refused(tmp_path: Path):
    text = (
        "error: The run computes every batch in 2 lanes, and 3 processes cannot share that: each needs a lane.\n"
        "Start 2 at most, or begin a new run with another --out.\n"
    )
    words = ["train", *SMALL, "--out", "run", "--set", "scale.lanes=2"]
    assert said_by(words, [tmp_path] * 3) == ([2, 2, 2], [text, "", ""])
    assert list(tmp_path.iterdir()) == []


@linux
def test_torchrun_that_restarts_needs_its_variable(tmp_path: Path):
    """Without it, processes that are started again wait for the addresses of the dead ones, for ever."""
    text = (
        "error: torchrun --max-restarts 3 needs a variable: without it, processes that are started again wait for the "
        "dead ones.\n"
        "Set it on every machine, then run again: export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1\n"
    )
    settings = {"TORCHELASTIC_MAX_RESTARTS": "3", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    assert said_by(["train", *SMALL], [tmp_path] * 2, settings) == ([2, 2], [text, ""])


@linux
def test_processes_that_see_other_images_are_refused(tmp_path: Path):
    folders = [tmp_path / "a", tmp_path / "b"]
    draw = np.random.default_rng(0)
    for number in range(60):
        image = Image.fromarray(draw.integers(0, 256, (16, 16), np.uint8))
        for place, folder in enumerate(folders):
            path = folder / "photos" / f"class-{number % 2}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if number or not place:
                image.save(path)
    words = ["train", "photos", "--model", "conv 4 f3 | gap | fc 2", "--epochs", "1", "--set", "batch_size=16"]
    statuses, said = said_by([*words, "--set", "input.size_px=12"], folders)
    host = socket.gethostname()
    expected = (
        f"error: The processes see other images: process 1 (host {host}) finds 59, process 0 (host {host}) 60, and "
        f"they are not the same.\n"
        f"Every machine must have the same images, under the same names. Copy them, or give a folder that all share.\n"
    )
    assert statuses == [1, 1]
    assert said[0].endswith(expected)
    assert said[1] == ""


@linux
def test_the_pods_of_the_job_set_train_one_run_and_go_on_with_it(tmp_path: Path):
    """Two machines stand for two pods: each runs the command of the example, with one process and a small network."""
    job_set = yaml.safe_load((SCALE / "train_jobset.yaml").read_text())
    job = job_set["spec"]["replicatedJobs"][0]["template"]["spec"]
    container = job["template"]["spec"]["containers"][0]
    host = f"{job_set['metadata']['name']}-{job_set['spec']['replicatedJobs'][0]['name']}-0-0"
    assert (container["command"], job["completions"]) == (["sh", "-c"], 2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = container["args"][0]
    for old, new in (
        (f"--rdzv-endpoint {host}.photos:29400", f"--rdzv-endpoint 127.0.0.1:{port} --local-addr 127.0.0.1"),
        ("--nproc-per-node 4", "--nproc-per-node 1"),
        ("exec torchrun", f"exec {sys.executable} -m torch.distributed.run"),
        ("set -- photos", f"set -- {' '.join(shlex.quote(word) for word in SMALL)}"),
    ):
        assert old in script
        script = script.replace(old, new)
    settings = {entry["name"]: entry["value"] for entry in container["env"]}
    environment = {**os.environ, **settings, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    start = "import os, sys; os.execvp('sh', ['sh', '-c', sys.argv[1]])"
    for said in ("held-out images", "finished"):
        pods = [Program(["-c", start, script], tmp_path, environment) for _ in range(2)]
        done = [pod.communicate() for pod in pods]
        assert [each.returncode for each in done] == [0, 0], done
        assert sum(said in each.stdout + each.stderr for each in done) == 1  # one process of the job speaks
