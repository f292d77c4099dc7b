"""Files of the Hugging Face hub, downloaded once into its cache, with its errors in our words."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .atomic import free_bytes
from .errors import SaccadeError, StorageError, printable

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)


@dataclass(frozen=True, kw_only=True)
class HubKind:
    """What is looked for: `noun` in messages, `page` its address on the web, `instead` the advice when offline."""

    repo_type: str
    noun: str
    page: str
    instead: str
    error: type[SaccadeError]


def download(kind: HubKind, name: str, revision: str, patterns: list[str], no_revision: str = "") -> Path:
    """The folder of a revision, named by its commit, in Hugging Face's cache, with the files that match `patterns`.

    `no_revision` is the message where the revision does not exist. Raises `kind.error`, and StorageError where
    the disk refuses.
    """
    import huggingface_hub  # half a second, which only the hub shall cost
    from huggingface_hub import errors

    where, page = f"hub:{name}", f"{kind.page}/{name}"
    try:
        with _bars_on_terminals():
            folder = huggingface_hub.snapshot_download(
                name, repo_type=kind.repo_type, revision=revision, allow_patterns=patterns
            )
        return Path(folder)
    except errors.GatedRepoError:
        raise kind.error(
            f"{where} is only for people who accepted its terms.\nAccept them at {page}, then log in: hf auth login."
        ) from None
    except errors.RepositoryNotFoundError:
        raise kind.error(
            f"The hub has no {kind.noun} {where}, or keeps it private.\n"
            f"Check the name at {page}, or log in: hf auth login."
        ) from None
    except errors.RevisionNotFoundError:
        usual = f"{where} has no revision '{printable(revision)}'.\nSee {page}/commits/main."
        raise kind.error(no_revision or usual) from None
    except errors.HFValidationError as error:
        raise kind.error(
            f"{where} is not a name on the hub: {printable(str(error)[:100])}.\nWrite hub:OWNER/NAME."
        ) from None
    except errors.LocalEntryNotFoundError as error:
        _tell_storage(where, error)
        raise kind.error(_unreachable(kind, where, revision, error.__cause__ or error)) from None
    except (errors.HTTPError, OSError) as error:  # type: ignore[attr-defined]
        _tell_storage(where, error)
        raise kind.error(_unreachable(kind, where, revision, error)) from None


@contextmanager
def _bars_on_terminals() -> Iterator[None]:
    """Hugging Face's bars only where they can be redrawn; somebody's own HF_HUB_DISABLE_PROGRESS_BARS decides first."""
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    hides = not is_terminal and constants.HF_HUB_DISABLE_PROGRESS_BARS is None and not are_progress_bars_disabled()
    if hides:
        disable_progress_bars()
    try:
        yield
    finally:
        if hides:
            enable_progress_bars()


def _tell_storage(where: str, error: BaseException) -> None:
    """Raise StorageError where it is the disk under Hugging Face's cache that failed, not the hub."""
    import huggingface_hub.constants

    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno in DISK_ERRORS:
            folder = Path(huggingface_hub.constants.HF_HUB_CACHE)
            raise StorageError(
                f"{where} cannot be kept in {printable(str(folder))}: {link.strerror}.\n"
                f"{free_bytes(folder):,} bytes are free there. Free some space, or set HF_HOME to a folder of yours."
            ) from link
        link = link.__cause__ or link.__context__


def _unreachable(kind: HubKind, where: str, revision: str, error: BaseException) -> str:
    if type(error).__name__ in ("OfflineModeIsEnabled", "LocalEntryNotFoundError", "IncompleteSnapshotError"):
        what = "HF_HUB_OFFLINE is set"
    else:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        what = f"the hub does not answer ({printable(lines[0][:100].rstrip('.'))})"
    return (
        f"{where} ({printable(revision)}) is not complete on this machine, and {what}.\n"
        f"Go online once, or give {kind.instead}."
    )
