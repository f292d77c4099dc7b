"""Thrift's compact protocol, as much of it as the footers and page headers of Parquet use.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from typing import Any

MAX_DEPTH = 16  # of structures and lists; a footer has ten


def read_varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a structure is damaged")


def _zigzag(content: bytes, at: int) -> tuple[int, int]:
    value, at = read_varint(content, at)
    return (value >> 1) ^ -(value & 1), at


def read_struct(content: bytes, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """({field: value}, where it ends). Raises IndexError where `content` ends first, ValueError where it is damaged."""
    if depth > MAX_DEPTH:
        raise ValueError("a structure is damaged")
    fields: dict[int, Any] = {}
    number = 0
    while head := content[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _zigzag(content, at)
        kind = head & 15
        if kind in (1, 2):
            fields[number] = kind == 1
        else:
            fields[number], at = _value(content, at, kind, depth)
    return fields, at + 1


def _value(content: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind == 3:
        return content[at], at + 1
    if kind in (4, 5, 6):
        return _zigzag(content, at)
    if kind in (7, 8):
        size, at = (8, at) if kind == 7 else read_varint(content, at)
        content[at + size - 1 if size else at - 1]  # raises where it is not all there
        return content[at : at + size], at + size
    if kind in (9, 10):
        return _list(content, at, depth + 1)
    if kind == 12:
        return read_struct(content, at, depth + 1)
    raise ValueError("a structure is damaged")


def _list(content: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    if depth > MAX_DEPTH:
        raise ValueError("lists are in each other too often")
    size, kind, at = content[at] >> 4, content[at] & 15, at + 1
    if size == 15:
        size, at = read_varint(content, at)
    if size > len(content):  # every element has a byte
        raise IndexError
    values = []
    for _ in range(size):
        value, at = (content[at], at + 1) if kind in (1, 2) else _value(content, at, kind, depth)
        values.append(value)
    return values, at
