"""`saccade studio [DIR]`: pages on this machine that show the runs in a folder."""

from pathlib import Path

import typer

from .output import print_result


def studio(
    folder: Path = typer.Argument(Path("runs"), metavar="[DIR]", help="The folder that the runs are in."),
    host: str = typer.Option(
        "127.0.0.1", "--host", metavar="ADDRESS", help="Where to listen; other than this machine needs a token."
    ),
    port: int | None = typer.Option(
        None, "--port", min=0, max=65535, metavar="N", help="Port; default: 8790 or the next free one. 0: any."
    ),
    allow_host: list[str] = typer.Option(
        [], "--allow-host", metavar="NAME", help="A name that requests may call this server by; may be repeated."
    ),
    browser: bool = typer.Option(True, "--browser/--no-browser", help="Open a browser where there is a screen."),
) -> None:
    """Watch, judge and compare the runs in a folder in a browser.

    It shows what lies under DIR, trainings that run now included, and never needs the network. The first line says
    where it listens. Ctrl-C ends it; trainings go on.
    """
    from ..web.studio.options import StudioOptions, check_folder, require_packages

    require_packages()
    check_folder(folder)
    from ..web.studio.server import run_studio

    options = StudioOptions(host=host, port=port, allowed_hosts=tuple(allow_host))
    run_studio(folder, options, browser, print_result)
