"""What a terminal, a file and a closed stream see of a run: the live line, plain lines, widths, encodings, --debug."""

import importlib.util
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.processes import PATIENCE_S, run_python
from tests.terminal import on_terminal, rendered

from saccade.cli import colour, console, live_line, output, starting
from saccade.cli.standard_streams import StdoutFile
from saccade.train.loop import EpochResult

SMALL = ["--model", "conv 4 f3 bn | gap | fc 10", "--set", "input.size_px=12", "--set", "runtime.num_threads=1"]
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d "
RESULT = EpochResult(
    epoch=3,
    num_epochs=12,
    train_loss=0.12345,
    train_accuracy=0.9876,
    validation_loss=1.5,
    validation_accuracy=0.5,
    learning_rate=0.05,
    seconds=3725.0,
    images_per_second=1234.5,
    is_best=True,
)


def test_a_terminal_gets_a_table_that_stays_and_nothing_cut(tmp_path: Path):
    status, output, received = on_terminal(
        tmp_path, 130, {}, "train", "digits", "--out", "run", "--epochs", "2", *SMALL
    )
    assert status == 0
    assert "held-out images correct" in output
    assert "\x1b[?25l" in received, "the live line hides the cursor"
    assert received.rindex("\x1b[?25h") > received.rindex("\x1b[?25l"), "and gives it back"
    lines = rendered(received)
    assert any(re.match(r" *epoch  train loss  train acc ", line) for line in lines), "the width is the terminal's own"
    words = [line.split()[0] for line in lines[:7]]
    assert words == ["note:", "data", "split", "model", "device", "run", "epoch"]
    rows = [line for line in lines if re.match(r"\s+[12]/2 ", line)]
    assert len(rows) == 2 == len([line for line in lines[7:] if line.strip()])
    assert {len(row.rstrip()) for row in rows} == {len(lines[6])}, "numbers stand under their headings"
    assert "…" not in received


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"CI": "true"}, {"PYTHONIOENCODING": "cp1252", "CI": "1"}])
def test_a_terminal_that_cannot_redraw_gets_plain_lines(tmp_path: Path, environment: dict[str, str]):
    status, _, received = on_terminal(
        tmp_path, 60, environment, "train", "digits", "--out", "run", "--epochs", "1", *SMALL
    )
    assert status == 0
    assert "\x1b" not in received
    lines = received.replace("\r\n", "\n").splitlines()
    lines = [line for line in lines if not re.fullmatch(STAMP + r".*\(\d+ s\)", line)]  # heartbeats of a slow machine
    assert re.match(STAMP + r"epoch 1/1  train loss [\d.]+  train acc [\d.]+ %  val loss", lines[-1])
    assert "img/s" in lines[-1], "full columns where nothing is redrawn"


def written(width: int, plain: bool, work: Callable[[console.RunConsole], None]) -> str:
    """What a console says on a stream of its own."""
    read, write = os.pipe()
    with open(write, "w", encoding="ascii") as stream:
        said = console.RunConsole(console.Output(stream=stream, quiet=False, plain=plain, width=width))
        work(said)
        said.close()
    with open(read, encoding="ascii") as result:
        return result.read()


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (0, ["epoch", "train loss", "train acc", "val loss", "val acc", "lr", "time", "img/s"]),
        (100, ["epoch", "train loss", "train acc", "val loss", "val acc", "lr", "time", "img/s"]),
        (99, ["epoch", "train loss", "val loss", "val acc", "lr", "time", "img/s"]),
        (79, ["epoch", "train loss", "val loss", "val acc", "time"]),
        (59, ["epoch", "val loss", "val acc"]),
    ],
)
def test_columns_go_by_priority_and_no_number_is_cut(width: int, columns: list[str]):
    assert console.visible_columns(width) == columns
    text = written(0, True, lambda said: said.epoch(RESULT))
    assert re.fullmatch(
        STAMP + r"epoch 3/12  train loss 0\.1235  train acc 98\.76 %  val loss 1\.5000  val acc 50\.00 %\*  lr 0\.05  "
        r"time 1 h 02 min  img/s 1,234\n",
        text,
    )
    cells = console.row_cells(RESULT)
    assert len("  ".join(cells[name].rjust(max(console.CELL_WIDTH, len(name))) for name in columns)) <= (width or 1000)


