"""Real servers on loopback: the answers of predict, no torch, kills, slow and hostile clients, damaged exports."""

import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import expit, softmax
from tests.processes import PATIENCE_S
from tests.ship.untrained import untrained_run

from saccade import api
from saccade.core.errors import ExportError, RunInUseError, SaccadeError, StorageError, UsageError
from saccade.core.lock import exclusive
from saccade.core.task import ONE_LABEL, Task
from saccade.core.types import Preprocessing
from saccade.ship.bundle import read_bundle, read_bundle_file

for package in ("onnx", "openvino", "starlette", "uvicorn", "httptools", "python_multipart"):
    pytest.importorskip(package, reason="the extras 'export' and 'serve' are not installed")

from saccade.runs.checkpoint import find_checkpoint, save_checkpoint  # noqa: E402
from saccade.ship import engine, export, kept  # noqa: E402
from saccade.ship.engine import join_networks, open_network  # noqa: E402
from saccade.ship.onnx_file import run_onnx  # noqa: E402
from saccade.ship.openvino_file import run_openvino  # noqa: E402
from saccade.web.port_holder import port_holder  # noqa: E402
from saccade.web.serve.opening import model_names, open_models  # noqa: E402
from saccade.web.serve.server import find_token, opening_lines  # noqa: E402


@pytest.fixture(scope="module")
def server(exported: Path) -> Iterator[api.RunningServer]:
    """One for all tests that do it no harm."""
    with api.serve(exported, threads=1, deadline_s=60) as running:
        yield running


