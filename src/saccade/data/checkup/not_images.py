"""What lies in a folder of images and is not looked at: hidden things, other kinds of files, broken links."""

import os
from collections.abc import Iterator
from pathlib import Path

from ..left_out import ENDINGS, SYSTEM_NAMES

OTHER_ENDING = "its ending is not of a format that is read"
SYSTEM_FILE = "a file that Windows or macOS keeps there"
LEADS_NOWHERE = "a link that leads to nothing"
MANAGED = {"readme.md", "readme.txt", "readme", "license", "license.txt"}


def list_left_out(folder: Path) -> Iterator[tuple[str, str]]:
    """(path below `folder`, why) of hidden files and folders, and of files whose ending is not an image's."""
    for base, folders, files in os.walk(folder):
        for name in sorted(folders):
            if name.startswith(".") or name.lower() in SYSTEM_NAMES:
                yield _below(folder, base, name), "hidden folder"
        folders[:] = sorted(name for name in folders if not (name.startswith(".") or name.lower() in SYSTEM_NAMES))
        for name in sorted(files):
            if name.lower() in SYSTEM_NAMES:
                yield _below(folder, base, name), SYSTEM_FILE
            elif name.startswith("."):
                yield _below(folder, base, name), "hidden file"
            elif not os.fsencode(name.lower()).endswith(ENDINGS) and name.lower() not in MANAGED:
                is_there = os.path.exists(os.path.join(base, name))
                yield _below(folder, base, name), OTHER_ENDING if is_there else LEADS_NOWHERE


def _below(folder: Path, base: str, name: str) -> str:
    return os.path.relpath(os.path.join(base, name), folder)