def test_an_epoch_without_validation_has_no_star():
    text = written(0, True, lambda said: said.epoch(replace(RESULT, validation_loss=None, validation_accuracy=None)))
    assert "val" not in text
    assert "*" not in text


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (100, "epoch 2  batch 5/10  loss 1.250  acc 25.0 %  4.0 s to go"),
        (50, "epoch 2  batch 5/10  loss 1.250  acc 25.0 %"),
        (40, "epoch 2  batch 5/10  loss 1.250"),
        (10, "epoch 2"),
    ],
)
def test_the_live_line_leaves_out_whole_parts(monkeypatch: pytest.MonkeyPatch, width: int, shown: str):
    clock = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    drawn: list[str] = []
    monkeypatch.setattr(live_line.LiveLine, "_draw", lambda self, text: drawn.append(text))

    def work(said: console.RunConsole) -> None:
        said.step(1, 1, 10, lambda: (2.0, 0.1))
        clock[0] += 4.0
        said.step(1, 5, 10, lambda: (1.25, 0.25))

    written(width, False, work)
    assert drawn == [shown]


def test_elsewhere_a_heartbeat_comes_once_a_minute(monkeypatch: pytest.MonkeyPatch):
    clock = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])

    def work(said: console.RunConsole) -> None:
        for done in range(0, 400, 10):  # one a second
            clock[0] += 1.0
            said.scan(done, 400)
        said.scan(400, 400)
        for batch in range(1, 100):
            clock[0] += 1.0
            said.step(0, batch, 100, lambda: (1.25, 0.25))

    lines = written(0, True, work).splitlines()
    assert len(lines) == 2
    assert re.fullmatch(STAMP + r"epoch 1  batch 20/100  loss 1\.250  acc 25\.0 %  1 min 16 s to go", lines[0])


def test_quiet_says_the_result_only(saccade: Callable, tmp_path: Path):
    finished = saccade("train", "digits", "--out", tmp_path / "run", "--epochs", 1, "--quiet", *SMALL)
    assert (finished.status, finished.errors) == (0, "")
    assert "held-out images correct" in finished.output


def run(*arguments: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "saccade", *arguments]
    return subprocess.run(command, text=True, timeout=PATIENCE_S, check=False, **streams)


