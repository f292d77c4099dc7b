"""Weight files: safetensors only, checked against the network before a byte of data is used.

The header is parsed here first: a file from a stranger can declare any size, any shape and any name. Its tensors must
be those of the network, under our names or under public ones that the architecture's `rename_key` translates.
"""

import hashlib
import math
import os
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from torch import nn

from ..core.documents import DocumentError, parse_object
from ..core.errors import WeightsError, brief, printable
from ..core.plain_files import open_plain_file
from ..models.architecture import Translation

MAX_HEADER_BYTES = 1 << 20
MAX_WEIGHT_BYTES = 4 << 30
MAX_DIMENSIONS = 8
DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}
# Types of the format that no network here has: a file of them is sound, and made for another program.
OTHER_DTYPES = {
    *("I8", "I16", "U16", "U32", "U64", "C64", "F4", "F6_E2M3", "F6_E3M2"),
    *("F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"),
}
# What data-parallel, compiled and wrapped networks put in front of every name, in any order.
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
VARIANCE = "running_var"  # of batch normalisation
UNUSED_COUNTER = "num_batches_tracked"  # of batch normalisation; files written before 2018 lack it
AUXILIARY = "auxiliary."  # heads that only training uses
HEAD = "head."
PRETRAINING = "mask_token"  # what DINOv2 puts in the place of hidden patches, and no answer needs
SHOWN = 3


@dataclass(frozen=True)
class _Entry:
    """What a header says of one tensor: its shape, and where its bytes end."""

    shape: tuple[int, ...]
    end: int

    @classmethod
    def parse(cls, entry: Any) -> "_Entry":
        """`entry` by the schema: {"dtype": a known name, "shape": sizes, "data_offsets": [start, end]}, whole numbers
        that fit each other. Raises DocumentError."""
        values = entry if isinstance(entry, dict) else {}
        dtype, shape, offsets = values.get("dtype"), values.get("shape"), values.get("data_offsets")
        if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
            raise DocumentError("it holds a type of numbers that is not known here")
        if not _are_sizes(shape) or len(shape) > MAX_DIMENSIONS or not _are_sizes(offsets) or len(offsets) != 2:
            raise DocumentError("its shape and offsets are not lists of whole numbers")
        if offsets[1] - offsets[0] != math.prod(shape) * DTYPE_BYTES[dtype]:
            raise DocumentError("its offsets do not fit its shape")
        return cls(tuple(shape), offsets[1])


def _are_sizes(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


@dataclass(frozen=True, kw_only=True)
class LoadedWeights:
    """What was loaded: SHA-256 of the file, tensors taken, and public tensors that the network has no use for."""

    sha256: str
    num_tensors: int
    unused: tuple[str, ...]


def load_weights(
    model: nn.Module,
    path: Path,
    rename_key: Callable[[str], str | None] | None = None,
    needs_head: bool = True,
) -> LoadedWeights:
    """Fill `model` from a safetensors file. Raises WeightsError; the network is then unchanged.

    Names may be ours or public ones; every tensor of the network must be there, with its shape, finite. The head as a
    whole may be missing where it is not needed; it stays as it is.
    """
    content = read_file(path)
    names, unused = check_tensors(tensor_shapes(model), parse_header(content, path), path, rename_key, needs_head)
    try:
        tensors = parse_tensors(content)
    except SafetensorError as error:
        raise WeightsError(f"{printable(str(path))} is damaged: {brief(error)}.\nDownload it again.") from None
    for theirs in names:
        if tensors[theirs].is_floating_point() and not bool(torch.isfinite(tensors[theirs]).all()):
            raise WeightsError(
                f"{printable(str(path))}: the tensor '{printable(theirs)}' holds values that are not finite.\n"
                f"The file is damaged or its training diverged; take another one."
            )
    own = model.state_dict()
    with torch.no_grad():
        for theirs, ours in names.items():
            own[ours].copy_(tensors[theirs].reshape(own[ours].shape))
            if isinstance(rename_key, Translation) and ours.endswith(VARIANCE):
                own[ours].add_(rename_key.added_variance(theirs))
    digest = hashlib.sha256(content).hexdigest()
    return LoadedWeights(sha256=digest, num_tensors=len(names), unused=tuple(unused))


def tensor_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of the network's tensors by name."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def check_tensors(
    expected: dict[str, tuple[int, ...]],
    shapes: dict[str, tuple[int, ...]],
    path: Path,
    rename_key: Callable[[str], str | None] | None = None,
    needs_head: bool = True,
) -> tuple[dict[str, str], list[str]]:
    """`match_names` of a file with tensors of `shapes`, once they are the network's, whose shapes are `expected`, or
    all but those of the head where it is not needed.

    Raises WeightsError.
    """
    names, unused = match_names(list(shapes), expected, rename_key)
    if not needs_head and not any(ours.startswith(HEAD) for ours in names.values()):
        expected = {name: shape for name, shape in expected.items() if not name.startswith(HEAD)}
    _check(path, shapes, names, expected, [name for name in unused if name.rpartition(".")[2] != PRETRAINING])
    return names, unused


