"""`saccade studio`: what it says when it starts, and where it does not."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

for package in ("starlette", "uvicorn", "httptools", "jinja2", "python_multipart"):
    pytest.importorskip(package, reason="the extra 'studio' is not installed")

from saccade import api  # noqa: E402
from saccade.core.errors import UsageError  # noqa: E402
from saccade.web.studio import options, server  # noqa: E402
from saccade.web.studio.options import StudioOptions  # noqa: E402

TOKEN = "a-token-of-some-length"


def test_a_folder_that_is_none_is_refused_in_words(saccade: Callable, tmp_path: Path):
    finished = saccade("studio", tmp_path / "absent")
    assert (finished.status, finished.output) == (2, "")
    assert " ".join(finished.errors.split()) == (
        f"error: {tmp_path}/absent is not a folder. Name the folder that your runs are in, such as: saccade studio runs"
    )


def test_the_folder_that_runs_go_to_may_not_be_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    options.check_folder(Path("runs"))
    with pytest.raises(UsageError):
        options.check_folder(Path("run"))


def test_a_port_that_was_asked_for_and_is_in_use_is_told_and_unasked_the_next_is_taken(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Exception, match=f"^Port {port} is in use by process "):
            api.studio(tmp_path, port=port)
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", options.PORT))
        except OSError:
            pass  # somebody else has it already
        taken.listen()
        with server._listener(StudioOptions()) as found:
            assert found.getsockname()[1] > options.PORT


def test_the_first_lines_say_where_it_listens_and_how_to_reach_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.delenv("SACCADE_TOKEN", raising=False)
    last = "Ctrl-C ends it; trainings go on."
    assert server.opening_lines(Path("runs"), StudioOptions(), 8790, "") == [
        "Serving the studio of runs at http://127.0.0.1:8790",
        last,
    ]
    assert server.opening_lines(Path("runs"), StudioOptions(), 8791, "")[1:] == [
        "Port 8790 is in use; this is the next one that is free.",
        last,
    ]
    monkeypatch.setattr(server, "from_others", lambda host, port, token: [f"{host} {port} {token}"])
    assert server.opening_lines(Path("runs"), StudioOptions(host="0.0.0.0", port=9000), 9000, TOKEN)[1:] == [
        f"Open it: http://127.0.0.1:9000/?token={TOKEN}",
        f"0.0.0.0 9000 {TOKEN}",
        last,
    ]
    monkeypatch.undo()
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.setenv("SACCADE_TOKEN", TOKEN)
    assert TOKEN not in "\n".join(server.opening_lines(Path("runs"), StudioOptions(host="0.0.0.0"), 8790, TOKEN))
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")
    monkeypatch.setattr(socket, "gethostname", lambda: "station")
    assert server.opening_lines(Path("runs"), StudioOptions(), 8790, "")[1] == (
        "From your own machine: ssh -N -L 8790:127.0.0.1:8790 station, then open http://127.0.0.1:8790"
    )


def test_no_browser_is_opened_over_ssh_or_without_a_screen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not server.has_display()
    monkeypatch.setenv("DISPLAY", ":0")
    assert server.has_display()
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")
    assert not server.has_display()


def test_without_its_packages_the_command_says_how_to_get_them(saccade: Callable, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(options, "PACKAGES", ("no_such_package",))
    finished = saccade("studio")
    assert finished.status == 2
    assert " ".join(finished.errors.split()) == (
        "error: The studio needs starlette, uvicorn, httptools, jinja2 and python-multipart, of which "
        "'no-such-package' is not installed. Install them: pip install 'saccade-learn[studio]'."
    )