def test_closed_streams_and_readers_that_leave_spoil_nothing(tmp_path: Path):
    """stdin closed (as under some schedulers), stdout closed, stdout a pipe nobody reads."""
    train = f'"{sys.executable}" -m saccade train digits --out run --epochs 1 --quiet ' + " ".join(
        f"'{word}'" for word in SMALL
    )
    done = subprocess.run(
        ["bash", "-c", f"{train} <&- >&-"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S
    )
    message = "error: The result cannot be written to stdout: Bad file descriptor.\n"
    assert (done.returncode, done.stderr) == (1, message)
    assert (tmp_path / "run" / "report.html").exists()
    for command in ("models", "--help"):
        read, write = os.pipe()
        os.close(read)
        done = run(command, stdout=write, stderr=subprocess.PIPE)
        os.close(write)
        assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("command", ["models", "--help", "train --help", "--version", "completion bash", ""])
@pytest.mark.parametrize(("place", "why"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")])
def test_a_result_that_cannot_be_written_is_told(command: str, place: str, why: str):
    """Whoever writes it: ourselves, typer's help, Python's print; on a full disk and on a stream that is closed."""
    shell = ["bash", "-c", f'"{sys.executable}" -m saccade {command} {place}']
    done = subprocess.run(shell, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stderr) == (1, f"error: The result cannot be written to stdout: {why}.\n")


def test_a_full_pipe_that_does_not_wait_is_waited_for():
    """Some parents, such as Node, open their pipes so; Python ends in BlockingIOError."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    text = b"a line of a long result\n" * 50_000
    with ThreadPoolExecutor(1) as pool, open(read, "rb") as reader:
        received = pool.submit(reader.read)
        with io.BufferedWriter(StdoutFile(write, "w")) as stdout:
            stdout.write(text)
        assert received.result() == text


def test_debug_gives_a_plain_traceback_before_or_behind_the_command(tmp_path: Path):
    for arguments in (["--debug", "train", "nowhere"], ["train", "nowhere", "--debug"]):
        done = run_python(["-m", "saccade", *arguments], tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith("Traceback (most recent call last):\n")
        assert "saccade.core.errors.DataError: There is no file or folder 'nowhere'" in done.stderr
        assert "locals" not in done.stderr


@pytest.mark.parametrize("width", [60, 80])
def test_no_help_is_cut(width: int):
    done = run("--help", capture_output=True, env=os.environ | {"COLUMNS": str(width), "TERMINAL_WIDTH": str(width)})
    assert "..." not in done.stdout.replace("[ARGS]...", "")


@pytest.mark.parametrize(
    ("environment", "arguments", "label"),
    [
        ({"NO_COLOR": ""}, [], "\x1b[1;31merror:\x1b[0m"),
        ({"NO_COLOR": "1"}, [], "error:"),
        ({"NO_COLOR": "1"}, ["--color", "always"], "\x1b[1;31merror:\x1b[0m"),
        ({"NO_COLOR": ""}, ["--color=never"], "error:"),
        ({"NO_COLOR": "", "TERM": "dumb"}, [], "error:"),
    ],
)
def test_an_error_has_a_colour_on_a_terminal(
    tmp_path: Path, environment: dict[str, str], arguments: list[str], label: str
):
    status, _, received = on_terminal(tmp_path, 100, environment, "recipes", "nothing", *arguments)
    assert status == 2
    assert received.replace("\r\n", "\n").startswith(
        f"{label} 'saccade recipes' takes no argument; beyond that it got 'nothing'."
    )


def test_the_verdict_and_its_warnings_have_colours_where_they_are_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    said = "a verdict\na warning\nthe rest"
    output.print_result(said, ["a verdict"], ["a warning"])
    assert capsys.readouterr().out == f"{said}\n"
    monkeypatch.setattr(colour._Chosen, "when", "always")
    output.print_result(said, ["a verdict"], ["a warning"])
    assert capsys.readouterr().out == "\x1b[1ma verdict\x1b[0m\n\x1b[33ma warning\x1b[0m\nthe rest\n"


def test_another_word_for_colours_is_refused(saccade: Callable):
    done = saccade("recipes", "--color", "mauve")
    assert (done.status, done.errors) == (
        2,
        "error: --color must be one of: auto, always, never; not 'mauve'.\nHelp: saccade --help\n",
    )


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"  # type: ignore[assignment]  # as a terminal has one

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("arguments", "said"), [([], "starting"), (["--quiet"], ""), (["--plain"], "")])
def test_a_terminal_says_starting_while_torch_is_imported_and_then_takes_it_away(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
):
    """Another module stands for torch, which these tests have imported long ago."""
    stream = Terminal()
    monkeypatch.setattr(starting, "SLOW", "colorsys")
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    finders = list(sys.meta_path)
    with starting.starting(arguments):
        importlib.import_module("colorsys")
        shown = said and f"\x1b[?25l\r\x1b[2K{said}"
        assert stream.getvalue() == shown
        assert importlib.util.find_spec("saccade.nothing") is None  # what imported torch goes on to its own modules
        assert stream.getvalue() == (said and f"{shown}\r\x1b[2K\x1b[?25h")
    assert sys.meta_path == finders


@pytest.mark.parametrize("verb", ["export", "explain", "compare", "train", "recipes"])
def test_into_a_pipe_a_verb_that_may_be_long_says_that_it_goes_on(monkeypatch: pytest.MonkeyPatch, verb: str):
    stream, clock = io.StringIO(), [100.0]
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(live_line.time, "monotonic", lambda: clock[0])
    with starting.starting([verb, "run"]):
        line = live_line.live_line(stream)
        assert (line is not None) == (verb != "recipes")
        for _ in range(80 if line else 0):
            clock[0] += 1.0
            line.tick()
    said = [text.partition(" ")[2] for text in stream.getvalue().splitlines()]
    work = starting.WORK.get(verb)
    assert said == ([f"{work}  (10 s)", f"{work}  (1 min 10 s)"] if work else [])


def test_starting_is_taken_away_where_the_import_fails(monkeypatch: pytest.MonkeyPatch):
    stream = Terminal()
    monkeypatch.setattr(starting, "SLOW", "no_such_module")
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(ImportError), starting.starting([]):
        importlib.import_module("no_such_module")
    assert stream.getvalue() == "\x1b[?25l\r\x1b[2Kstarting\r\x1b[2K\x1b[?25h"


@pytest.mark.parametrize("verb", ["recipes", "sources", "weights", "models", "augmentations"])
def test_every_list_fits_80_columns(saccade: Callable, monkeypatch: pytest.MonkeyPatch, verb: str):
    wide = saccade(verb).output
    monkeypatch.setattr(output, "width_of", lambda stream: 80)
    narrow = saccade(verb).output
    assert set(wide.split()) <= set(narrow.split())
    for line in narrow.splitlines():
        if len(line) > 80:  # one word, or a command to copy
            assert len(line.split()) <= 2 or "saccade " in line, line


@pytest.mark.parametrize(
    ("typed", "found"), [("saccade tra", ["train", "transfer"]), ("saccade train --con", ["--config"])]
)
def test_the_shell_completes_commands_and_options(typed: str, found: list[str]):
    asked = {"_SACCADE_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    done = run(capture_output=True, env=os.environ | asked)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, found, "")


class Ticking:
    """A live line whose clock is told how late it is, and whose ticks come when they are asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, can_redraw: bool) -> None:
        self.now_s = 100.0
        self.stream = Terminal()
        monkeypatch.setattr(live_line.time, "monotonic", lambda: self.now_s)
        self.line = live_line.LiveLine(self.stream, can_redraw, 40 if can_redraw else 0)

    def wait(self, seconds: int) -> list[str]:
        """What is written in so many seconds, a tick each."""
        for _ in range(seconds):
            self.now_s += 1.0
            self.line.tick()
        written, self.stream = self.stream.getvalue(), Terminal()
        self.line.stream = self.stream
        return [text for text in re.split(r"\x1b\[[?0-9]*[a-zA-Z]|\r|\n", written) if text]


def test_no_work_is_silent_for_longer_than_two_seconds_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    ticking = Ticking(monkeypatch, can_redraw=True)
    ticking.line.say("judging")
    assert ticking.wait(1) == []
    assert ticking.wait(3) == ["judging  (2 s)", "judging  (3 s)", "judging  (4 s)"]
    ticking.line.say("a text that is longer than forty columns are")
    assert ticking.wait(2) == ["a text that is longer than forty column"]
    ticking.line.clear()
    ticking.line.say("")
    assert ticking.wait(100) == []


def test_elsewhere_a_line_comes_after_ten_seconds_and_then_once_a_minute(monkeypatch: pytest.MonkeyPatch):
    ticking = Ticking(monkeypatch, can_redraw=False)
    ticking.line.say("judging")
    assert ticking.wait(9) == []
    told = ticking.wait(131)
    assert [line.partition(" ")[2] for line in told] == [
        "judging  (10 s)",
        "judging  (1 min 10 s)",
        "judging  (2 min 10 s)",
    ]


def test_a_heartbeat_says_what_goes_on_now_and_the_time_that_is_left_now(monkeypatch: pytest.MonkeyPatch):
    ticking = Ticking(monkeypatch, can_redraw=False)
    monkeypatch.setattr(console, "live_line", lambda stream: ticking.line)
    said = console.RunConsole(console.Output(stream=ticking.stream, plain=True, quiet=False, width=0))
    said.time_left(900.0, 1300.0)
    said.working("comparing stage2")  # soon after the start: the line tells it, if it goes on
    assert [line.partition(" ")[2] for line in ticking.wait(20)] == ["comparing stage2  15 to 22 min left  (10 s)"]
    said.output = console.replace(said.output, stream=ticking.stream)
    said.working("comparing stage1")
    told = [line.partition(" ")[2] for line in ticking.wait(61)]
    assert told == ["comparing stage1  15 to 21 min left", "comparing stage1  14 to 20 min left  (1 min 00 s)"]


def test_what_is_printed_takes_the_live_line_away_first(monkeypatch: pytest.MonkeyPatch):
    ticking = Ticking(monkeypatch, can_redraw=True)
    monkeypatch.setattr(sys, "stderr", ticking.stream)
    monkeypatch.setenv("NO_COLOR", "1")
    with ticking.line:
        live_line.show("looked at 5 of 10 images")
        output.print_notes(["one is grey"])
    written = ticking.stream.getvalue()
    assert written == ("\x1b[?25l\r\x1b[2Klooked at 5 of 10 images\r\x1b[2K\x1b[?25hnote: one is grey\n")


def test_the_time_left_of_the_whole_job_stands_in_the_live_line(monkeypatch: pytest.MonkeyPatch):
    clock = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    drawn: list[str] = []
    monkeypatch.setattr(live_line.LiveLine, "_draw", lambda self, text: drawn.append(text))

    def work(said: console.RunConsole) -> None:
        said.time_left(130.0, 260.0)
        clock[0] += 4.0
        said.step(1, 5, 10, lambda: (1.25, 0.25))

    written(100, False, work)
    assert drawn == ["epoch 2  batch 5/10  loss 1.250  acc 25.0 %  2 to 4 min left"]

    def judge(said: console.RunConsole) -> None:
        said.time_left(130.0, 260.0)
        clock[0] += 75.0
        said.working("judging 505 images, 40 % done")
        clock[0] += 200.0
        said.working("judging 505 images, 90 % done")

    drawn.clear()
    written(100, False, judge)
    assert drawn == ["judging 505 images, 40 % done  55 s to 3 min left", "judging 505 images, 90 % done"]
    text = written(0, True, lambda said: (said.time_left(130.0, 260.0), said.epoch(RESULT)))
    assert text.endswith("img/s 1,234  2 to 4 min left\n")


@pytest.mark.parametrize(("verb", "told"), [("serve", ""), ("studio", ""), ("train", "error: Stopped.\n")])
def test_a_server_ends_by_ctrl_c_without_a_word(saccade, monkeypatch: pytest.MonkeyPatch, verb: str, told: str):
    def stopped(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("saccade.cli.main._run", stopped)
    finished = saccade(verb, "digits")
    assert (finished.status, finished.output, finished.errors) == (130, "", told)
