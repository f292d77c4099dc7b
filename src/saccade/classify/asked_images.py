"""What a person names as images to predict: files, folders, sources, addresses, and - for a list on standard input.

Nothing is listed in advance: an image is named when its turn comes, however many follow it.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from ..core.addresses import WEB, check_address, is_address, is_hub, shown
from ..core.errors import DataError, ImageError, UsageError, printable
from ..data.left_out import PassedOver
from ..data.opening_line import Told, opening_line, untold
from ..data.source import DataSource, is_builtin, open_source
from ..data.source_text import split_source_text
from ..data.sources.in_memory import HeldImage
from ..data.sources.shared.image_files import has_images
from ..data.sources.shared.listing import one_class_is_enough
from ..data.sources.tar.web_files import read_whole
from .stream import items_of_source, list_images

STANDARD_INPUT = "-"
SOURCE_ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".tar")
MAX_LINE_BYTES = 8192
TIME_LIMIT_S = 60.0  # for one image at an address, redirects and all


def asked_images(
    texts: Sequence[str],
    passed_over: PassedOver,
    allow_url: bool = False,
    lines: IO[bytes] | None = None,
    opened: Told = untold,
    unused: Told | None = None,
) -> Iterator[HeldImage]:
    """The images that `texts` name, in their order; `lines` stands for standard input. `opened` hears the line that
    names the classes of a source. With `unused`, which hears what of it is not used, a folder of labelled images is
    read as a source, too; without, it is walked as any folder.

    Raises UsageError at once for an address that is not allowed, - twice, or an empty name. What is named in a line of
    standard input, and cannot be used, is an item whose reading raises ImageError.
    """
    check_asked(texts, allow_url)
    return _items(texts, passed_over, allow_url, sys.stdin.buffer if lines is None else lines, opened, unused)


def check_asked(texts: Sequence[str], allow_url: bool) -> None:
    """Raise UsageError for an address that is not allowed, - twice, or an empty name, which is no name of a folder."""
    if "" in texts:
        raise UsageError("An image, folder or source has an empty name: ''.\nIs a variable of the shell empty?")
    for text in texts:
        if is_address(text) and not is_hub(text):
            _check_web(text, allow_url)
    if list(texts).count(STANDARD_INPUT) > 1:
        raise UsageError("Standard input can be read once: write - once.")


def image_at_address(url: str) -> HeldImage:
    """The image at an address, fetched when its turn comes."""
    return HeldImage(url, partial(_read_address, url))


def _items(
    texts: Sequence[str],
    passed_over: PassedOver,
    allow_url: bool,
    lines: IO[bytes],
    opened: Told,
    unused: Told | None,
) -> Iterator[HeldImage]:
    for text in texts:
        if text == STANDARD_INPUT:
            for line in _lines(lines):
                yield from _item_of_line(line, passed_over, allow_url)
        elif is_address(text) and not is_hub(text):
            yield image_at_address(text)
        elif (source := named_source(text, unused)) is not None:
            opened(opening_line(source))
            yield from items_of_source(source, np.arange(len(source)))
            tell_unused(text, source, unused)
        else:
            yield from list_images([Path(text)], passed_over)


def named_source(text: str, unused: Told | None) -> DataSource | None:
    """The source that `text` names; None where it names files. A folder is one where its images lie inside other files,
    as in Parquet; with `unused`, a folder of labelled images is one, too."""
    if _is_source(text):
        with one_class_is_enough():
            return open_source(text, several=True)
    return _packed_folder(text) if unused is None else _labelled_folder(text, unused)


def tell_unused(text: str, source: DataSource, unused: Told | None) -> None:
    """Tell what is not used of the labelled folder `text`."""
    if unused is not None and not _is_source(text):
        for note in source.notes:
            unused(note)


def _labelled_folder(text: str, unused: Told) -> DataSource | None:
    """The source that the folder `text` is; None where it is no folder, or does not say what its images are, of which
    `unused` hears."""
    if not text or not os.path.isdir(text):
        return None
    try:
        return open_source(text, several=True)
    except DataError as error:
        unused(f"{printable(text)} is read without labels: {error.message.splitlines()[0]}")
        return None


def _packed_folder(text: str) -> DataSource | None:
    """The source that a folder without an image file is, as its files hold the images; None for any other."""
    if not text or not os.path.isdir(text) or has_images(Path(text)):
        return None
    try:
        with one_class_is_enough():
            return open_source(text, several=True)
    except DataError:  # what is wrong with the folder is told where its images are looked for
        return None


def _is_source(text: str) -> bool:
    """Whether `text` names a set with a listing of its own; a folder is walked for its images."""
    if is_builtin(text) or is_hub(text) or split_source_text(text)[1]:
        return True
    path = Path(text)
    return text.lower().endswith(SOURCE_ENDINGS) and path.is_file()


def _item_of_line(line: str, passed_over: PassedOver, allow_url: bool) -> Iterator[HeldImage]:
    if not is_address(line):
        yield from list_images([Path(line)], passed_over)
        return
    try:
        _check_web(line, allow_url)
    except (UsageError, DataError) as error:
        yield HeldImage(shown(line), partial(_refuse, ImageError(shown(line), error.message.replace("\n", " "))))
        return
    yield image_at_address(line)


def _check_web(text: str, allow_url: bool) -> None:
    """Raise UsageError or DataError for an address that is not opened as an image."""
    protocol = check_address(text)
    if protocol not in WEB:
        raise UsageError(
            f"'{shown(text)}' is not an image that can be opened: of addresses, only https:// is read.\n"
            f"Download the images, and give their folder."
        )
    if not allow_url:
        raise UsageError(
            f"'{shown(text)}' is an address, and none is opened unasked.\n"
            f"If you want it to be fetched, add --allow-url."
        )


def _lines(lines: IO[bytes]) -> Iterator[str]:
    """The lines that are not blank. Raises DataError for one that is no path."""
    number = 0
    while line := lines.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES or b"\0" in line:
            raise DataError(
                f"Line {number:,} of standard input is not a path: each line holds one path or address.\n"
                f"To classify one image that comes by a pipe, write it into a file."
            )
        text = os.fsdecode(line.rstrip(b"\r\n"))
        if text:
            yield text


def _read_address(url: str) -> bytes:
    """The image at an address. Raises ImageError where it does not come whole within a minute."""
    try:
        return read_whole(url, TIME_LIMIT_S)
    except DataError as error:
        raise ImageError(shown(url), error.message.replace("\n", " ")) from None
    except OSError as error:
        raise ImageError(shown(url), f"it cannot be fetched: {printable(error.strerror or str(error))}.") from None


def _refuse(error: ImageError) -> bytes:
    raise error