def post(url: str, content: bytes, path: str = "/api/v1/predict", kind: str = "application/octet-stream"):
    """(status, JSON) of a request on a connection of its own."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
    try:
        connection.request("POST", path, content, {"Content-Type": kind})
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def get(url: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photos() -> dict[str, bytes]:
    """Photographs of every kind that others get wrong, larger than the input."""
    noise_HWC = np.random.default_rng(5).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    photo = Image.fromarray(noise_HWC).resize((240, 180), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    deep_HW = (np.asarray(photo.convert("L")).astype(np.uint16) * 257) ^ 0x5A
    clear = photo.copy()
    clear.putalpha(Image.linear_gradient("L").resize(photo.size))
    return {
        "exif.jpg": encoded(photo, "JPEG", exif=exif, quality=90),
        "cmyk.jpg": encoded(photo.convert("CMYK"), "JPEG", quality=90),
        "deep.png": encoded(Image.fromarray(deep_HW), "PNG"),
        "grey.png": encoded(photo.convert("L"), "PNG"),
        "palette.png": encoded(photo.quantize(16), "PNG"),
        "clear.png": encoded(clear, "PNG"),
        "photo.webp": encoded(photo, "WEBP", lossless=True),
    }


def probabilities(answer: dict, classes: tuple[str, ...]) -> list[float]:
    found = {entry["class"]: entry["probability"] for entry in answer["top"]}
    return [found[name] for name in classes]


def test_one_image_has_the_same_answer_by_predict_onnx_openvino_and_http(
    run: Path, exported: Path, server: api.RunningServer, tmp_path: Path
):
    bundle = read_bundle(exported)
    model = join_networks("run", [open_network(exported, 1)])
    files = {name: read_bundle_file(exported, bundle, name) for name in ("model.onnx", "model.xml", "model.bin")}
    for name, content in photos().items():
        (tmp_path / name).write_bytes(content)
        (prediction,) = api.predict(run, tmp_path / name)
        prepared_1HWC = model.see(content).prepared[bundle.preprocessing]
        status, answer = post(server.url, content, "/api/v1/predict?top=10")
        assert status == 200
        for found in (
            run_onnx(files["model.onnx"], prepared_1HWC)[1][0],
            run_openvino(files, prepared_1HWC)[1][0],
            probabilities(answer, bundle.classes),
        ):
            np.testing.assert_allclose(found, prediction.probabilities, atol=1e-6, err_msg=name)
        assert answer["rotated"] == (name == "exif.jpg")


def test_the_answer_says_which_model_gave_it_and_the_server_what_it_serves(
    run: Path, exported: Path, server: api.RunningServer
):
    bundle = read_bundle(exported)
    status, answer = post(server.url, photos()["grey.png"])
    (model,) = json.loads(get(server.url, "/api/v1/models")[1])["models"]
    assert (status, answer["model"], answer["digest"]) == (200, run.name, model["digest"])
    assert (model["classes"], model["metrics"]["top1"]) == (list(bundle.classes), bundle.metrics["top1"])
    assert model["preprocessing"] == bundle.preprocessing.model_dump(mode="json")
    assert json.loads(get(server.url, f"/api/v1/models/{run.name}")[1]) == model
    assert get(server.url, "/healthz")[0] == get(server.url, "/readyz")[0] == 200


def test_torch_is_not_in_the_process_of_a_server(exported: Path):
    program = (
        "import sys; sys.argv = ['saccade', 'serve', sys.argv[1], '--port', '0', '--threads', '1']\n"
        "import os, signal, uvicorn\n"
        "from saccade.cli.main import main\n"
        "def run(self, sockets=None):\n"
        "    heavy = [name for name in ('torch', 'sklearn', 'scipy', 'onnx', 'onnxruntime') if name in sys.modules]\n"
        "    print('imported:', heavy, 'openvino' in sys.modules)\n"
        "uvicorn.Server.run = run\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program, exported], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported: [] True"


def test_the_first_line_says_where_it_listens_and_what_it_serves(run: Path, exported: Path):
    command = [sys.executable, "-m", "saccade", "serve", exported, "--port", "0", "--threads", "1", "--queue", "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        first = process.stdout.readline()
        found = re.fullmatch(rf"Serving {run.name} \(10 classes\) at (http://127\.0\.0\.1:([0-9]+))\n", first)
        assert found, first
        assert get(found[1], "/")[0] == 200
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        rest, errors = process.stdout.read(), process.stderr.read()  # `communicate` loses what was read ahead of a line
    assert rest.splitlines() == [
        f"Try it: {found[1]}/",
        f"Ask it: curl -F image=@photo.jpg '{found[1]}/api/v1/predict'",
        "1 thread, at most 5 requests inside, each waits up to 2 s. Ctrl-C ends it.",
    ]
    assert (process.returncode, errors) == (-signal.SIGTERM, "")


def test_hostile_bodies_are_answered_and_the_server_goes_on(server: api.RunningServer):
    good = photos()["grey.png"]
    huge = encoded(Image.new("L", (10_000, 6_000)), "PNG")  # 60 megapixels
    parts = b'--cut\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 100_000 + b"--cut--\r\n"
    for status, code, content, kind in [
        (413, "too_large", bytes(11_000_000), "image/jpeg"),
        (422, "bad_image", huge, "image/png"),
        (422, "bad_image", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png"),
        (415, "media_type", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (400, "malformed", parts, "multipart/form-data; boundary=cut"),
    ]:
        found, answer = post(server.url, content, kind=kind)
        assert (found, answer["error"]["code"]) == (status, code)
    assert post(server.url, good)[0] == 200


def raw_reply(url: str, content: bytes) -> bytes:
    """What comes back, until the server closes."""
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), PATIENCE_S) as connection:
        connection.sendall(content)
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


def test_requests_that_are_no_http_of_ours_are_refused(server: api.RunningServer):
    host = b"Host: " + urlsplit(server.url).netloc.encode() + b"\r\n"
    for request in [
        b"GET http://evil.com/ HTTP/1.1\r\n" + host + b"\r\n",
        b"OPTIONS * HTTP/1.1\r\n" + host + b"\r\n",
        b"POST /api/v1/predict HTTP/1.1\r\n" + host + b"Content-Length: -5\r\n\r\n",
        b"POST /api/v1/predict HTTP/1.1\r\n" + host + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"POST /api/v1/predict HTTP/1.1\r\n" + host + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + host + b"X: " + b"y" * 40_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.0\r\n" + host + b"Connection: close\r\nHost: evil.com\r\n\r\n",
    ]:
        reply = raw_reply(server.url, request)
        assert re.match(rb"HTTP/1.1 40[03] ", reply), (request[:60], reply[:200])
        assert b"Traceback" not in reply


def test_aborted_clients_and_slow_senders_keep_nobody_waiting(server: api.RunningServer):
    good, place = photos()["grey.png"], (urlsplit(server.url).hostname, urlsplit(server.url).port)
    head = f"POST /api/v1/predict HTTP/1.1\r\nHost: {place[0]}:{place[1]}\r\nContent-Type: image/png\r\n"
    whole = head.encode() + f"Content-Length: {len(good)}\r\n\r\n".encode() + good
    slow = [socket.create_connection(place) for _ in range(100)]
    for number, connection in enumerate(slow):
        connection.sendall(whole[: 1 + number * (len(whole) - 2) // len(slow)])
    for number in range(60):
        with socket.create_connection(place) as connection:
            connection.sendall(whole[: len(whole) - number % 2])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closed by a reset
    assert [post(server.url, good)[0] for _ in range(5)] == [200] * 5
    for connection in slow:
        connection.close()
    while "saccade_inside 0\n" not in get(server.url, "/metrics")[1]:
        time.sleep(0.01)


def test_sigterm_under_load_loses_nothing(exported: Path):
    good = photos()["grey.png"]
    for _ in range(2):
        statuses: list[object] = []
        with api.serve(exported, threads=1, deadline_s=60) as running:
            asking = threading.Barrier(5)

            def ask_on(running=running, statuses=statuses, asking=asking) -> None:
                """Ask until told to go elsewhere."""
                asking.wait()
                while True:
                    try:
                        status: object = post(running.url, good)[0]
                    except ConnectionRefusedError:  # nobody listens any more, which loses nothing
                        status = "refused"
                    statuses.append(status)
                    if status != 200:
                        return

            with ThreadPoolExecutor(4) as pool:
                clients = [pool.submit(ask_on) for _ in range(4)]
                asking.wait()
                while len(statuses) < 20:
                    time.sleep(0.001)
                os.kill(running.pid, signal.SIGTERM)
                for client in clients:
                    client.result(PATIENCE_S)
            assert running._process.wait(PATIENCE_S) == -signal.SIGTERM
        assert statuses.count(503) + statuses.count("refused") == 4
        assert set(statuses) <= {200, 503, "refused"}


def test_a_run_is_exported_once_and_kept_by_its_weights(
    run: Path, exported: Path, server: api.RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copy = shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("export", "served"))
    good = photos()["grey.png"]
    with api.serve(copy, threads=1) as running:
        answer = post(running.url, good)[1]
    assert (answer["model"], answer["top"]) == ("copy", post(server.url, good)[1]["top"])
    (folder,) = (copy / "served").glob("[0-9a-f]*")
    assert folder.name == read_bundle(exported).provenance["weights_sha256"][:16]
    made = []
    monkeypatch.setattr(export, "export_run", lambda *given, half: made.append(given))
    assert kept.kept_exports(copy) == [folder]
    assert made == []
    (folder / "model.bin").write_bytes(b"")
    assert kept.kept_exports(copy) == [folder]
    assert made == [(copy, ["openvino"], folder)]


def test_servers_of_one_run_that_start_together_wait_for_one_export(
    run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copy = shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("export", "served"))
    made, begun = [], threading.Event()

    def export_slowly(run: Path, formats: list[str], out: Path, half: bool) -> None:
        begun.set()
        time.sleep(1)  # longer than a lock is tried for
        made.append(shutil.copytree(exported, out))

    monkeypatch.setattr(export, "export_run", export_slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kept.kept_exports, copy)
        assert begun.wait(PATIENCE_S)
        second = pool.submit(kept.kept_exports, copy)
        assert first.result(PATIENCE_S) == second.result(PATIENCE_S) == made
    monkeypatch.setattr(kept, "PATIENCE_S", 0)
    made[0].joinpath("model.bin").write_bytes(b"")
    with exclusive(copy / "served"), pytest.raises(RunInUseError):
        kept.kept_exports(copy)


def test_a_run_that_cannot_be_written_says_where_its_export_may_lie(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copy = shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("export", "served"))
    (copy / "served").write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        kept.kept_exports(copy)
    assert caught.value.message == (
        f"Cannot write {copy}/served: a file stands where a folder is needed.\nThe export that is served lies in the "
        f"run. Make it elsewhere, and serve that: saccade export {copy} --format openvino --out DIR"
    )


def test_the_members_of_an_ensemble_are_exported_each(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "ensemble.toml").write_text("num_members = 2\n")
    members = [tmp_path / "both" / f"member-{number}" for number in (1, 2)]
    for member in members:
        shutil.copytree(run, member, ignore=shutil.ignore_patterns("export", "served"))
    made = []
    monkeypatch.setattr(export, "export_run", lambda folder, formats, out, half: made.append(folder))
    folders = kept.kept_exports(tmp_path / "both")
    assert made == members
    assert [folder.parent for folder in folders] == [member / "served" for member in members]


@pytest.fixture(scope="module")
def other(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a run of the same classes in another order, whose last layer says something else."""
    checkpoint = find_checkpoint(run)
    manifest, state = checkpoint.manifest, checkpoint.load_model().state_dict()
    folder = tmp_path_factory.mktemp("other") / "run"
    last = list(state)[-1]
    state[last] += torch.linspace(0, 1, len(manifest.classes))
    turned = manifest.model_copy(update={"classes": tuple(reversed(manifest.classes))})
    save_checkpoint(folder, turned, state)
    return folder


