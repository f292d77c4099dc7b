"""A server from its start to its end: the socket, the models, what it prints, and how it drains.

On SIGTERM or Ctrl-C it still listens for a moment, answering 503, so that who watches /readyz goes elsewhere; it ends
when nothing is inside, or after ten seconds.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from ...core.errors import counted, printable
from ...core.processors import available_cpus
from ...ship.engine import ServedModel
from ..guard import host_text, rules_for
from ..listening import find_token, from_others, listen, listening_socket, opened_host, shown_token
from ..protocol import configured
from ..workers import Workers
from .app import build_app
from .opening import open_models
from .options import ServeOptions
from .service import Service

QUEUE_A_THREAD = 8
LINGER_S = 1.0  # how long a server that drains still listens
DRAIN_S = 9.0  # how long it waits for what is inside


def serve(
    given: Sequence[Path], options: ServeOptions, tell: Callable[[str], None], note: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or Ctrl-C, which are raised again at the end. `tell` gets the lines on where it listens and
    what it serves, `note` what is done before. Raises SaccadeError."""
    num_threads = options.threads or available_cpus()
    token = find_token(options.host)
    with listening_socket(options.host, options.port) as listener:
        models = open_models(given, options.together, num_threads, note)
        workers = Workers(num_threads, options.queue or QUEUE_A_THREAD * num_threads, options.deadline_s)
        service = Service(models=models, workers=workers, limits=options.limits)
        port = listener.getsockname()[1]
        app = build_app(service, rules_for(options.host, port, token, options.allowed_hosts))
        listen(listener, options.host)
        for line in opening_lines(models, options.host, port, token, workers):
            tell(line)
        try:
            DrainingServer(configured(app), workers).run([listener])
        finally:
            workers.close()


class DrainingServer(uvicorn.Server):  # type: ignore[misc]  # an extra, whose types are not read
    """uvicorn's, which closes its socket at the first signal; this one drains before."""

    def __init__(self, config: uvicorn.Config, workers: Workers) -> None:
        super().__init__(config)
        self._workers = workers
        self._asked_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins to drain, the second ends it at once."""
        self._captured_signals.append(sig)
        if self._asked_s is not None:
            self.should_exit = self.force_exit = True
            return
        self._asked_s = time.monotonic()
        self._workers.is_draining = True

    async def on_tick(self, counter: int) -> bool:
        """Whether to end; asked ten times a second."""
        if self._asked_s is not None:
            drained_s = time.monotonic() - self._asked_s
            is_empty = not self.server_state.tasks and drained_s >= LINGER_S
            self.should_exit = self.should_exit or is_empty or drained_s >= DRAIN_S
        ends: bool = await super().on_tick(counter)
        return ends


def opening_lines(models: dict[str, ServedModel], host: str, port: int, token: str, workers: Workers) -> list[str]:
    """Where it listens and what it serves in the first line, then how to ask."""
    root = f"http://{host_text(opened_host(host))}:{port}"
    served = "; ".join(
        f"{name} ({len(model.classes):,} classes"
        f"{'' if len(model.networks) == 1 else f', {len(model.networks)} networks'})"
        for name, model in models.items()
    )
    named = "" if len(models) == 1 else f"?model={next(iter(models))}"
    shown = shown_token(token)
    authorization = f' -H "Authorization: Bearer {shown}"' if token else ""
    return [
        f"Serving {printable(served)} at {root}",
        f"Try it: {root}/{f'?token={shown}' if token else ''}",
        *from_others(host, port, shown if token else ""),
        f"Ask it: curl{authorization} -F image=@photo.jpg '{root}/api/v1/predict{named}'",
        f"{counted(workers.num_threads, 'thread')}, at most {workers.limit} requests inside, each waits up to "
        f"{workers.deadline_s:g} s. Ctrl-C ends it.",
    ]
