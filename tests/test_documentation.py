"""Documented commands and snippets run; documented names exist."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from tests.processes import PATIENCE_S, run_python
from tests.terminal import on_terminal, rendered

from saccade.cli.main import app

REPOSITORY = Path(__file__).parent.parent
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, text) of every fenced block of `language`."""
    found = []
    for page in PAGES:
        for text in re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            found.append((page.name, text))
    return found


def commands() -> list[tuple[str, str]]:
    """(page, command) of every `saccade ...` line in a shell block, without the installation in front of it."""
    lines = [(page, line) for page, text in blocks("sh") for line in text.replace("\\\n", " ").splitlines()]
    return [(page, line.split("&& ")[-1]) for page, line in lines if "saccade " in line.split("&& ")[-1]]


# Blocks of text that show what a command prints: (page, how the block begins) -> the command. A block is the beginning
# of the output; a line of "..." stands for any number of lines.
SHOWN = {
    ("README.md", "...\ndata    digits: "): "saccade train digits",
    ("convolution.md", "...\nsize       6x6 -> 4x4"): (
        'printf "10,10,10,0,0,0\\n%.0s" 1 2 3 4 5 6 > six.csv; saccade filter six.csv --kernel vertical'
    ),
    ("data-checkup.md", "../shared/data/clothing-small: "): "saccade inspect ../shared/data/clothing-small",
    ("design-desk.md", "layer                kind"): (
        'saccade table "conv 8 f5 | pool | conv 16 f5 | pool | fc 120 | fc 84 | softmax" --input 32x32x3'
    ),
    ("design-desk.md", "error: An input of 3x3x3"): "saccade table mine.py:build --input 3x3x3",
    ("notation.md", "error: pool f2 s2"): (
        'saccade table "conv 8 f5 | pool | pool | pool | pool | pool" --input 32x32x3'
    ),
}
MINE = """from torch import nn


def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2))
"""
# Blocks of text that show no command and no output: (page, how the block begins).
LAYOUTS = {
    ("architecture.md", "cli/"),
    ("folds.md", "81.6 %"),
    ("judging.md", "find new -name"),
    ("several-labels.md", "mAP 59.4 %"),
    ("numbers.md", "Mean absolute error 1.325"),
    ("grades.md", "95.8 % of 359"),
    ("weights.md", "$ cat pixels.json"),
    ("notation.md", "line   ="),
    ("notation.md", "LeNet-5, modern"),
    ("sources.md", "photos/cat/1.jpg"),
    ("sources.md", "file,label,split,group"),
    ("sources.md", "train-images-idx3-ubyte.gz"),
    ("sources.md", "train.parquet"),
    ("sources.md", "train-000.tar:"),
    ("CONTRIBUTING.md", "python3 -m venv"),
}
CHANGES = (" held-out images correct", " in all, ", "device  CPU, ")  # lines of figures that a machine or a day decides


def shown_by(command: str) -> list[str]:
    """The blocks that show the output of `command`."""
    found = [
        text for page, text in blocks("text") for key, of in SHOWN.items() if of == command and _is(key, page, text)
    ]
    assert len(found) == list(SHOWN.values()).count(command), f"a block that shows '{command}' begins otherwise"
    return found


def _is(key: tuple[str, str], page: str, text: str) -> bool:
    return page == key[0] and text.startswith(key[1])


def comparable(line: str) -> str:
    """The line as it is, but without the figures, the precision and the star of a better epoch where they vary."""
    if re.match(r" *\d+/\d+ ", line) or any(words in line for words in CHANGES):
        line = re.sub(r"bfloat16|float32", "PRECISION", line)
        line = re.sub(r"\d[\d,]*(\.\d+)?(e-\d+)?", "#", line).replace("*", "").replace("threads", "thread")
        line = re.sub(r" {2,}", "  ", line)
    return line


def assert_shown(block: str, printed: list[str], command: str) -> None:
    """`printed` begins with the lines of `block`."""
    rest = iter(printed)
    skips = False
    for line in block.splitlines():
        if line == "...":
            skips = True
            continue
        told = next(rest, None)
        while skips and told is not None and comparable(told) != comparable(line):
            told = next(rest, None)
        assert told is not None, f"'{command}' prints no line '{line}'"
        assert comparable(told) == comparable(line), f"'{command}' prints another line"
        skips = False


