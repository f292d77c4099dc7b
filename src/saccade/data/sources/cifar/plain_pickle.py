"""Plain data out of a pickle file, without unpickling it: CIFAR's python version is published in no other form.

A pickle is a program. Python's own loader runs it and calls whatever it names; this one interprets the opcodes that
build lists, tuples, dictionaries, texts, bytes and numbers, and knows seven names, which it replaces by functions of
its own that make arrays of bytes. Anything else is refused. Opcodes: the documentation in Python's `pickletools`.
"""

import io
import pickletools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ....core.errors import DataError, printable
from ...limits import MAX_PICKLE_OPCODES

MAX_COPIES = 4  # of all bytes of the file: one that makes more multiplies itself on purpose
UNSIGNED_BYTE = ("u1", "|u1", "uint8", "B")

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_VALUES = set(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_MARK = object()
_ESCAPE = re.compile(r"\\(x([0-9a-fA-F]{2})|.?)", re.DOTALL)
_ESCAPED = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}


def _opcodes(content: bytes) -> Iterator[tuple[str, Any]]:
    """(name, argument) of each opcode. Texts between quotes are read here: pickletools warns of some of them."""
    stream = io.BytesIO(content)
    while code := stream.read(1):
        opcode = _OPCODES.get(code.decode("latin-1"))
        if opcode is None:
            raise ValueError(f"unknown opcode {code!r}")
        if opcode.name in ("STRING", "GLOBAL"):
            yield opcode.name, _quoted(_line(stream)) if opcode.name == "STRING" else f"{_line(stream)} {_line(stream)}"
        elif opcode.arg is None or opcode.name in ("INST", "PERSID"):  # refused, whatever their arguments say
            yield opcode.name, None
        else:
            yield opcode.name, opcode.arg.reader(stream)


def _line(stream: io.BytesIO) -> str:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise ValueError("a line has no end")
    return line[:-1].decode("latin-1")


def _quoted(text: str) -> str:
    """The value of a text of Python 2 as its `repr` wrote it."""
    if len(text) < 2 or text[0] not in "'\"" or text[-1] != text[0]:
        raise ValueError("a text lacks its quotes")
    return _ESCAPE.sub(_unescaped, text[1:-1])


def _unescaped(escape: re.Match[str]) -> str:
    if escape[2]:
        return chr(int(escape[2], 16))
    if escape[1] not in _ESCAPED:
        raise ValueError("a text has an escape that no text has")
    return _ESCAPED[escape[1]]


class Refused(Exception):
    """The pickle asks for more than plain data; the text says for what."""


def read_plain_pickle(content: bytes, where: str) -> Any:
    """The value that a pickle of protocol 0 to 5 holds: plain data and arrays of bytes. Runs no code of the file.

    Texts of Python 2 become str by Latin-1. Raises DataError naming `where` for damaged files and for those that ask
    for anything else.
    """
    try:
        return _Interpreter(MAX_COPIES * len(content)).run(content)
    except Refused as error:
        raise DataError(
            f"{where} is a pickle that holds more than plain data: {printable(str(error)[:80])}. "
            f"It is not read, because such a file can run any code.\n"
            f"Download the set again from its authors, or convert it to files."
        ) from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, StopIteration) as error:
        reason = printable(str(error)[:80]) or type(error).__name__
        raise DataError(f"{where} is damaged, or is not a pickle ({reason}).\nDownload it again.") from None


class _Array:
    """An array that is being built: REDUCE makes it empty, BUILD fills it in."""

    values: np.ndarray | None = None

    def build(self, state: Any) -> None:
        _, shape, dtype, is_fortran_order, content = state
        if not isinstance(dtype, _Dtype):
            raise Refused("an array of objects")
        self.values = _as_array(content, shape, "F" if is_fortran_order else "C")


class _Dtype:
    """The element type; the only one there is here is the unsigned byte, whatever its state says."""

    def __init__(self, code: str) -> None:
        if code not in UNSIGNED_BYTE:
            raise Refused(f"an array of type '{_text(code)}'")

    def build(self, state: Any) -> None:
        pass


def _as_array(content: Any, shape: Any, order: str) -> np.ndarray:
    data = content.encode("latin-1") if isinstance(content, str) else bytes(memoryview(content))
    sizes = tuple(shape)
    if len(sizes) > 8 or not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError("the sizes of an array are not numbers")
    return np.frombuffer(data, np.uint8).reshape(sizes, order="F" if order == "F" else "C")


