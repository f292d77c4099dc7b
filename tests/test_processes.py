"""Programs that a fork of a ready Python runs are processes like any other."""

import json
import os
import pty
import signal
import sys
from pathlib import Path

import pytest
from tests.processes import Program, run_python

TOLD = """
import json, os, sys
print(json.dumps([__name__, sys.argv, os.getcwd(), os.environ.get("MARK"), os.getpid(), sys.stdin.read()]))
print("to the other stream", file=sys.stderr)
"""


def test_a_program_has_its_words_its_folder_its_environment_and_its_streams(tmp_path: Path):
    program = Program(["-c", TOLD, "one", 2], tmp_path, {**os.environ, "MARK": "x"})
    done = program.communicate()
    assert json.loads(done.stdout) == ["__main__", ["-c", "one", "2"], str(tmp_path), "x", program.pid, ""]
    assert (done.returncode, done.stderr) == (0, "to the other stream\n")
    assert "MARK" not in os.environ


@pytest.mark.parametrize(
    ("arguments", "first"), [(["-m", "told"], "{folder}/told.py"), (["told.py"], "told.py")], ids=["module", "file"]
)
def test_modules_and_files_are_run_with_what_lies_beside_them(tmp_path: Path, arguments: list[str], first: str):
    (tmp_path / "told.py").write_text(TOLD)
    (tmp_path / "beside.py").write_text("VALUE = 3\n")
    with open(tmp_path / "told.py", "a") as file:
        file.write("import beside\nprint(beside.VALUE)\n")
    told, value = run_python([*arguments, "word"], tmp_path).stdout.splitlines()
    assert json.loads(told)[:3] == ["__main__", [first.format(folder=tmp_path), "word"], str(tmp_path)]
    assert value == "3"


@pytest.mark.parametrize(
    ("code", "status", "errors"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('why')", 1, "why\n"),
        ("import atexit, sys; atexit.register(print, 'late', file=sys.stderr)", 0, "late\n"),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL, ""),
    ],
)
def test_it_ends_as_any_other_does(tmp_path: Path, code: str, status: int, errors: str):
    done = run_python(["-c", code], tmp_path)
    assert (done.returncode, done.stderr) == (status, errors)


def test_an_error_that_nobody_catches_is_a_traceback(tmp_path: Path):
    done = run_python(["-c", "1 / 0"], tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("\nZeroDivisionError: division by zero\n")


def test_several_run_at_once_and_share_nothing(tmp_path: Path):
    code = "import os, sys, saccade; saccade.mark = sys.argv[1]; print(os.read(0, 1).decode(), saccade.mark)"
    reading, writing = os.pipe()
    both = [Program(["-c", code, name], tmp_path, stdin=reading) for name in "ab"]
    os.write(writing, b"12")
    said = [program.communicate().stdout.split() for program in both]
    assert [name for _, name in said] == ["a", "b"]
    assert sorted(number for number, _ in said) == ["1", "2"]
    os.close(reading)
    os.close(writing)


def test_its_streams_have_the_encoding_of_the_environment_and_know_a_terminal(tmp_path: Path):
    ours, theirs = pty.openpty()
    code = "import sys; print(sys.stdout.encoding, sys.stdin.isatty(), sys.stdout.isatty())"
    done = Program(["-c", code], tmp_path, {**os.environ, "PYTHONIOENCODING": "cp1252"}, stdin=theirs).communicate()
    assert done.stdout == "cp1252 True False\n"
    os.close(ours)
    os.close(theirs)


def test_what_reads_the_environment_when_it_is_imported_is_imported_by_each_itself(tmp_path: Path):
    """And OpenMP, which torch brings, has not begun to compute: a process with its threads cannot be forked."""
    code = "import sys, threading; print('huggingface_hub' in sys.modules, threading.active_count())"
    assert run_python(["-c", code], tmp_path).stdout == "False 1\n"
    assert "saccade" in sys.modules
