"""Plain data come out of pickles as Python's own loader gives them; everything else is refused, and nothing is run."""

import contextlib
import os
import pickle
import pickletools
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from saccade.core.errors import DataError
from saccade.data.sources.cifar.plain_pickle import read_plain_pickle

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
KEYS = st.integers() | st.text()
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.tuples(inner, inner) | st.tuples(inner),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150)
@given(PLAIN, st.integers(0, 5))
def test_plain_data_come_out_as_python_s_loader_gives_them(value: object, protocol: int):
    if protocol < 3 and b"bytes\n" in pickle.dumps(value, protocol):
        return  # empty bytes are written as a call of bytes(), which is refused
    assert read_plain_pickle(pickle.dumps(value, protocol), "x") == value


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_bytes_come_out_in_every_protocol(protocol: int, order: str):
    array = np.asarray(np.arange(24, dtype=np.uint8).reshape(4, 6), order=order)  # type: ignore[call-overload]
    read = read_plain_pickle(pickle.dumps({"data": array, "again": [1], "copy": array}, protocol), "x")
    assert np.array_equal(read["data"], array)
    assert np.array_equal(read["copy"], array)
    assert read["again"] == [1]


def test_the_opcodes_that_python_2_wrote_are_read():
    """Written by hand after the published file: a dictionary of Python 2's texts, whose array holds a BINSTRING."""
    data = bytes(range(250, 256))
    text = b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\n"
    text += b"q\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87R"
    text += (
        b"q\x05(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff"
    )
    text += b"\xff\xffK\x00tb\x89T" + struct.pack("<i", len(data)) + data + b"tbU\x06labelsq\x07]q\x08(K\x06K\x09eu."
    by_python = pickle.loads(text, encoding="latin1")  # noqa: S301  written above
    assert by_python["data"].tolist() == [[250, 251, 252], [253, 254, 255]]
    read = read_plain_pickle(text, "x")
    assert read["data"].tolist() == [[250, 251, 252], [253, 254, 255]]
    assert read["labels"] == [6, 9]


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path, protocol: int):
    content = pickle.dumps({"data": Attack(tmp_path / "pwned")}, protocol)
    with pytest.raises(DataError) as error:
        read_plain_pickle(content, "batch")
    assert str(error.value) == (
        "batch is a pickle that holds more than plain data: 'posix.mkdir'. "
        "It is not read, because such a file can run any code.\n"
        "Download the set again from its authors, or convert it to files."
    )
    assert not (tmp_path / "pwned").exists()
    pickle.loads(content)  # noqa: S301  the attack of this test
    assert (tmp_path / "pwned").exists(), "it is an attack"


REFUSED = {
    "'builtins.eval'": b"cbuiltins\neval\n(S'1'\ntR.",
    "'numpy.core.multiarray.scalar'": b"cnumpy.core.multiarray\nscalar\n.",
    "a call of numpy.ndarray": b"cnumpy\nndarray\n(tR.",
    "a call of what is not a function": b"S'os.system'\n(tR.",
    "an object with a state": b"](S'x'\ntb.",
    "the opcode INST": b"(ios\nsystem\n.",
    "the opcode PERSID": b"Pname\n.",
    "the opcode EXT1": b"\x82\x01.",
    "an array of type 'O8'": b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR.",
    "the encoding 'zip'": b"c_codecs\nencode\n(Vx\nVzip\ntR.",
    "the same bytes over and over": b"c_codecs\nencode\nq\x00((X\x20\0\0\0"
    + b"x" * 32
    + b"X\6\0\0\0latin1tq\x01"
    + b"h\0h\1R" * 40
    + b".",
}


@pytest.mark.parametrize("reason", REFUSED)
def test_whatever_is_not_plain_data_is_refused(reason: str):
    with pytest.raises(DataError) as error:
        read_plain_pickle(REFUSED[reason], "x")
    assert str(error.value).splitlines()[0] == (
        f"x is a pickle that holds more than plain data: {reason}. "
        "It is not read, because such a file can run any code."
    )


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x02", b"not a pickle", b"}", b".", b"h\x05.", b"\x80\x02K\x01a.", b"(."]
)
def test_damaged_pickles_are_said_to_be(content: bytes):
    with pytest.raises(DataError, match=r"^x is damaged, or is not a pickle \(.+\)\.\nDownload it again\.$"):
        read_plain_pickle(content, "x")


SAMPLE = pickle.dumps(
    {"data": np.zeros((2, 3), np.uint8), "labels": [1, 2], "names": ["a", b"b"], "pair": (1.5, None)}, 2
)


@settings(deadline=None, max_examples=400)
@given(st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=6))
@example(changes=[(18, 92)])
def test_a_changed_pickle_gives_a_value_or_one_clear_error(changes: list[tuple[int, int]]):
    content = bytearray(SAMPLE)
    for place, value in changes:
        content[place] = value
    with contextlib.suppress(DataError):
        read_plain_pickle(bytes(content), "x")


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from([opcode.code.encode("latin-1") for opcode in pickletools.opcodes]) | st.binary(max_size=5))
)
def test_any_row_of_opcodes_gives_a_value_or_one_clear_error(parts: list[bytes]):
    with contextlib.suppress(DataError):
        read_plain_pickle(b"".join(parts), "x")
