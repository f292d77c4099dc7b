"""The campaigns' child process sees each kind of misdeed, and lets honest readers pass."""

import json
import random
from pathlib import Path

import pytest
from tests.processes import PATIENCE_S

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _campaigns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPOSITORY)


HONEST = {
    "return 'one set of 3 images'": "result",
    "raise DataError(folder + '/a is damaged.')": "error",
    "open(folder + '/new', 'w').close(); os.rename(folder + '/new', folder + '/b'); os.listdir(folder)": "result",
    "os.symlink('/etc/hosts', folder + '/link'); os.remove(folder + '/link')": "result",
    "import colorsys; os.listdir(os.path.dirname(os.__file__))": "result",
}
MISDEEDS = {
    "raise KeyError('x')": "KeyError: 'x'",
    "raise SystemExit(0)": "SystemExit: 0",
    "os.kill(os.getpid(), 9)": "crash: the process ended with -9",
    "time.sleep(60)": "hang: no answer in 3 s",
    "time.sleep(1)": "took 1.0 s",
    "keep = bytearray(400_000_000); keep[::4096] = b'x' * len(keep[::4096])": "took 4",
    "keep = bytearray(4_000_000_000)": "MemoryError",
    "sys.stderr.write('Possibly corrupt EXIF data')": "on standard error: 'Possibly corrupt EXIF data'",
    "warnings.warn('metadata cut off', stacklevel=1)": "on standard error: ",
    "os.write(1, b'noise')": "on standard error: 'noise'",
    "raise DataError('1\\n2\\n3\\n4\\n' + folder)": "message of 5 lines",
    "raise DataError(folder + ' \\x1b[31m')": "message with an empty line or characters that are not printable",
    "raise DataError('it is damaged.')": "message that names no file: 'it is damaged.'",
    "raise DataError(folder + 'x' * 2000)": "message of 2,0",
    "socket.create_connection(('127.0.0.1', 9))": "forbidden: socket.getaddrinfo",
    "subprocess.run(['true'])": "forbidden: subprocess.Popen",
    "os.system('true')": "forbidden: os.system",
    "os.fork() or os._exit(0)": "forbidden: os.fork",
    "open(os.path.dirname(folder) + '/other', 'w')": "forbidden: writing",
    "open(folder + '/../other', 'a')": "forbidden: writing",
    "open('/etc/hosts')": "forbidden: reading ('/etc/hosts',)",
    "os.path.lexists(folder + '/link') or os.symlink('/etc/hosts', folder + '/link'); open(folder + '/link')": (
        "forbidden: reading"
    ),
    "os.listdir('/')": "forbidden: os.listdir ('/',)",
    "os.remove(folder + '/../other')": "forbidden: os.remove",
    "os.rename(folder + '/a', folder + '/../other')": "forbidden: os.rename",
    "pickle.loads(b'cos\\nsystem\\n.')": "forbidden: pickle.find_class",
}


def findings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> tuple[dict[str, object], list[str]]:
    from campaigns import mutations

    imports = "import os, pickle, socket, subprocess, sys, time, warnings\nfrom saccade.core.errors import DataError\n"
    (tmp_path / "planted.py").write_text(f"{imports}def check(kind, folder):\n    {text}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    folder = tmp_path / "files" / "one"
    folder.mkdir(parents=True)
    (folder / "a").write_bytes(b"x")
    limits = mutations.Limits(
        # Short only where time is the misdeed: whatever else is read may wait on a busy machine.
        max_seconds=0.8 if text == "time.sleep(1)" else PATIENCE_S,
        hang_seconds=3 if text == "time.sleep(60)" else PATIENCE_S,
        max_memory_bytes=300_000_000,
        address_space_bytes=1 << 30,
    )
    with mutations.Reader("planted:check", limits) as reader:
        answer = reader.read("a", folder)
        found = mutations.wrong(answer, limits, (str(folder),))
        assert reader.read("a", folder)["outcome"] == answer["outcome"], "it is replaced where it has died"
    return answer, found


@pytest.mark.parametrize("text", HONEST)
def test_an_honest_reader_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str):
    answer, found = findings(monkeypatch, tmp_path, text.replace("new", "c"))
    assert (answer["outcome"], found) == (HONEST[text], [])


@pytest.mark.parametrize("text", MISDEEDS)
def test_each_misdeed_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str):
    _, found = findings(monkeypatch, tmp_path, text)
    assert any(line.startswith(MISDEEDS[text]) for line in found), found


def test_mutations_are_repeatable_and_differ():
    from campaigns.mutations import mutate, mutate_value

    content, value = bytes(range(256)) * 4, {"a": [1, 2, {"b": "c"}], "d": None}
    first, again = ([mutate(content, random.Random(i)) for i in range(200)] for _ in range(2))
    assert first == again
    assert len(set(first)) > 190
    values, repeated = ([repr(mutate_value(value, random.Random(i))) for i in range(200)] for _ in range(2))
    assert values == repeated
    assert len(set(values)) > 60
    assert json.loads(json.dumps(value)) == value, "the value itself is left as it was"
