"""Kill, halt and starve the processes of `--processes 2`; compare every bit with a run of one process.

    python -m campaigns.processes --each 10 --per-run 3 --seed 0
    python -m campaigns.processes --works transfer ensemble folds

A trial trains a small network on the built-in digits on two processes (or adapts one, or trains an ensemble or folds)
and does one thing to them at a random moment, half of these inside a save: SIGKILL to process 0 or 1, SIGSTOP, SIGKILL
to the command itself, SIGTERM to one process, a disk that takes no more. A killed or halted process is started again by
the command; what ended is gone on with, on one or two processes. Every run must end with the weights, optimizer state,
metric log and logits of one process alone; none may leave a process, a held lock, or a listener outside loopback
behind. Linux only.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from saccade import api
from saccade.core import lock
from saccade.core.errors import SaccadeError
from saccade.models.architecture import ModelSpec, build_model

from .small_training import COMMON, MODEL, differences, fingerprint, in_child

SIDE_BY_SIDE = [*COMMON, "scale.timeout_s=4", "optimizer.name=adamw", "augment.mixup.alpha=0.4"]
SETTINGS = [*SIDE_BY_SIDE, "scale.lanes=8"]
OF_FOLDS = [*(setting for setting in SIDE_BY_SIDE if "test_fraction" not in setting), "batch_size=256"]
OF_TRANSFER = [*(setting for setting in COMMON if "size_px" not in setting), "scale.timeout_s=4", "scale.lanes=8"]
EPOCHS = 3
WORKS = ("train", "transfer", "ensemble", "folds")
MOST = {"train": 18, "transfer": 18, "ensemble": 54, "folds": 40}  # saved steps: some are left behind them
RUNS = {
    "train": ["."],
    "transfer": ["."],
    "ensemble": ["member-1", "member-2", "member-3"],
    "folds": ["folds/fold-1", "folds/fold-2", "."],
}
PIXELS = {"channels": "grey", "input_height_px": 32, "input_width_px": 32, "mean": [0.5], "std": [0.25]}
WEIGHTS, CARD = "weights.safetensors", "pixels.json"  # of a transfer, beside the runs
FAULTS = ("kill 0", "kill 1", "halt 0", "halt 1", "kill the command", "terminate 0", "terminate 1", "disk full")
STATUS = {"terminate 0": 143, "terminate 1": 143, "disk full": 1, "kill the command": -signal.SIGKILL}
PATIENCE_S = 600.0
LISTENS = "0A"  # in /proc/net/tcp


def main() -> None:
    """Run the trials and print the result as JSON; exit status 1 where any trial fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=1)
    parser.add_argument("--per-run", type=int, default=1, help="faults that befall a run one after the other; up to 3")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", nargs="*", default=FAULTS, choices=FAULTS)
    parser.add_argument("--works", nargs="*", default=["train"], choices=WORKS)
    arguments = parser.parse_args()
    faults = [fault for fault in arguments.faults for _ in range(arguments.each)]
    random.Random(arguments.seed).shuffle(faults)
    trials = [faults[start : start + arguments.per_run] for start in range(0, len(faults), arguments.per_run)]
    failed = False
    for work in arguments.works:
        with tempfile.TemporaryDirectory() as folder:
            result = run_campaign(trials, arguments.seed, Path(folder), work)
        print(json.dumps({"work": work} | result), flush=True)
        failed |= bool(result["failures"])
    sys.exit(1 if failed else 0)


def run_campaign(trials: list[list[str]], seed: int, folder: Path, work: str = "train") -> dict[str, Any]:
    """One run for each of `trials`, the faults that befall it one after the other; returns what failed, and how long
    it took until the others noticed, and until the run went on."""
    draw = random.Random(seed)
    write_weights(folder)
    in_child(partial(alone, folder / "reference", work))
    reference = prints_of(folder / "reference", work)
    failures: list[str] = []
    noticed_s: dict[str, list[float]] = {}
    again_s: dict[str, list[float]] = {}
    for number, faults in enumerate(trials):
        run = folder / f"trial-{number}"
        trial = Trial(run, draw, work)
        try:
            for place, fault in enumerate(faults, start=1):
                most_steps = MOST[work] * place // len(faults)
                for seconds, found in zip(trial.suffer(fault, most_steps), (noticed_s, again_s), strict=True):
                    found.setdefault(fault, []).append(round(seconds, 1))
            trial.end()
            failures += [f"trial {number} ({', '.join(faults)}): {text}" for text in trial.problems]
            failures += [
                f"trial {number} ({', '.join(faults)}): {text}" for text in differences(reference, prints_of(run, work))
            ]
        except (TimeoutError, RuntimeError, SaccadeError) as error:
            failures.append(f"trial {number} ({', '.join(faults)}): {error}; it said: {trial.said()[-600:]}")
        finally:
            trial.kill()
        shutil.rmtree(run, ignore_errors=True)
    seconds = {"seconds until noticed": noticed_s, "seconds until it went on": again_s}
    return {"trials": len(trials), "seed": seed, **seconds, "failures": failures}