def _from_buffer(content: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(dtype, _Dtype):
        raise Refused("an array of objects")
    return _as_array(content, shape, order)


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise Refused(f"the encoding '{_text(encoding)}'")
    return _expect(text, str).encode("latin-1")


def _not_callable(*values: Any) -> None:
    raise Refused("a call of numpy.ndarray")


_KNOWN: dict[str, Callable[..., Any]] = {
    "numpy ndarray": _not_callable,
    "numpy dtype": lambda code, *flags: _Dtype(code),
    "_codecs encode": _encode,
    "numpy.core.multiarray _reconstruct": lambda *arguments: _Array(),
    "numpy._core.multiarray _reconstruct": lambda *arguments: _Array(),
    "numpy.core.numeric _frombuffer": _from_buffer,
    "numpy._core.numeric _frombuffer": _from_buffer,
}


class _Interpreter:
    """A stack, a memo and the opcodes of plain data."""

    def __init__(self, copied_bytes_left: int) -> None:
        self._copied_bytes_left = copied_bytes_left
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        for number, (name, argument) in enumerate(_opcodes(content)):
            if number >= MAX_PICKLE_OPCODES:
                raise Refused(f"more than {MAX_PICKLE_OPCODES:,} steps")
            if name == "STOP":
                if len(self._stack) != 1 or self._stack[0] is _MARK:
                    raise ValueError("it does not end with one value")
                return _finished(self._stack.pop())
            self._step(name, argument)
        raise ValueError("it has no end")

    def _step(self, name: str, argument: Any) -> None:
        push = self._stack.append
        if name in _VALUES:
            push(argument)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            self._memo[len(self._memo) if argument is None else argument] = self._stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            push(self._memo[argument])
        elif name in _CONSTANTS:
            push(_CONSTANTS[name])
        elif name in _TUPLES:
            self._stack[-_TUPLES[name] :] = [tuple(self._stack[-_TUPLES[name] :])]
        elif name == "MARK":
            push(_MARK)
        elif name not in ("PROTO", "FRAME"):
            self._build(name, argument)

    def _build(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if name == "EMPTY_LIST" else {})
        elif name in ("LIST", "DICT", "TUPLE"):
            values = self._since_mark()
            stack.append(values if name == "LIST" else tuple(values) if name == "TUPLE" else _as_dict(values))
        elif name in ("APPEND", "APPENDS"):
            values = [stack.pop()] if name == "APPEND" else self._since_mark()
            _expect(stack[-1], list).extend(values)
        elif name in ("SETITEM", "SETITEMS"):
            values = [stack.pop() for _ in range(2)][::-1] if name == "SETITEM" else self._since_mark()
            _expect(stack[-1], dict).update(_as_dict(values))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self._name(argument if name == "GLOBAL" else " ".join([_text(stack.pop()) for _ in range(2)][::-1]))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            if not any(function is known for known in _KNOWN.values()):
                raise Refused("a call of what is not a function")
            self._count_bytes(arguments)
            stack.append(function(*arguments))
        elif name == "BUILD":
            state = stack.pop()
            if not isinstance(stack[-1], _Array | _Dtype):
                raise Refused("an object with a state")
            self._count_bytes(state)
            stack[-1].build(state)
        else:
            raise Refused(f"the opcode {name}")

    def _count_bytes(self, values: Any) -> None:
        self._copied_bytes_left -= sum(len(value) for value in values if isinstance(value, str | bytes | bytearray))
        if self._copied_bytes_left < 0:
            raise Refused("the same bytes over and over")

    def _name(self, name: str) -> None:
        if name not in _KNOWN:
            raise Refused(f"'{name.replace(' ', '.')}'")
        self._stack.append(_KNOWN[name])

    def _since_mark(self) -> list[Any]:
        values: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]


def _as_dict(values: list[Any]) -> dict[Any, Any]:
    """Pairs in a row; the keys that Python 3 wrote as bytes become str."""
    keys = [key.decode("latin-1") if isinstance(key, bytes) else key for key in values[::2]]
    if not all(key is None or isinstance(key, str | int | float) for key in keys):
        raise ValueError("a key is neither a text nor a number")  # hashing tuples in tuples may end the process
    return dict(zip(keys, values[1::2], strict=True))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("its parts do not fit together")
    return value


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError("its parts do not fit together")
    return value


def _finished(value: Any) -> Any:
    """`value` with arrays in place of their builders; only the outermost dictionary has any."""
    if isinstance(value, dict):
        return {key: item.values if isinstance(item, _Array) else item for key, item in value.items()}
    return value.values if isinstance(value, _Array) else value
