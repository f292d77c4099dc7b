"""What the processes of one run settle before they train: the same images, one folder that all of them see, one job.

A **job** is what one torchrun, or one `--processes`, started. Processes that it starts again go on with the run that
it has begun, and with no other.
"""

import json
import os
import secrets
import socket
import time
from pathlib import Path

import torch

from ..core import atomic
from ..core.agreement import agree, from_first
from ..core.documents import DocumentError, parse_object
from ..core.errors import CheckpointError, UsageError, printable
from ..core.process_facts import began_at
from ..core.ranks import Ranks
from ..core.runtime import Runtime
from ..runs.files import read_run_file
from ..runs.names import CONFIG, ENSEMBLE_PLAN, ENVIRONMENT, FOLDS, FOLDS_PLAN

AGENTS = "agents"  # in environment.json: what started the processes, on each machine
SEEN_AFTER_S = 10.0  # a file of another machine may take so long to be seen
RESTARTS = "TORCHELASTIC_RESTART_COUNT"


def unlike_processors(runtime: Runtime) -> str:
    """What qualifies a run whose processes compute on processors of several kinds; empty where they are alike."""
    own = f"{runtime.describe()}, {torch.backends.cpu.get_cpu_capability()}"
    kinds = {content.decode() for content in runtime.ranks.gather(own.encode(), patiently=True)}
    if len(kinds) == 1:
        return ""
    return (
        f"the processes compute in different ways ({'; '.join(sorted(printable(kind) for kind in kinds))}): "
        f"the bits of the result depend on how many there are"
    )


def refuse_own_folders(ranks: Ranks, folder: Path) -> None:
    """Raise UsageError where processes of another machine do not see the run's folder: the first process may be
    started there the next time."""
    if ranks.world_size == ranks.local_world_size:
        return
    nonce = secrets.token_hex(8)
    mark = folder / f"seen-{nonce}{atomic.TEMPORARY_SUFFIX}"

    def write() -> bytes:
        atomic.write_text(mark, nonce)
        return f"{mark.resolve()}\n{socket.gethostname()}".encode()

    path, host = from_first(ranks, write).decode().rsplit("\n", 1)
    error = None
    if not _appears(Path(path)):
        error = UsageError(
            f"This machine does not see the run directory {printable(str(Path(path).parent))} of process 0 (host "
            f"{printable(host)}).\n"
            f"Processes of several machines need one --out that all of them share, such as a folder on a network file "
            f"system."
        )
    try:
        agree(ranks, error, patiently=True)
    finally:
        if ranks.is_first:
            mark.unlink(missing_ok=True)


def _appears(path: Path) -> bool:
    """Whether the file is there, or soon is."""
    end_s = time.monotonic() + SEEN_AFTER_S
    while not path.is_file():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.2)
    return True


def described_job(ranks: Ranks) -> dict[str, object]:
    """What `environment.json` says of the processes of a run that begins; nothing of a run of one."""
    return {} if ranks.is_alone else {"processes": ranks.world_size, AGENTS: job_of(ranks)}


def write_job(folder: Path, job: dict[str, object]) -> None:
    """Say in `folder`, of several runs that begin, what a run says in its `environment.json`; nothing where `job` is
    empty."""
    if job:
        atomic.write_text(folder / ENVIRONMENT, json.dumps(job, indent=1) + "\n")


def job_of(ranks: Ranks) -> list[str]:
    """What started the processes: the agents of all machines, each by host, process and when that began."""
    if ranks.is_alone:
        return []
    return sorted({content.decode() for content in ranks.gather(_agent().encode(), patiently=True)})


def _agent() -> str:
    parent = os.getppid()
    return f"{socket.gethostname()} {parent} {began_at(parent)}"


def begun_before(ranks: Ranks, runs: Path, out: Path | None) -> Path | None:
    """The run that this job has begun in an earlier start of its processes: in `out`, else among `runs`; None where
    this is the first start, or none was begun."""
    if ranks.is_alone or os.environ.get(RESTARTS, "0") == "0":
        return None
    agents = set(job_of(ranks))

    def find() -> bytes:
        places = (
            [out] if out is not None else sorted(runs.glob("*/"), key=lambda path: path.stat().st_mtime, reverse=True)
        )
        found = (place for place in places if agents & _agents_of(place))
        return str(next(found, "")).encode("utf-8", "surrogateescape")

    found = from_first(ranks, find).decode("utf-8", "surrogateescape")
    return Path(found) if found else None


def _agents_of(run: Path) -> set[str]:
    """The job that began `run`; empty where none did, or it has not begun."""
    plans = (run / FOLDS / FOLDS_PLAN, run / ENSEMBLE_PLAN, run / CONFIG)
    begun = next((plan.parent for plan in plans if plan.is_file()), None)
    try:
        content = read_run_file(begun / ENVIRONMENT) if begun else None
        values = parse_object(content) if content else {}
    except (CheckpointError, DocumentError):  # another run's, which this job did not begin
        return set()
    agents = values.get(AGENTS)
    return {str(agent) for agent in agents} if isinstance(agents, list) else set()