def write_weights(folder: Path) -> None:
    """What a transfer begins with: LeNet-5 with random weights for seven other classes, and how it sees pixels."""
    torch.manual_seed(3)
    save_file(build_model("lenet5", ModelSpec(num_classes=7, input_CHW=(1, 32, 32))).state_dict(), folder / WEIGHTS)
    (folder / CARD).write_text(json.dumps(PIXELS))


def alone(run: Path, work: str = "train") -> None:
    """The run, or the runs, in one process."""
    if work == "transfer":
        request = api.TransferRequest(
            source="digits",
            backbone="lenet5",
            weights=run.parent / WEIGHTS,
            preprocessing=run.parent / CARD,
            freeze="stem",
            epochs=EPOCHS,
            out=run,
            cache="none",
            settings=OF_TRANSFER,
        )
        api.transfer(request, None, "campaign")
        return
    settings = {"train": SETTINGS, "ensemble": SIDE_BY_SIDE, "folds": OF_FOLDS}[work]
    asked = api.TrainRequest(source="digits", model=MODEL, epochs=EPOCHS, out=run, settings=settings)
    if work == "ensemble":
        api.train_ensemble(replace(asked, ensemble=3), None, "campaign")
    else:
        api.train(replace(asked, folds=2 if work == "folds" else 0), None, "campaign")


def words_of(run: Path, work: str) -> list[str]:
    """The same, as one types it."""
    if work == "transfer":
        weights = ["--weights", str(run.parent / WEIGHTS), "--preprocessing", str(run.parent / CARD)]
        return ["transfer", "digits", "--backbone", "lenet5", "--freeze", "stem", *weights, *_set(OF_TRANSFER)]
    more = {"train": _set(SETTINGS), "ensemble": ["--ensemble", "3", *_set(SIDE_BY_SIDE)]}
    return ["train", "digits", "--model", MODEL, *more.get(work, ["--folds", "2", *_set(OF_FOLDS)])]


def going_on(run: Path, work: str) -> list[str]:
    """What goes on with it."""
    weights = ["--weights", str(run.parent / WEIGHTS)] if work == "transfer" else []
    return ["transfer" if work == "transfer" else "train", "--resume", *weights]


def _set(settings: Sequence[str]) -> list[str]:
    return ["--epochs", str(EPOCHS), *(word for setting in settings for word in ("--set", setting))]


def prints_of(run: Path, work: str) -> dict[str, Any]:
    """What must be equal of all its runs, and of where a transfer started."""
    found = {f"{name}: {key}": value for name in RUNS[work] for key, value in fingerprint(run / name).items()}
    if work == "transfer":
        found["start"] = json.loads((run / "checkpoint-start" / "manifest.json").read_bytes())["files"]
    return found


def saved_in(run: Path, work: str) -> int:
    """How many steps are saved so far."""
    steps = 0
    for name in RUNS[work]:
        try:
            steps += int(json.loads((run / name / "checkpoint-last" / "manifest.json").read_bytes())["step"])
        except (OSError, ValueError):
            continue
    return steps


