"""`saccade push`: the folder that `saccade export --format hub` writes, as one commit of a repository on the hub.

Everything that is sent was exported for it, into a folder of its own: no other file of the run can be among it. The
commit is whole or is not there.
"""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.addresses import hub_name, shown
from ..core.display import Displayed
from ..core.errors import ExportError, UsageError, brief
from ..core.plain_files import open_plain_file
from ..runs.files import FileRecord, record_of
from ..runs.names import BUNDLE
from ..weights.hub import HUB_PREFIX, MODEL
from .export import ExportedRun, export_run

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MESSAGE = "A classifier by saccade push"
PATIENCE_S = 60.0  # for an answer of the hub, whose library would wait for ever
NO_TOKEN = (
    "There is no token for the hub: HF_TOKEN is not set, and nobody is logged in.\n"
    "Make one that may write at https://huggingface.co/settings/tokens, then log in: hf auth login."
)


@dataclass(frozen=True, kw_only=True, repr=False)
class PushedRun(Displayed):
    """What was sent to the repository `name`, or would be. `commit` and `page` are "" where nothing was sent; `notes`
    are what the hub said of it."""

    name: str
    exported: ExportedRun
    files: dict[str, FileRecord]
    commit: str = ""
    page: str = ""
    is_new: bool = False
    notes: tuple[str, ...] = ()

    def display_lines(self) -> list[str]:
        """Each file with its size and digest, then where it lies, or that nothing was sent."""
        widths = max(map(len, self.files)), max(len(f"{record.num_bytes:,}") for record in self.files.values())
        lines = [
            f"{name.ljust(widths[0])}  {f'{record.num_bytes:,}'.rjust(widths[1])} bytes  SHA-256 {record.sha256}"
            for name, record in self.files.items()
        ]
        if not self.commit:
            return [*lines, f"Nothing was sent. Without --dry-run these files go to {MODEL.page}/{self.name}"]
        made = "Made and filled" if self.is_new else "Committed to"
        return [*lines, f"{made}: {self.page}", f"Commit: {self.commit}"]


def push_run(run: Path, name: str, private: bool, dry_run: bool) -> PushedRun:
    """Send the hub's folder of `run` to the repository `name`, OWNER/NAME.

    With `private` a new repository is private; one that is there and public is then refused. With `dry_run` nothing
    is sent and nobody is asked. Raises UsageError, CheckpointError, ExportError, StorageError.
    """
    asked = hub_name(f"{HUB_PREFIX}{name.removeprefix(HUB_PREFIX)}")
    if asked is None or asked.folder or asked.revision:
        raise UsageError(f"'{shown(name)}' is not a name on the hub.\nWrite OWNER/NAME: whose it is, and what it is.")
    if not dry_run:
        _require_token()
    with tempfile.TemporaryDirectory() as folder:
        exported = export_run(run, ["hub"], Path(folder) / "export", half=False)
        contents = {file: _content(exported.folder / file) for file in sorted([*exported.bundle.files, BUNDLE])}
    files = {file: record_of(content) for file, content in contents.items()}
    if dry_run:
        return PushedRun(name=asked.name, exported=exported, files=files)
    return _send(PushedRun(name=asked.name, exported=exported, files=files), contents, private)


def _send(pushed: PushedRun, contents: dict[str, bytes], private: bool) -> PushedRun:
    import huggingface_hub

    api, name = huggingface_hub.HfApi(library_name="saccade"), pushed.name
    with _hub_errors(name), _with_patience(), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        is_new = _make_repository(api, name, private)
        operations = [
            huggingface_hub.CommitOperationAdd(path_in_repo=file, path_or_fileobj=content)
            for file, content in contents.items()
        ]
        commit = api.create_commit(name, operations, commit_message=MESSAGE)
    with _with_patience():
        _refuse_lost(api, name, commit.oid, list(contents))
    words = [" ".join(str(each.message).split()) for each in told if issubclass(each.category, UserWarning)]
    notes = tuple(dict.fromkeys(map(brief, words)))
    page = f"{MODEL.page}/{name}/tree/{commit.oid}"
    return PushedRun(
        name=name,
        exported=pushed.exported,
        files=pushed.files,
        commit=commit.oid,
        page=page,
        is_new=is_new,
        notes=notes,
    )


