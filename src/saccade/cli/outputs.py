"""What a command writes may be nothing that it reads, no file of a run, and no other thing that it writes.

Each option that names a file to write says here which endings it writes: a wrong one is most often another file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UsageError, printable


@dataclass(frozen=True, kw_only=True)
class Output:
    """A file that an option names, None where it was not given; `endings` are those that it writes, none where what
    writes says so itself."""

    option: str
    path: Path | None
    endings: tuple[str, ...]


def check_outputs(outputs: Iterable[Output], inputs: Iterable[Path | str]) -> None:
    """Raise UsageError where a file of `outputs` has another ending, is one of `inputs`, which are read, or a file in
    their folders, belongs to a run, or is named twice. An input may have columns behind its path, as a source has."""
    from ..data.source_text import split_source_text
    from ..runs.names import CONFIG, LIMIT_BYTES, MANIFEST

    read = [Path(split_source_text(str(given))[0]).resolve() for given in inputs]
    written: dict[Path, str] = {}
    for output in outputs:
        if output.path is None:
            continue
        _refuse_ending(output.option, output.path, output.endings)
        path, where = output.path.resolve(), printable(str(output.path))
        if path in read or (path.exists() and any(folder in path.parents for folder in read)):
            raise UsageError(f"{output.option} would replace {where}, which is read here.\nGive it another name.")
        if path.name in LIMIT_BYTES and any((path.parent / name).is_file() for name in (CONFIG, MANIFEST)):
            raise UsageError(f"{output.option} would replace {where}, a file of a run.\nGive it another name.")
        if path in written:
            raise UsageError(f"{written[path]} and {output.option} name the same file, {where}.\nGive each its own.")
        written[path] = output.option


def _refuse_ending(option: str, path: Path, endings: tuple[str, ...]) -> None:
    if not endings or path.suffix.lower() in endings or path.is_dir():  # where a folder stands, what writes says so
        return
    raise UsageError(
        f"{option} writes {' or '.join(endings)} files; got '{printable(path.name)}'.\nChange the ending of the file."
    )