def read_file(path: Path) -> bytes:
    """The bytes of a weight file. Raises WeightsError for what is no safetensors file, pickles first of all."""
    where = printable(str(path))
    try:
        with open_plain_file(path) as file:
            start = file.read(8)
            if start[:2] in PICKLE_STARTS or start[:4] in PICKLE_STARTS:
                raise WeightsError(
                    f"{where} is a pickle, which can run any code when it is opened; it is not opened.\n"
                    f"Ask its author for a .safetensors file, or convert it in a child process with limits:\n"
                    f"saccade convert {where} --model NAME --out FILE.safetensors"
                )
            num_bytes = os.fstat(file.fileno()).st_size
            if num_bytes > MAX_WEIGHT_BYTES:
                raise WeightsError(
                    f"{where} has {num_bytes:,} bytes; at most {MAX_WEIGHT_BYTES:,} are read, several times what the "
                    f"largest network here has.\nIt holds something else; take another file."
                )
            return start + file.read(num_bytes)
    except FileNotFoundError:
        raise WeightsError(f"There is no weight file {where}.\nCheck the path and its spelling.") from None
    except OSError as error:
        raise WeightsError(f"{where} cannot be read: {error.strerror or error}.") from None


def parse_header(content: bytes, path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes by name as the header declares them, once sizes, types and offsets fit the file. Raises WeightsError."""
    where = printable(str(path))
    if len(content) < 8:
        raise WeightsError(f"{where} has {len(content)} bytes: no safetensors file is so short.\nDownload it again.")
    (header_bytes,) = struct.unpack("<Q", content[:8])
    if header_bytes > MAX_HEADER_BYTES or 8 + header_bytes > len(content):
        raise WeightsError(
            f"{where} is not a safetensors file, or it is truncated: its header would have {header_bytes:,} bytes, "
            f"the file has {len(content):,}.\nDownload it again."
        )
    try:
        header = parse_object(content[8 : 8 + header_bytes])
        header.pop("__metadata__", None)
        _refuse_other_dtypes(header, where)
        entries = {name: _Entry.parse(entry) for name, entry in header.items()}
    except DocumentError:
        raise WeightsError(f"{where} has a damaged header.\nDownload it again.") from None
    data_bytes, end = len(content) - 8 - header_bytes, max((entry.end for entry in entries.values()), default=0)
    if end != data_bytes:
        raise WeightsError(
            f"{where} is truncated or padded: its tensors end at byte {end:,} of {data_bytes:,}.\nDownload it again."
        )
    return {name: entry.shape for name, entry in entries.items()}


def _refuse_other_dtypes(header: dict[str, Any], where: str) -> None:
    """Raise WeightsError for a tensor of a type that the format knows and that is not read here."""
    for name, entry in header.items():
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if isinstance(dtype, str) and dtype in OTHER_DTYPES:
            raise WeightsError(
                f"{where}: the tensor '{printable(name[:80])}' has numbers of the type {dtype}; read are "
                f"{', '.join(DTYPE_BYTES)}.\nTake the file with the weights in float32 or float16."
            )


def parse_metadata(content: bytes) -> dict[str, str]:
    """The texts under `__metadata__` in a header that `parse_header` has accepted."""
    (header_bytes,) = struct.unpack("<Q", content[:8])
    metadata = parse_object(content[8 : 8 + header_bytes]).get("__metadata__")
    if not isinstance(metadata, dict):
        return {}
    return {str(key): value for key, value in metadata.items() if isinstance(value, str)}


def match_names(
    found: list[str], expected: dict[str, tuple[int, ...]], rename_key: Callable[[str], str | None] | None
) -> tuple[dict[str, str], list[str]]:
    """({name in the file: our name}, names of the file that mean nothing here)."""
    names: dict[str, str] = {}
    unused: list[str] = []
    taken: set[str] = set()
    for theirs in found:
        ours = _our_name(theirs, expected, rename_key)
        if ours is not None and ours not in taken:
            names[theirs] = ours
            taken.add(ours)
        else:
            unused.append(theirs)
    return names, unused


def same_shapes_other_names(shapes: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]) -> bool:
    """Whether a file has tensors of just the network's shapes, each as often, whatever they are called."""
    theirs, ours = (
        Counter(shape for name, shape in named.items() if not name.endswith(UNUSED_COUNTER))
        for named in (shapes, expected)
    )
    return theirs == ours


def _our_name(
    theirs: str, expected: dict[str, tuple[int, ...]], rename_key: Callable[[str], str | None] | None
) -> str | None:
    """The network's name for a tensor, as it is written or behind any wrappers; None where there is none."""
    plain = theirs
    while True:
        if plain in expected:
            return plain
        if rename_key is not None:
            try:
                renamed = rename_key(plain)
            except (LookupError, ValueError):
                renamed = None  # not a name that the translation knows
            if renamed in expected:
                return renamed
        wrapper = next((wrapper for wrapper in WRAPPERS if plain.startswith(wrapper)), None)
        if wrapper is None:
            return None
        plain = plain.removeprefix(wrapper)


def same_values(theirs: tuple[int, ...], ours: tuple[int, ...]) -> bool:
    """Whether a public tensor has the numbers of ours in the same order.

    A dense layer (out, C) on every position is 1x1 filters (out, C, 1, 1), and one number a channel may be written
    (C, 1, 1): libraries differ in both. timm keeps VGG's dense layers (out, C * H * W) as filters (out, C, H, W).
    """
    same = _without_last_ones(theirs) == _without_last_ones(ours)
    return same or (len(theirs) == 4 and len(ours) == 2 and (theirs[0], math.prod(theirs[1:])) == ours)


def _without_last_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _check(
    path: Path,
    shapes: dict[str, tuple[int, ...]],
    names: dict[str, str],
    expected: dict[str, tuple[int, ...]],
    unused: list[str],
) -> None:
    where = printable(str(path))
    missing = [name for name in expected if name not in names.values() and not name.endswith(UNUSED_COUNTER)]
    if set(missing) == {name for name in expected if name.startswith(AUXILIARY) and not name.endswith(UNUSED_COUNTER)}:
        missing = []  # GoogLeNet saved without its side branches
    wrong = [theirs for theirs, ours in names.items() if not same_values(shapes[theirs], expected[ours])]
    if missing and (unused or not wrong):
        also = f" It has {len(unused)} other{'s' * (len(unused) > 1)}, such as {_some(unused)}." if unused else ""
        raise WeightsError(
            f"{where} lacks {len(missing)} of the network's {len(expected)} tensors: {_some(missing)}.{also}\n"
            + (
                "It holds the weights of another architecture; choose the one it was made for."
                if unused
                else "All that it has fits, so it is incomplete; get it again from where it came."
            )
        )
    if wrong:
        first = wrong[0]
        raise WeightsError(
            f"{where}: {_tensors(len(wrong))} another shape than in the network: '{printable(first)}' has "
            f"{_shape(shapes[first])}, expected {_shape(expected[names[first]])}.\n"
            f"The file was made for another number of classes, another input or another variant of the network."
        )
    if unused:
        raise WeightsError(
            f"{where} has {len(unused)} tensor{'s' * (len(unused) > 1)} that the network does not: {_some(unused)}.\n"
            f"It holds the weights of a larger or other architecture; choose the one it was made for."
        )


def _tensors(number: int) -> str:
    return "1 tensor has" if number == 1 else f"{number} tensors have"


def _some(names: list[str]) -> str:
    shown = ", ".join(f"'{printable(name)}'" for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape) or "one number"