def shortened(command: str) -> str:
    """A training of which no page shows what it prints runs for one epoch: that it trains is what its page says."""
    is_training = command.startswith("saccade train ") and not {"--epochs", "--find-lr"} & set(command.split())
    return f"{command} --epochs 1" if is_training else command


def printed(command: str, folder: Path) -> tuple[int, list[str]]:
    """The exit status of a documented command, and what a person sees: of a training, on a terminal."""
    if command.startswith("saccade train "):
        status, output, received = on_terminal(folder, 140, {}, *shlex.split(command)[1:])
        return status, [line.rstrip() for line in [*filter(None, rendered(received)), *output.splitlines()]]
    if command.startswith("saccade "):
        done = run_python(["-m", *shlex.split(command)], folder)
        return done.returncode, [line.rstrip() for line in (done.stdout or done.stderr).splitlines()]
    script = f'saccade() {{ "{sys.executable}" -m saccade "$@"; }}\nset -e\n{command}\n'
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)
    return done.returncode, [line.rstrip() for line in (done.stdout or done.stderr).splitlines()]


def all_commands() -> list[str]:
    """Those of shell blocks, and those that stand nowhere, but whose output is shown: each once."""
    return list(dict.fromkeys([command for _, command in commands()] + list(SHOWN.values())))


@pytest.mark.parametrize("command", all_commands())
def test_documented_commands_run(command: str, tmp_path: Path):
    """And print what the pages show of them."""
    if "../shared" in command and not (REPOSITORY.parent / "shared").is_dir() and not os.environ.get("SACCADE_SHARED"):
        pytest.skip("the real data are not here (set SACCADE_SHARED to the folder that has them)")
    (tmp_path / "shared").symlink_to(os.environ.get("SACCADE_SHARED") or REPOSITORY.parent / "shared")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine.py").write_text(MINE)
    shown = shown_by(command)
    status, lines = printed(command if shown else shortened(command), tmp_path / "work")
    assert (status != 0) == any(block.startswith("error: ") for block in shown), lines
    for block in shown:
        assert_shown(block, lines, command)


def options_of(line: str) -> list[str]:
    """The words of a documented command, without what the page says of it behind two spaces."""
    return shlex.split(re.split(r" {2,}", line)[0])


@pytest.mark.parametrize(("page", "text"), blocks("text"), ids=lambda text: text[:30])
def test_every_text_block_is_checked(page: str, text: str):
    """It shows an output that is compared, or a layout, or commands that need files nobody has: these must parse."""
    kinds = [key for key in [*SHOWN, *LAYOUTS] if _is(key, page, text)]
    assert len(kinds) <= 1
    for line in [] if kinds else text.splitlines():
        words = options_of(line)
        if words[:2] == ["python", "-m"]:
            folder, _, name = words[2].partition(".")
            source = (REPOSITORY / folder / f"{name}.py").read_text(encoding="utf-8")
            assert all(f'"{word}"' in source for word in words if word.startswith("--")), line
            continue
        assert words[0] == "saccade", f"{page}: neither a command nor a layout that the test knows: {line}"
        names = [word for word in words[1:] if word != "|"] if "|" in words else [words[1]]
        for name in names:
            command = typer.main.get_command(app).commands[name]
            command.make_context(name, [] if "|" in words else words[2:])


SCRIPTS = [(page, text) for page, text in blocks("python") if not text.startswith(">>>")]  # sessions are doctests


@pytest.mark.parametrize(("page", "snippet"), SCRIPTS, ids=lambda text: text[:30])
def test_documented_snippets_run(page: str, snippet: str, tmp_path: Path):
    done = run_python(["-c", snippet], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_link_between_pages_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_leads_to_every_page():
    targets = set(re.findall(r"\]\(([^)#]+)", (REPOSITORY / "README.md").read_text(encoding="utf-8")))
    for page in PAGES[1:]:
        assert str(page.relative_to(REPOSITORY)) in targets, f"README.md does not link to {page.name}"


def test_every_command_is_documented():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for command in app.registered_commands:
        assert re.search(rf"saccade [^\n]*\b{command.name}\b", text), f"'saccade {command.name}' is in no page"


def test_the_first_screen_has_what_it_promises():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    first_screen = "\n".join(text.splitlines()[:40])
    assert "pip install -c constraints.txt . && saccade train digits" in first_screen
    assert "pip install -c constraints.txt '.[all,test]' && pytest" in first_screen
    assert "held-out images correct (95 % interval" in first_screen
