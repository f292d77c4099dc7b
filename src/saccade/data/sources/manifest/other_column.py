"""What a table of images says of each besides its label: the texts of one more column, by the key of the image."""

from pathlib import Path

from ....core.errors import UsageError, did_you_mean, printable
from ...source_text import split_source_text
from .columns import find_columns
from .files import FileFinder, plain_name
from .tables import ENDINGS, open_table


def read_column(source_text: str, name: str) -> dict[str, str]:
    """The column `name` of the CSV file, or JSON lines, that `source_text` names.

    Raises UsageError where it names no such file, or the file has no such column; DataError for a damaged one.
    """
    place, chosen = split_source_text(source_text)
    path = Path(place)
    if not place.lower().endswith(ENDINGS) or not path.is_file():
        raise UsageError(
            f"'{printable(source_text[:200])}' is not a CSV file, so it has no column '{printable(name[:200])}'.\n"
            f"Name the table as the SOURCE, such as photos/labels.csv."
        )
    table, files = open_table(path), FileFinder(path)
    if name not in table.names:
        raise UsageError(
            f"{printable(place)} has no column '{printable(name[:200])}'.{did_you_mean(name[:200], table.names)}\n"
            f"Its columns: {printable(', '.join(table.names[:8]))}{', ...' if len(table.names) > 8 else '.'}"
        )
    columns = find_columns(table, files, chosen)
    place_in_row = table.names.index(name)
    found = {}
    for _, row in table.rows():
        written = plain_name(row[columns.file]) or ""
        found[files.find(written) or written] = row[place_in_row].strip()
    return found