def _refuse_lost(api: "HfApi", name: str, commit: str, files: list[str]) -> None:
    """Raise ExportError where the repository has not taken all `files`, or does not say so."""
    from huggingface_hub import errors

    try:
        kept = set(api.list_repo_files(name, revision=commit))
    except (errors.HTTPError, OSError) as error:  # type: ignore[attr-defined]
        raise ExportError(
            f"The commit {commit} of hub:{name} was made, and the hub does not say which files it holds "
            f"({_said(error)}).\nLook at {MODEL.page}/{name}."
        ) from None
    lost = [file for file in files if file not in kept]
    if lost:
        raise ExportError(
            f"hub:{name} left out {len(lost)} of {len(files)} files, {lost[0]} first; its .gitignore does so.\n"
            f"Remove that from {MODEL.page}/{name}, then run the command again."
        )


def _make_repository(api: "HfApi", name: str, private: bool) -> bool:
    """Whether the repository was not there, and is made. Raises ExportError for a public one that should be private."""
    from huggingface_hub import errors

    try:
        found = api.model_info(name, timeout=PATIENCE_S)
    except errors.RepositoryNotFoundError:
        api.create_repo(name, private=private or None, exist_ok=False)
        return True
    if private and found.private is False:
        raise ExportError(
            f"hub:{name} is there and public, and --private is for a new repository. Nothing was sent.\n"
            f"Make it private at {MODEL.page}/{name}/settings, or leave --private out."
        )
    return False


def _require_token() -> None:
    """Raise ExportError where the hub could only say no."""
    import huggingface_hub
    import huggingface_hub.constants

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise ExportError("HF_HUB_OFFLINE is set, so nothing is sent to the hub.\nUnset it, or look first: --dry-run.")
    if not huggingface_hub.get_token():
        raise ExportError(NO_TOKEN)


@contextmanager
def _with_patience() -> Iterator[None]:
    """What the hub's library asks inside is answered within PATIENCE_S, or fails; its client is the process's own."""
    import huggingface_hub

    session = huggingface_hub.get_session()
    before, session.timeout = session.timeout, PATIENCE_S
    try:
        yield
    finally:
        session.timeout = before


@contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    """What the hub's library raises, in our words."""
    from huggingface_hub import errors

    try:
        yield
    except errors.HfHubHTTPError as error:
        raise ExportError(_refusal(name, error.response.status_code, _said(error))) from None
    except ValueError as error:  # the front matter of the card, before any file is sent
        raise ExportError(
            f"hub:{name} does not take these files: {_said(error)}.\nNothing was sent. Report it with this message."
        ) from None
    except (errors.HTTPError, OSError, RuntimeError) as error:  # type: ignore[attr-defined]
        inner: BaseException = error
        while inner.__cause__ is not None:
            if isinstance(inner.__cause__, errors.HfHubHTTPError):
                raise ExportError(
                    _refusal(name, inner.__cause__.response.status_code, _said(inner.__cause__))
                ) from None
            inner = inner.__cause__
        raise ExportError(
            f"The connection to the hub broke off ({_said(inner)}).\n"
            f"hub:{name} has no half of a commit: it is as it was, or new and empty, unless the last answer alone was "
            f"lost.\nLook at {MODEL.page}/{name}, then run the command again."
        ) from None


def _refusal(name: str, status: int, said: str) -> str:
    """The message for a status of the hub's."""
    page = f"{MODEL.page}/{name}"
    if status == 401:
        return (
            f"The hub does not know the token (401): {said}.\n"
            f"Make a new one at {MODEL.page}/settings/tokens, then log in: hf auth login. Nothing was committed."
        )
    if status == 403:
        return (
            f"The token may not write to hub:{name} (403): {said}.\n"
            f"Take one that may write, of somebody who belongs to {name.partition('/')[0]}. Nothing was committed."
        )
    if status == 404:
        return (
            f"hub:{name} cannot be found or made (404): {said}.\n"
            f"Check that {name.partition('/')[0]} is your name or that of your organisation. Nothing was committed."
        )
    if status == 429 or status >= 500:
        return (
            f"The hub fails at present ({status}): {said}.\n"
            f"hub:{name} has no half of a commit: it is as it was, or new and empty. Run the command again later."
        )
    return f"The hub refuses hub:{name} ({status}): {said}.\nNothing was committed. See {page}."


def _said(error: BaseException) -> str:
    """What an error says, in one line."""
    text = getattr(error, "server_message", None) or str(error) or type(error).__name__
    return brief(" ".join(str(text).split()), 160).rstrip(". ")


def _content(path: Path) -> bytes:
    with open_plain_file(path) as file:
        return file.read()
