"""What reads a damaged run in the child process of a campaign; its import runs every verb once.

The first use of torch and Python starts processes and makes folders of their own, which no run has asked for.
"""

import tempfile
from pathlib import Path

from campaigns.small_runs import IMAGES, VERBS, VERBS_FILE, make_runs, working_in
from saccade.core import drawing
from saccade.core.errors import SaccadeError, Stopped


def check(kind: str, folder: str) -> str:
    """Run the chosen verbs; the last error is raised once all of them are done."""
    del kind
    said, caught = [], None
    with working_in(Path(folder)):
        run, *verbs = Path(VERBS_FILE).read_text().split()
        for verb in verbs:
            try:
                said.append(VERBS[verb](Path(run)))
            except Stopped:
                said.append(f"{verb}: stopped")
            except SaccadeError as error:
                check_lines(verb, error)
                caught = error
    if caught is not None:
        raise caught
    return "; ".join(said)


def check_lines(verb: str, error: SaccadeError) -> None:
    """The harness looks at the last error only."""
    lines = error.message.split("\n")
    if not 1 <= len(lines) <= 4 or not all(line and line.isprintable() for line in lines):
        raise AssertionError(f"{verb}: {error.message!r}")


with tempfile.TemporaryDirectory(prefix="saccade-first-") as _base:
    make_runs(Path(_base))
    for _verb in VERBS:
        (Path(_base) / VERBS_FILE).write_text(f"train {_verb}")
        check(IMAGES, _base)
drawing.RESERVED_BYTES = 0  # the drawing engine has set aside its addresses by now, before they are limited