def test_several_answer_by_name_or_together_as_predict_does(run: Path, exported: Path, other: Path, tmp_path: Path):
    exports = [exported, api.export(other, tmp_path / "other", formats=["onnx"]).folder]
    content = photos()["palette.png"]
    (tmp_path / "photo.png").write_bytes(content)
    with api.serve(exports, threads=1) as running:
        status, refused = post(running.url, content)
        assert (status, refused["error"]["hint"]) == (422, f"Name one of: {run.name}, other.")
        for name, one in ((run.name, run), ("other", other)):
            (prediction,) = api.predict(one, tmp_path / "photo.png")
            answer = post(running.url, content, f"/api/v1/predict?top=10&model={name}")[1]
            found = probabilities(answer, prediction.classes)
            np.testing.assert_allclose(found, prediction.probabilities, atol=1e-6)
    (both,) = api.predict([run, other], tmp_path / "photo.png")
    with api.serve(exports, threads=1, together=True) as running:
        answer = post(running.url, content, "/api/v1/predict?top=10")[1]
    assert answer["model"] == "together"
    np.testing.assert_allclose(probabilities(answer, both.classes), both.probabilities, atol=1e-6)


def test_what_cannot_be_served_is_refused_at_the_start(exported: Path, tmp_path: Path, saccade):
    damaged = shutil.copytree(exported, tmp_path / "damaged")
    content = bytearray((damaged / "model.bin").read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / "model.bin").write_bytes(content)
    (tmp_path / "empty").mkdir()
    for status, arguments, message in [
        (
            1,
            [damaged],
            f"{damaged / 'model.bin'} is damaged: its content is not what was exported.\nExport the run again.",
        ),
        (
            2,
            [tmp_path / "no"],
            f"{tmp_path / 'no'} is not a folder.\nName a run, or an export that 'saccade export' has written.",
        ),
        (1, [tmp_path / "empty"], f"The run {tmp_path / 'empty'} holds no checkpoint.\n"),
        (
            2,
            [exported, "--together"],
            "--together is for several runs or exports, and one was given.\nLeave it out, or add another.",
        ),
        (2, [exported, exported], f"{exported} is named twice.\nName each run or export once."),
        (
            2,
            [exported, "--host", "no.such.host.invalid"],
            "--host: 'no.such.host.invalid' is not an address of a network.\nLeave it out to serve this machine alone.",
        ),
    ]:
        done = saccade("serve", *arguments, "--port", "0", "--threads", "1")
        assert (done.status, done.output) == (status, "")
        assert f"error: {message}" in done.errors


