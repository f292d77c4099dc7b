"""The export of a run that a server reads: made once, kept in the run by the digest of its weights.

It is a program of its own, because it needs torch and the server is not to have it:

    python -m saccade.ship.kept RUN     prints {"folders": [...]}, one an ensemble's member, or {"error", "exit_code"}
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .. import __version__
from ..core import atomic
from ..core.errors import CheckpointError, RunInUseError, SaccadeError, StorageError, printable
from ..core.lock import exclusive
from ..runs.checkpoint import Checkpoint, find_checkpoint
from ..runs.ensemble_folder import expand_runs
from ..runs.names import MANIFEST, SERVED, WEIGHTS
from .bundle import novelty_digest, read_bundle

PATIENCE_S, PAUSE_S = 600.0, 0.2  # while another process exports the same run
DIGITS = 16  # of a digest, in the name of its folder


def kept_exports(run: Path) -> list[Path]:
    """The exports of a run, or of the members of an ensemble; those that are missing are made. Raises SaccadeError."""
    return [_kept_export(member) for member in expand_runs([run])]


def _kept_export(run: Path) -> Path:
    checkpoint = find_checkpoint(run)
    root = run.parent if (run / MANIFEST).is_file() else run
    folder = root / SERVED / checkpoint.manifest.files[WEIGHTS].sha256[:DIGITS]
    if not _is_of(folder, checkpoint):
        try:
            atomic.make_folder(folder.parent)
            from .export import export_run  # which takes a second to import, and most servers find their export made

            with _alone(folder.parent):
                if not _is_of(folder, checkpoint):  # somebody else may have made it meanwhile
                    export_run(run, ["openvino"], folder, half=False)
        except StorageError as error:
            first = error.message.splitlines()[0]
            where = printable(str(run))
            raise StorageError(
                f"{first}\nThe export that is served lies in the run. Make it elsewhere, and serve that: "
                f"saccade export {where} --format openvino --out DIR"
            ) from None
    return folder


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold `folder`; servers of one run that start together wait for the one that exports. Raises RunInUseError after
    PATIENCE_S."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        with ExitStack() as stack:
            try:
                stack.enter_context(exclusive(folder))
            except RunInUseError:
                if time.monotonic() > give_up:
                    raise
            else:
                yield
                return
        time.sleep(PAUSE_S)


def _is_of(folder: Path, checkpoint: Checkpoint) -> bool:
    """Whether an export stands there that is whole and of this checkpoint, made by this version."""
    try:
        bundle = read_bundle(folder)
    except CheckpointError:
        return False
    manifest = checkpoint.manifest
    made_of = tuple(bundle.provenance.get(name) for name in ("weights_sha256", "saccade", "novelty_sha256"))
    beside = bundle.preprocessing, bundle.classes, bundle.task, bundle.temperature
    novelty = novelty_digest(manifest.files).get("novelty_sha256")
    return made_of == (manifest.files[WEIGHTS].sha256, __version__, novelty) and beside == (
        manifest.preprocessing,
        manifest.classes,
        manifest.task,
        manifest.temperature,
    )


def main() -> None:
    """See the module."""
    try:
        answer: dict[str, object] = {"folders": [str(folder) for folder in kept_exports(Path(sys.argv[1]))]}
    except SaccadeError as error:
        answer = {"error": error.message, "exit_code": error.exit_code}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