class Trial:
    """One run on two processes, begun at once, and what is found wrong with it."""

    def __init__(self, run: Path, draw: random.Random, work: str = "train") -> None:
        self._run, self._draw, self._work = run, draw, work
        self._log = open(run.with_suffix(".log"), "w+", encoding="utf-8")  # noqa: SIM115 - closed by `kill`
        self.problems: list[str] = []
        self._start(words_of(run, work), 2)

    def suffer(self, fault: str, most_steps: int) -> tuple[float, float]:
        """Let `fault` happen at a random step up to `most_steps`; returns the seconds until a process that was not
        harmed has ended, and until another step is saved."""
        before = self._step()
        self._until(self._draw.randint(before + 1, max(before + 1, most_steps)))
        if self._draw.random() < 0.5:
            self._inside_a_save()
        self._look_at_listeners()
        began_s, processes = time.monotonic(), self._all_processes()
        what, _, whom = fault.partition(" ")
        if self._command.poll() is not None:
            raise RuntimeError(f"the run was over before '{fault}'")
        if what == "disk":
            resource.prlimit(processes[0], resource.RLIMIT_FSIZE, (0, 0))
        elif whom == "the command":
            os.kill(self._command.pid, signal.SIGKILL)
        else:
            os.kill(processes[int(whom)], {"kill": 9, "halt": 19, "terminate": 15}[what])
        harmed = {"disk": 0}.get(what, int(whom) if whom.isdecimal() else None)
        self._until_one_ends([pid for rank, pid in processes.items() if rank != harmed])
        noticed_s = time.monotonic() - began_s
        if fault in STATUS:
            status = self._command.wait(PATIENCE_S)
            if status != STATUS[fault]:
                self.problems.append(f"{fault}: the exit status is {status}; it said: {self.said()[-600:]}")
            self._look_at_leftovers(list(processes.values()))
            is_last = most_steps == MOST[self._work]  # what follows needs two
            self._start(going_on(self._run, self._work), self._draw.randint(1, 2) if is_last else 2)
        self._until(0, processes)  # a process that was halted may still save its step when it is woken
        self._until(self._step() + 1, processes)
        return noticed_s, time.monotonic() - began_s

    def end(self) -> None:
        """Wait for the end of the run."""
        processes = self._processes()
        status = self._command.wait(PATIENCE_S)
        if status:
            self.problems.append(f"the run ends with status {status}; it said: {self.said()[-600:]}")
        self._look_at_leftovers(list(processes.values()))

    def said(self) -> str:
        """What the command has said on stderr."""
        self._log.flush()
        return self._run.with_suffix(".log").read_text(encoding="utf-8")

    def kill(self) -> None:
        """Leave nothing behind."""
        for pid in (self._command.pid, *self._processes().values()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._command.wait()
        self._log.close()

    def _start(self, words: list[str], count: int) -> None:
        self._count = count
        words = [*words, "--processes", str(count), "--out", str(self._run), "--plain"]
        words += ["--cache", str(self._run.with_suffix(".cache"))] if self._work == "transfer" else []
        command = [sys.executable, "-m", "saccade", *words]
        self._command = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self._log)

    def _processes(self) -> dict[int, int]:
        """The processes that compute, by rank: those that the command has started, or itself."""
        pid = self._command.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        except OSError:
            return {}
        ranks = {int(rank): int(child) for child in children if (rank := environment_of(child).get("RANK", ""))}
        return ranks or {0: pid}

    def _all_processes(self) -> dict[int, int]:
        """All of the processes that compute: after a kill the command starts them one after the other."""
        end_s = time.monotonic() + PATIENCE_S
        while len(processes := self._processes()) < self._count and self._command.poll() is None:
            if time.monotonic() > end_s:
                raise TimeoutError(f"{self._count} processes do not run after {PATIENCE_S:.0f} s")
            time.sleep(0.005)
        return processes

    def _are_all_new(self, others: dict[int, int]) -> bool:
        processes = self._processes()
        return len(processes) == self._count and not set(processes.values()) & set(others.values())

    def _step(self) -> int:
        """How many steps are saved."""
        return saved_in(self._run, self._work)

    def _until(self, step: int, others: dict[int, int] | None = None) -> None:
        """Wait until so many steps are saved, by other processes than `others`, or all is over."""
        end_s = time.monotonic() + PATIENCE_S
        while self._command.poll() is None:
            if self._step() >= step and (others is None or self._are_all_new(others)):
                return
            if time.monotonic() > end_s:
                raise TimeoutError(f"step {step} is not saved after {PATIENCE_S:.0f} s")
            time.sleep(0.005)

    def _until_one_ends(self, pids: list[int]) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while all(is_running(pid) for pid in pids):
            if time.monotonic() > end_s:
                raise TimeoutError(f"no process has noticed anything after {PATIENCE_S:.0f} s")
            time.sleep(0.005)

    def _inside_a_save(self) -> None:
        """Wait until a checkpoint is being written, or a second."""
        runs, end_s = [self._run / name for name in RUNS[self._work]], time.monotonic() + 1
        temporaries = [run / "checkpoint-last.saccade-tmp" for run in runs]
        while not any(path.exists() for path in temporaries) and time.monotonic() < end_s:
            time.sleep(0.0005)

    def _look_at_listeners(self) -> None:
        for pid in (self._command.pid, *self._processes().values()):
            outside = [address for address in listeners(pid) if not address.startswith("127.")]
            if outside:
                self.problems.append(f"process {pid} listens on {', '.join(outside)}")

    def _look_at_leftovers(self, processes: list[int]) -> None:
        end_s = time.monotonic() + 60
        while left := [pid for pid in processes if is_running(pid)]:
            if time.monotonic() > end_s:
                self.problems.append(f"{len(left)} processes run on without their command")
                return
            time.sleep(0.05)
        lock.refuse_held(self._run)


def environment_of(pid: str) -> dict[str, str]:
    """The environment that a process was started with."""
    try:
        words = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8", errors="replace").split("\0")
    except OSError:
        return {}
    return dict(word.split("=", 1) for word in words if "=" in word)


def is_running(pid: int) -> bool:
    """Whether a process is there, and more than an entry that nobody has collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def listeners(pid: int) -> list[str]:
    """The addresses on which a process waits for others, loopback of both families as 127.0.0.1."""
    try:
        links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []
    own = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = []
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            words = line.split()
            if words[3] == LISTENS and words[9] in own:
                packed = bytes.fromhex(words[1].partition(":")[0])
                numbers = struct.unpack(f">{len(packed) // 4}I", packed)
                address = socket.inet_ntop(family, struct.pack(f"<{len(numbers)}I", *numbers))
                found.append("127.0.0.1" if address in ("::1", "::ffff:127.0.0.1") else address)
    return found


if __name__ == "__main__":
    main()