def test_a_start_that_fails_from_python_raises_what_it_says(tmp_path: Path):
    with pytest.raises(UsageError) as caught:
        api.serve(tmp_path / "no")
    assert caught.value.message == (
        f"{tmp_path / 'no'} is not a folder.\nName a run, or an export that 'saccade export' has written."
    )


def changed(exported: Path, folder: Path, **values: object) -> Path:
    copy = shutil.copytree(exported, folder)
    bundle = json.loads((copy / "saccade.json").read_text())
    (copy / "saccade.json").write_text(json.dumps(bundle | {"sha256": ""} | values))
    return copy


def test_an_export_that_answers_otherwise_here_than_its_run_did_is_not_served(exported: Path, tmp_path: Path):
    check = json.loads((exported / "saccade.json").read_text())["check"]
    check[1]["probabilities"][3] += 0.01
    folder = changed(exported, tmp_path / "other", check=check)
    with pytest.raises(SaccadeError) as caught:
        open_network(folder, 1)
    assert caught.value.message == (
        f"{folder} answers otherwise here than its run did: probabilities of check/image-2.png differ by 0.01; "
        f"allowed are 0.0001.\nIt is not served. Export the run again on this machine."
    )


def test_a_graph_that_its_description_does_not_fit_is_not_served(exported: Path, tmp_path: Path):
    preprocessing = json.loads((exported / "saccade.json").read_text())["preprocessing"] | {"input_width_px": 16}
    with pytest.raises(SaccadeError, match="is damaged: its graph takes"):
        open_network(changed(exported, tmp_path / "narrow", preprocessing=preprocessing), 1)
    check = [{**_check(exported), "file": "check/none.png"}] * 3
    with pytest.raises(SaccadeError, match="is damaged: its check images do not fit its classes"):
        open_network(changed(exported, tmp_path / "none", check=check), 1)
    empty = changed(exported, tmp_path / "empty", files={})
    with pytest.raises(SaccadeError, match=r"is damaged: it has no model\.xml\."):
        open_network(empty, 1)


