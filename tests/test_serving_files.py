"""The files of examples/serving are valid, and fit the program that they start."""

import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from saccade.cli.main import app

REPOSITORY = Path(__file__).parent.parent
SERVING = REPOSITORY / "examples" / "serving"
SERVED = """
import sys

class Without:
    '''What is installed here and not in the image.'''
    def find_spec(self, name, path=None, target=None):
        if name in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Without())
from saccade.cli.main import app
from saccade.web.serve.options import require_packages
require_packages()
from saccade.web.serve.server import serve
import openvino, uvloop
openvino.Core()
"""


def read(name: str) -> str:
    return (SERVING / name).read_text(encoding="utf-8")


def containers() -> list[dict[str, Any]]:
    """Every container of the Kubernetes and KServe files that runs our server."""
    deployment, _ = yaml.safe_load_all(read("kubernetes.yaml"))
    service = yaml.safe_load(read("kserve.yaml"))
    pods = [deployment["spec"]["template"]["spec"], service["spec"]["predictor"]]
    return [container for pod in pods for container in pod["containers"]]


def instructions() -> list[tuple[str, str]]:
    """(instruction, what follows it) of the Dockerfile."""
    lines = [line for line in read("Dockerfile").replace("\\\n", " ").splitlines() if line and line[0] != "#"]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def test_every_option_that_the_files_give_is_one_of_saccade_serve():
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    compose = yaml.safe_load(read("compose.yaml"))
    given = [*compose["services"]["server"]["command"], *(text for each in containers() for text in each["args"])]
    given += re.findall(r'"(--?[a-z-]+)"', dict(instructions())["ENTRYPOINT"])
    options = {text for text in given if text.startswith("--")}
    assert options == {"--host", "--port", "--threads", "--allow-host"}
    assert options <= known


def test_the_image_runs_without_rights_and_holds_what_it_copies():
    found = instructions()
    assert [rest for word, rest in found if word == "USER"] == ["10001"]
    for word, rest in found:
        if word == "COPY":
            assert (SERVING / rest.split()[0]).is_file()
    words = [word for word, _ in found]
    assert words.index("USER") < words.index("ENTRYPOINT")
    compose = yaml.safe_load(read("compose.yaml"))["services"]["server"]
    assert (compose["read_only"], compose["cap_drop"]) == (True, ["ALL"])
    for container in containers():
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["readinessProbe"]["exec"]["command"] == ["python", "/usr/local/bin/ready.py"]
        assert {"name": "SACCADE_TOKEN", "valueFrom": {"secretKeyRef": {"name": "photos-token", "key": "token"}}} in (
            container["env"]
        )


def closure(names: set[str]) -> set[str]:
    """`names` of distributions with everything that they need, as it is installed here."""
    found: set[str] = set()
    waiting = {canonicalize_name(name) for name in names}
    while waiting:
        name = waiting.pop()
        found.add(name)
        try:
            needed = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:
            continue  # for another system
        kept = [each for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
        waiting |= {canonicalize_name(each.name) for each in kept} - found
    return found


def test_a_server_starts_with_the_requirements_of_the_image_alone(tmp_path: Path):
    pytest.importorskip("openvino", reason="the extra 'serve' is not installed")
    pytest.importorskip("python_multipart", reason="the extra 'serve' is not installed")
    lines = [line for line in read("requirements.txt").splitlines() if line and not line.startswith("#")]
    allowed = closure(set(lines)) | {"saccade-learn"}
    owners = {name: {canonicalize_name(owner) for owner in found} for name, found in packages_distributions().items()}
    absent = [name for name, found in owners.items() if not found & allowed]
    assert {"torch", "scipy", "sklearn", "altair"} <= set(absent)
    command = [sys.executable, "-c", SERVED]
    done = subprocess.run([*command, *absent], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lacking = subprocess.run([*command, *absent, "starlette"], cwd=tmp_path, capture_output=True, text=True)
    assert "'starlette' is not installed" in lacking.stderr


def test_the_balancer_reads_its_configuration(tmp_path: Path):
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("nginx is not installed")
    text = read("nginx.conf").replace("server server:8000", "server 127.0.0.1:8000")
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/nginx.pid;\nerror_log stderr;\n{text}")
    done = subprocess.run([nginx, "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("status", "token", "is_ready"), [(200, "sesame", True), (503, "sesame", False), (200, "", False)]
)
def test_the_probe_says_ready_only_where_the_server_does(status: int, token: str, is_ready: bool):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fits = self.path == "/readyz" and self.headers["Authorization"] == "Bearer sesame"
            self.send_response(status if fits else 401)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        environment = {**os.environ, "PORT": str(server.server_address[1]), "SACCADE_TOKEN": token}
        command = [sys.executable, "-S", SERVING / "ready.py"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        thread.join()
    assert (done.returncode == 0) is is_ready, done.stderr
    assert "Traceback" not in done.stderr


def test_triton_gets_the_folder_that_the_file_names():
    model = yaml.safe_load(read("kserve-triton.yaml"))["spec"]["predictor"]["model"]
    assert model["storageUri"].endswith("/export/triton")
    assert (model["modelFormat"]["name"], model["protocolVersion"]) == ("triton", "v2")
