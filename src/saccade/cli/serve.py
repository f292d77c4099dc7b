"""`saccade serve RUN-OR-EXPORT...`: answer over HTTP, without torch in the process."""

from pathlib import Path

import typer

from .live_line import say
from .output import print_opening, print_result


def serve(
    given: list[Path] = typer.Argument(
        metavar="RUN-OR-EXPORT...",
        help="Runs, or folders that 'saccade export' has written; each is a model by its name.",
    ),
    host: str = typer.Option(
        "127.0.0.1", "--host", metavar="ADDRESS", help="Where to listen; other than this machine needs a token."
    ),
    port: int = typer.Option(8000, "--port", min=0, max=65535, metavar="N", help="Port; 0 takes a free one."),
    threads: int = typer.Option(
        0, "--threads", min=0, max=1024, metavar="N", help="Images at a time; default: as many as processors are ours."
    ),
    queue: int = typer.Option(
        0, "--queue", min=0, max=100_000, metavar="N", help="Requests inside at most; default: 8 for each thread."
    ),
    deadline: float = typer.Option(
        2.0, "--deadline", min=0.001, max=3600, metavar="SECONDS", help="How long a request may wait for a thread."
    ),
    together: bool = typer.Option(False, "--together", help="Let all of them answer as one model: the mean."),
    allow_host: list[str] = typer.Option(
        [], "--allow-host", metavar="NAME", help="A name that requests may call this server by; may be repeated."
    ),
) -> None:
    """Answer images over HTTP as 'saccade predict' does: POST them to /api/v1/predict, or try the page at /.

    A run is exported to OpenVINO inside its own folder first, and the export is kept. The first line says where the
    server listens. SIGTERM and Ctrl-C let it finish what is inside.
    """
    from ..web.serve.options import ServeOptions, require_packages

    require_packages()
    from ..web.serve.server import serve as serve_models

    options = ServeOptions(
        host=host,
        port=port,
        threads=threads,
        queue=queue,
        deadline_s=deadline,
        together=together,
        allowed_hosts=tuple(allow_host),
    )
    serve_models(given, options, _print_opened, print_opening)


def _print_opened(line: str) -> None:
    """The models are open, so nothing is waited for any more."""
    say("")
    print_result(line)