@pytest.mark.parametrize(
    "task",
    [ONE_LABEL, Task(kind="several labels", thresholds=(0.5,) * 4, thresholds_for="f1")],
    ids=lambda task: task.kind,
)
def test_a_run_whose_logits_nothing_divides_is_served(tmp_path: Path, task: Task):
    """Times 1 and plus 0 leave the graph when it is compiled, and the names of their outputs go to the logits."""
    run = untrained_run(tmp_path / "run", "lenet5", Preprocessing(), temperature=1.0, task=task)
    network = open_network(api.export(run, formats=["openvino"]).folder, 1)
    image_1HWC = np.full((1, 32, 32, 3), 7, np.uint8)
    logits_1K, probability_1K, _ = network.answer(image_1HWC)
    expected_K = expit(logits_1K[0]) if task.is_several else softmax(logits_1K[0])
    np.testing.assert_allclose(probability_1K[0], expected_K, atol=1e-6)


def test_a_network_that_does_not_fit_into_the_memory_is_refused(exported: Path, monkeypatch: pytest.MonkeyPatch):
    largest = max(record.num_bytes for record in read_bundle(exported).files.values())
    monkeypatch.setattr(engine, "free_memory_bytes", lambda: 2 * largest - 1)
    with pytest.raises(SaccadeError) as caught:
        open_network(exported, 1)
    assert caught.value.message == (
        f"{exported} takes about 0.0 GB of memory to open, and 0.0 GB are free.\n"
        f"Serve it on a machine with more memory, or fewer models at once."
    )


def _check(exported: Path) -> dict:
    return json.loads((exported / "saccade.json").read_text())["check"][0]


def test_a_port_in_use_is_named_with_its_holder(exported: Path, saccade):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        done = saccade("serve", exported, "--port", port)
    by = f" by process {os.getpid()} ({Path('/proc/self/comm').read_text().strip()})" if sys.platform == "linux" else ""
    assert (done.status, done.output) == (1, "")
    assert done.errors == (
        f"error: Port {port} is in use{by}.\nChoose another with --port, or let --port 0 take a free one.\n"
    )
    assert port_holder(port) == ""


def test_a_missing_package_is_named_with_its_command(exported: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "starlette", None)
    with pytest.raises(ExportError) as caught:
        api.serve(exported)
    assert caught.value.message == (
        "A server needs openvino, starlette, uvicorn, httptools and python-multipart, of which 'starlette' is not "
        "installed.\nInstall them: pip install 'saccade-learn[serve]'."
    )


def test_what_exports_a_run_is_named_before_anything_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = tmp_path / "run"
    run.mkdir()
    monkeypatch.setattr(subprocess, "run", None)
    for name, message in (
        (
            "onnxscript",
            "Export to ONNX needs onnx, onnxscript and onnxruntime, of which 'onnxscript' is not installed.\n"
            "Install them: pip install 'saccade-learn[export]'.",
        ),
        (
            "torch",
            "A run is exported before it is served, which needs torch, and that is not installed here.\n"
            "Export it where it was trained: saccade export RUN --format openvino. Then serve the folder that this "
            "writes.",
        ),
    ):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, name, None)
            with pytest.raises(ExportError) as caught:
                open_models([run], False, 1, print)
        assert caught.value.message == message


def test_a_token_of_the_environment_is_not_printed_and_a_made_one_is(monkeypatch: pytest.MonkeyPatch):
    models: Any = {"mine": SimpleNamespace(classes=("a", "b"), networks=(None,))}
    workers: Any = SimpleNamespace(num_threads=2, limit=16, deadline_s=2.0)

    def said() -> list[str]:
        lines = opening_lines(models, "0.0.0.0", 8000, "a-token-of-some-length", workers)
        return [line for line in lines if line.startswith(("Try it", "Ask it"))]

    def expected(token: str) -> list[str]:
        return [
            f"Try it: http://127.0.0.1:8000/?token={token}",
            f'Ask it: curl -H "Authorization: Bearer {token}" '
            "-F image=@photo.jpg 'http://127.0.0.1:8000/api/v1/predict'",
        ]

    monkeypatch.delenv("SACCADE_TOKEN", raising=False)
    assert said() == expected("a-token-of-some-length")
    monkeypatch.setenv("SACCADE_TOKEN", "a-token-of-some-length")
    assert said() == expected("$SACCADE_TOKEN")


