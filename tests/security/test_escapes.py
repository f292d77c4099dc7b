"""What a person or a file says is repeated with its control characters escaped: a terminal obeys nobody but us."""

import io
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from PIL import Image

from saccade.cli import console, main, output
from saccade.core.config import field_names
from saccade.core.errors import printable_lines
from saccade.train.config import RunConfig

EVIL = "a\x1b[31mb\nerror: c\rd\x07\u202ee\x9b2J"
NEEDED = {"source": "photos", "image": "photo.png", "run": "run", "runs": "run", "target": "lenet5", "out": "out.svg"}
GROUP = typer.main.get_command(main.app)


def texts() -> list[tuple[str, str]]:
    """(command, parameter) of everything that takes a text, a path or a number."""
    found = []
    for name, command in GROUP.commands.items():  # type: ignore[attr-defined]
        for parameter in command.params:
            if parameter.name != "help" and not getattr(parameter, "is_flag", False):
                found.append((name, parameter.name))
    return found


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, before a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "20000")
    return tmp_path


@pytest.fixture
def here(nowhere: Path) -> Path:
    """The same with twelve images in `photos` and one beside them."""
    for number in range(6):
        for label in ("cat", "dog"):
            path = nowhere / "photos" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number + 9 * (label == "cat")).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
    (nowhere / "photo.png").write_bytes((nowhere / "photos" / "cat" / "0.png").read_bytes())
    return nowhere


def said(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> str:
    """All that the command prints."""
    printed = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["saccade", *arguments])
    with redirect_stdout(printed), redirect_stderr(printed), pytest.raises(SystemExit):
        main.main()
    return printed.getvalue()


def check(text: str, where: Any) -> None:
    raw = sorted({character for character in text if character != "\n" and not character.isprintable()})
    assert raw == [], (where, raw, text[:2000])
    assert "\nerror: c" not in text, (where, text[:2000])  # a forged line


@pytest.mark.parametrize(("name", "parameter"), texts(), ids=lambda text: text)
def test_no_option_is_repeated_raw(here: Path, monkeypatch: pytest.MonkeyPatch, name: str, parameter: str):
    command = GROUP.commands[name]  # type: ignore[attr-defined]
    arguments: list[str] = []
    positional: list[str] = []
    for each in command.params:
        is_tested = each.name == parameter
        value = EVIL if is_tested else NEEDED.get(str(each.name), "x")
        if each.param_type_name == "argument":
            if is_tested or each.required:
                positional.append(value)
        elif is_tested or each.required:
            arguments += [each.opts[0], value]
    if name in ("train", "transfer", "inspect", "preview", "evaluate", "studio") and not positional:
        positional.append("nowhere")
    check(said(monkeypatch, [name, *arguments, *positional]), (name, parameter))


@pytest.mark.parametrize("key", field_names(RunConfig))
def test_no_setting_is_repeated_raw(nowhere: Path, monkeypatch: pytest.MonkeyPatch, key: str):
    for text in (EVIL, json.dumps(EVIL), json.dumps([EVIL])):
        check(said(monkeypatch, ["train", "nowhere", "--set", f"{key}={text}"]), key)


@pytest.mark.parametrize("arguments", [[EVIL], [f"--{EVIL}"], ["train", f"--{EVIL}"], ["models", EVIL]])
def test_what_is_no_command_or_option_is_not_repeated_raw(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
):
    check(said(monkeypatch, arguments), arguments)


def test_keys_and_assignments_are_not_repeated_raw(nowhere: Path, monkeypatch: pytest.MonkeyPatch):
    for setting in (EVIL, f"{EVIL}=1", f"runtime.{EVIL}=1", f"runtime.device={EVIL}"):
        check(said(monkeypatch, ["train", "digits", "--set", setting]), setting)


def test_the_three_outlets_guard_what_slipped_through(capsys: pytest.CaptureFixture[str]):
    output.print_error(EVIL)
    output.print_result(EVIL)
    printed = capsys.readouterr()
    assert printed.err == f"error: {printable_lines(EVIL)}\n"
    assert printed.out == f"{printable_lines(EVIL)}\n"
    stream = io.StringIO()
    shown = console.RunConsole(console.Output(stream=stream, quiet=False, plain=True, width=0))
    shown.note(EVIL)
    shown.begin([EVIL])
    assert stream.getvalue() == f"note: {printable_lines(EVIL)}\n{printable_lines(EVIL)}\n"


def test_names_of_classes_and_files_are_not_repeated_raw(here: Path, saccade: Callable):
    (here / "photos" / "cat").rename(here / "photos" / "c\x1b[31mat")
    (here / "photos" / "dog" / "bad\x1b[2J.png").write_bytes(b"no picture")
    settings = ["--set", "runtime.num_threads=1", "--epochs", "1", "--out", "run"]
    told = saccade("train", "photos", *settings)
    check(told.errors + told.output, "a bad file")
    (here / "photos" / "dog" / "bad\x1b[2J.png").unlink()
    told = saccade("train", "photos", *settings)
    assert told.status == 0, told.errors
    check(told.errors + told.output, "train")
    for command in (
        ["inspect", "photos"],
        ["evaluate", "run", "photos"],
        ["predict", "run", "photos"],
        ["report", "run"],
    ):
        told = saccade(*command)
        check(told.errors + told.output, command)
