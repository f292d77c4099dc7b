"""The labels of a Parquet file: its rows counted and the pages of the column checked before it is decoded."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from ....core.errors import DataError, printable
from ....core.plain_files import open_plain_file
from ...limits import MAX_ROWS_IN_SMALL_FILE
from .columns import ImageColumns
from .pages import read_footer, read_pages
from .row_groups import column_chunk, import_pyarrow, open_parquet


def check_rows(metadata: Any, file_bytes: int, where: str) -> None:
    """Raise DataError where a file has more rows than it has room for, or counts them in two ways."""
    counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    if min(counts, default=0) < 0 or sum(counts) != metadata.num_rows:
        raise DataError(
            f"{where} says that it has {metadata.num_rows:,} rows, but its row groups have {sum(counts):,}.\n"
            f"It is damaged: download it again."
        )
    if metadata.num_rows > max(MAX_ROWS_IN_SMALL_FILE, file_bytes):
        raise DataError(
            f"{where} has {file_bytes:,} bytes and says that it has {metadata.num_rows:,} rows, more than images have "
            f"room for.\nThe file is damaged or made to fill the memory; take another one."
        )


def read_label_lists(file: Path, metadata: Any, columns: ImageColumns, where: str) -> list[tuple[str, ...]]:
    """The labels of a file whose rows are lists of them, numbers as texts. Sizes are checked before decoding."""
    name, paths = columns.label, [metadata.schema.column(number).path for number in range(len(metadata.schema))]
    leaves = [path for path in paths if path.startswith(f"{name}.")]
    if len(leaves) != 1:
        raise DataError(f"{where}: the column '{printable(name)}' is not a plain list of classes.\nWrite it as a list.")
    stored = read_footer(file, where, leaves)
    num_values = 0
    with open_plain_file(file) as opened:
        for group in range(metadata.num_row_groups):
            chunk = column_chunk(metadata.schema, stored, group, leaves[0], opened.fileno(), where)
            read_pages(chunk)
            num_values += chunk.metadata.num_values
        file_bytes = os.fstat(opened.fileno()).st_size
    if num_values > max(MAX_ROWS_IN_SMALL_FILE, file_bytes):
        raise DataError(
            f"{where} has {file_bytes:,} bytes and says that it has {num_values:,} labels, more than have room in it.\n"
            f"The file is damaged or made to fill the memory; take another one."
        )
    with open_parquet(file, metadata) as opened:
        column = opened.read(columns=[name], use_threads=False).column(0)
    rows = [tuple(str(label) for label in row or () if label is not None) for row in column.to_pylist()]
    if len(rows) != metadata.num_rows:
        raise DataError(f"{where} has {len(rows):,} labels for {metadata.num_rows:,} rows.\nDownload it again.")
    return rows


def read_labels(file: Path, metadata: Any, columns: ImageColumns, where: str) -> np.ndarray | list[str] | None:
    """The labels of a file, int64 or texts; None where no row has one. Sizes are checked before they are decoded."""
    name = columns.label
    is_text = not columns.is_number
    stored = read_footer(file, where, [name])
    with open_plain_file(file) as opened:
        for group in range(metadata.num_row_groups):
            chunk = column_chunk(metadata.schema, stored, group, name, opened.fileno(), where)
            read_pages(chunk)
            if chunk.metadata.num_values != metadata.row_group(group).num_rows:
                raise DataError(f"{chunk.where} has not one label a row.\nThe file is damaged: download it again.")
    with open_parquet(file, metadata, [name] if is_text else []) as opened:
        column = opened.read(columns=[name], use_threads=False).column(0)
    if columns.is_value and not is_text:
        values: np.ndarray | list[str] = ["" if value is None else repr(value) for value in column.to_pylist()]
    else:
        values = _texts(column) if is_text else _numbers(column, name, where)
    if len(values) != metadata.num_rows:
        raise DataError(f"{where} has {len(values):,} labels for {metadata.num_rows:,} rows.\nDownload it again.")
    missing = (values == -1).sum() if isinstance(values, np.ndarray) else sum(not value for value in values)
    if missing == len(values):
        return None
    if missing:
        raise DataError(
            f"{where}: {missing:,} of {len(values):,} rows have no label.\nFill them in, or leave the rows out."
        )
    return values


def _numbers(column: Any, name: str, where: str) -> np.ndarray:
    """int64, -1 where a label is missing."""
    pyarrow, _ = import_pyarrow()
    try:
        return column.cast("int64").fill_null(-1).to_numpy()
    except pyarrow.ArrowInvalid:
        raise DataError(
            f"{where}: the column '{printable(name)}' has a label above {(1 << 63) - 1:,}, which is not a class "
            f"number.\n"
            f"Number the classes from 0."
        ) from None


def _texts(column: Any) -> list[str]:
    """The labels in words; equal ones are one object. "" where a label is missing."""
    texts: list[str] = []
    for chunk in column.chunks:
        names = [*(name or "" for name in chunk.dictionary.to_pylist()), ""]
        texts += [names[-1 if number is None else number] for number in chunk.indices.to_pylist()]
    return texts