def test_where_others_can_ask_a_token_is_needed_and_is_in_the_address(exported: Path):
    good = photos()["grey.png"]
    with api.serve(exported, host="0.0.0.0", threads=1) as running:
        url = running.url
        assert urlsplit(url).hostname == "127.0.0.1", "an address that can be opened"
        assert post(url, good)[0] == 401
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
        headers = {"Content-Type": "image/png", "Authorization": f"Bearer {running.token}"}
        connection.request("POST", "/api/v1/predict", good, headers)
        assert connection.getresponse().status == 200
        connection.close()


@pytest.mark.parametrize("token", ["short", "a token with blanks in it", "ein-schlüssel-mit-umlaut"])
def test_a_weak_token_is_refused(monkeypatch: pytest.MonkeyPatch, token: str):
    monkeypatch.setenv("SACCADE_TOKEN", token)
    with pytest.raises(UsageError) as caught:
        find_token("127.0.0.1")
    assert caught.value.message == (
        "SACCADE_TOKEN has to have 16 plain characters or more, without blanks.\n"
        "Make one: python -c 'import secrets; print(secrets.token_urlsafe(24))'"
    )


def test_models_are_named_by_their_folders_as_far_as_it_takes():
    names = model_names([Path("/a/photos/export"), Path("/b/photos"), Path("/b/birds & bees")])
    assert names == ["a-photos", "b-photos", "b-birds---bees"]
    assert model_names([Path("/a/photos/export")]) == ["photos"]
    with pytest.raises(UsageError) as twice:
        model_names([Path("/a/b"), Path("/a/c/../b")])
    assert twice.value.message == "/a/b is named twice.\nName each run or export once."


def test_the_real_client_of_triton_is_answered(run: Path, exported: Path, server: api.RunningServer, tmp_path: Path):
    triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    content = photos()["palette.png"]
    (tmp_path / "photo.png").write_bytes(content)
    (prediction,) = api.predict(run, tmp_path / "photo.png")
    client = triton.InferenceServerClient(urlsplit(server.url).netloc)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(run.name)
    assert client.is_model_ready(run.name, "1")
    assert client.get_model_metadata(run.name)["platform"] == "openvino"
    assert client.get_model_config(run.name)["name"] == run.name
    image = triton.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([content], dtype=np.object_), binary_data=True)
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=True)]
    for packing in (None, "gzip", "deflate"):
        found = client.infer(run.name, [image], outputs=outputs, request_compression_algorithm=packing)
        np.testing.assert_allclose(found.as_numpy("probabilities")[0], prediction.probabilities, atol=1e-6)
    named = [triton.InferRequestedOutput("probabilities", binary_data=True, class_count=2)]
    best = client.infer(run.name, [image], outputs=named, model_version="1").as_numpy("probabilities")[0]
    expected = [f"{p:f}:{prediction.classes.index(c)}:{c}" for c, p in prediction.top(2)]
    assert [text.decode() for text in best] == expected
    prepared_1HWC = join_networks("run", [open_network(exported, 1)]).see(content).prepared.popitem()[1]
    pixels = triton.InferInput("image", list(prepared_1HWC.shape), "UINT8")
    for binary in (True, False):
        pixels.set_data_from_numpy(prepared_1HWC, binary_data=binary)
        found = client.infer(run.name, [pixels])
        np.testing.assert_allclose(found.as_numpy("probabilities")[0], prediction.probabilities, atol=1e-6)
    (stats,) = client.get_inference_statistics(run.name)["model_stats"]
    assert stats["inference_stats"]["success"]["count"] >= 6
    utilities = pytest.importorskip("tritonclient.utils")
    with pytest.raises(utilities.InferenceServerException, match="There is no model 'other'"):
        client.infer("other", [image])
    image.set_data_from_numpy(np.array([b"nothing"], dtype=np.object_), binary_data=True)
    with pytest.raises(utilities.InferenceServerException, match="Not an image that can be read"):
        client.infer(run.name, [image])
    client.close()
