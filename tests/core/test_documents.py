"""JSON and TOML from strangers: refused in words, before a parser spends memory, time or stack on them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.core.documents import DocumentError, parse_json, parse_object, parse_toml, read_plain_file


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a" + b".a" * 50_000 + b" = 1", "a key has more than 16 parts"),
        (b"a" + b" . a" * 50_000 + b" = 1", "a key has more than 16 parts"),
        (b'"a"' + b'."a"' * 50_000 + b" = 1", "a key has more than 16 parts"),
        (b"[" + b"a." * 50_000 + b"a]", "a key has more than 16 parts"),
        (b"a = " + b"[" * 100_000, "its brackets are deeper than 32"),
        (b"a = " + b"{a = " * 50_000, "its brackets are deeper than 32"),
        (b"a = " + b"1" * 100_000, "a number or a key has more than 400 characters"),
        (b"a = 0x" + b"f" * 100_000, "a number or a key has more than 400 characters"),
        (b'a = "\xff"', "byte 6 is not UTF-8 text"),
        (b"a = 1\na = 2", "it is not TOML (Cannot overwrite a value (at end of document))"),
        (b'a = "' + b'\\"' * 100_000, "it is not TOML (Unterminated string (at end of document))"),
    ],
    ids=lambda value: str(value[:20]),
)
def test_toml_that_would_cost_much_or_is_none_is_refused(content: bytes, message: str):
    with pytest.raises(DocumentError) as caught:
        parse_toml(content)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "its brackets are deeper than 32"),
        (b'{"a":' * 100_000, "its brackets are deeper than 32"),
        (b"[" + b"[]," * 1_000_001 + b"[]]", "it has more than 1,000,000 objects and lists"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "it has the key 'c' twice"),
        (b"[NaN]", "it holds NaN, which is not a JSON number"),
        (b"[-Infinity]", "it holds -Infinity, which is not a JSON number"),
        (b"[1e999]", "the number 1e999 is too large"),
        (b"[" + b"9" * 100_000 + b"]", "a number has more than 400 characters"),
        (b"\xff{", "byte 1 is not UTF-8 text"),
        (b'{"a"}', "line 1, column 5 is not JSON (Expecting ':' delimiter)"),
    ],
    ids=lambda value: str(value[:20]),
)
def test_json_that_would_cost_much_or_is_none_is_refused(content: bytes, message: str):
    with pytest.raises(DocumentError) as caught:
        parse_json(content)
    assert str(caught.value) == message
    with pytest.raises(DocumentError, match=r"^it holds no JSON object$"):
        parse_object(b"[1]")


def test_brackets_and_dots_inside_of_texts_and_comments_do_not_count():
    deep = "[" * 100 + "." * 100
    assert parse_json(json.dumps({"a": deep, deep: '"'}).encode()) == {"a": deep, deep: '"'}
    text = f'a = "{deep}"  # {deep}\nb = \'{deep}\'\nc = """{deep}"""\n"{deep}" = [0.5, 0.25, 1.5e3]\n'
    assert parse_toml(text.encode()) == {"a": deep, "b": deep, "c": deep, deep: [0.5, 0.25, 1500.0]}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(values)
def test_any_json_of_a_sane_size_is_read_as_it_is(value: object):
    assert parse_json(json.dumps(value).encode()) == json.loads(json.dumps(value))


def test_a_dotted_key_of_100_kb_takes_no_memory_to_speak_of():
    """The parser alone took 5.6 GB for it."""
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from saccade.core.documents import DocumentError, parse_toml\n"
        "try: parse_toml(b'a' + b'.a' * 50_000 + b' = 1')\n"
        "except DocumentError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "a key has more than 16 parts\n", done.stderr


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "link", "large"])
def test_only_a_plain_file_of_its_size_is_read_and_nothing_is_waited_for(tmp_path: Path, kind: str):
    path = tmp_path / "file"
    other = "it is not a plain file, but a folder, a pipe or a device"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind in ("device", "link"):
        path.symlink_to("/dev/zero" if kind == "device" else __file__)
    else:
        path.write_bytes(b"12345")
    expected = {
        "link": "it is a link, and a run's files are plain ones",
        "large": "it has 5 bytes, and at most 4 are read",
    }
    with pytest.raises(DocumentError) as caught:
        read_plain_file(path, 4 if kind == "large" else 1 << 30, may_be_link=kind == "device")
    assert str(caught.value) == expected.get(kind, other)


def test_a_toml_file_that_windows_saved_is_read():
    assert parse_toml(b"\xef\xbb\xbfepochs = 1\r\n[input]\r\nsize_px = 8\r\n") == {
        "epochs": 1,
        "input": {"size_px": 8},
    }
