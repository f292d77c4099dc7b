"""`saccade serve` under load: latency at 1 to 128 connections, its cost over the bare engine, overload, memory.

    python -m benchmarks.serve_load RUN-OR-EXPORT photo.jpg --seconds 20 --minutes 15

The load comes from wrk (Debian has it). The server's processor time a request is set against that of the bare engine,
which decodes, prepares and answers the same bytes in a loop: a ratio that load generator and server do not disturb on
few processors. `--peer` adds a server of FastAPI as its tutorial shows it, with torch: install fastapi for it.
`--litserve DIR` adds one of LitServe with two workers, whose packages lie in DIR alone:

    pip install --target DIR --no-deps litserve fastapi starlette pyzmq annotated-doc ...
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common

CONNECTIONS = (1, 8, 32, 128)
LITSERVE_WORKERS, LITSERVE_PORT = 2, 8124
SCRIPT = """
local file = io.open("{photo}", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = "{media_type}"
local counts, threads = {{}}, {{}}
function setup(thread) table.insert(threads, thread) end
function init(args) busy, other = 0, 0 end
function response(status)
  if status == 503 then busy = busy + 1 elseif status ~= 200 then other = other + 1 end
end
function done(summary, latency, requests)
  local busy, other = 0, 0
  for _, thread in ipairs(threads) do busy, other = busy + thread:get("busy"), other + thread:get("other") end
  io.write(string.format("FOUND requests=%d busy=%d other=%d p50_us=%d p99_us=%d socket_errors=%d\\n", summary.requests,
    busy, other, latency:percentile(50), latency:percentile(99),
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""
TUTORIAL = """
import io
from pathlib import Path
import torch
from fastapi import FastAPI, File, UploadFile
from PIL import Image
from saccade.classify.classifier import open_classifier
from saccade.data.images.preprocess import prepare_image
import numpy as np
torch.set_num_threads({threads})
member = open_classifier(Path("{run}")).members[0]
app = FastAPI()

@app.post("/predict")
def predict(file: bytes = File()):
    image = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    prepared = prepare_image(image, member.preprocessing)
    with torch.inference_mode():
        logits = member.model(member.normalized(prepared[None]))
    return {{"probabilities": logits.softmax(dim=1)[0].tolist()}}
"""
LITSERVE = """
import io
from pathlib import Path
import litserve
import numpy as np
import torch
from PIL import Image
from saccade.classify.classifier import open_classifier
from saccade.data.images.preprocess import prepare_image

class Photos(litserve.LitAPI):
    def setup(self, device):
        torch.set_num_threads(1)
        self.member = open_classifier(Path("{run}")).members[0]

    def decode_request(self, request):
        image = np.asarray(Image.open(request["file"].file).convert("RGB"))
        return prepare_image(image, self.member.preprocessing)

    def predict(self, prepared):
        with torch.inference_mode():
            logits = self.member.model(self.member.normalized(prepared[None]))
        return logits.softmax(dim=1)[0]

    def encode_response(self, probabilities):
        return {{"probabilities": probabilities.tolist()}}

if __name__ == "__main__":
    server = litserve.LitServer(Photos(), accelerator="cpu", workers_per_device={workers})
    server.run(host="127.0.0.1", port={port}, generate_client_file=False)
"""


def main() -> None:
    """Run the benchmark."""
    parser = common.argument_parser(__doc__ or "")
    parser.add_argument("model", type=Path, help="a run, or an export that holds OpenVINO's files")
    parser.add_argument("photo", type=Path, help="the image file that every request sends")
    parser.add_argument("--seconds", type=float, default=20, help="of each load (default 20)")
    parser.add_argument("--minutes", type=float, default=0, help="how long memory is watched at 8 connections")
    parser.add_argument("--peer", action="store_true", help="also the tutorial server; needs a run and fastapi")
    parser.add_argument("--litserve", type=Path, metavar="DIR", help="also LitServe, whose packages lie in DIR")
    arguments = parser.parse_args()
    header = common.start(arguments)
    seconds = 1.0 if arguments.smoke else arguments.seconds
    bare_s = bare_engine_s(arguments.model, arguments.photo, 3 if arguments.smoke else 100)
    found: dict[str, Any] = {"header": header, "bare_engine_cpu_s": bare_s}
    lines = Told()
    lines.append(f"bare engine: {1000 * bare_s:.2f} ms of processor time an image")
    with saccade_server(arguments) as (pid, url, started_cpu_s):
        found["start_cpu_s"] = started_cpu_s
        lines.append(f"start to ready: {started_cpu_s:.2f} s of processor time")
        target = Target(pid=pid, url=f"{url}/api/v1/predict", photo=arguments.photo)
        for connections in CONNECTIONS:
            load = target.load(connections, seconds)
            found[f"connections_{connections}"] = load
            lines.append(f"{connections} connections: {words(load)}; {bare_s / load['cpu_s']:.2f} of the bare engine")
        if arguments.minutes:
            found["memory_mb"] = target.memory_under_load(60 * arguments.minutes)
            lines.append(memory_words(found["memory_mb"]))
    peers = (
        ("tutorial", "tutorial server", arguments.peer, tutorial_server),
        ("litserve", "LitServe, 2 workers", arguments.litserve, litserve_server),
    )
    for name, called, is_asked, server in peers:
        if not is_asked:
            continue
        with server(arguments) as (pid, url):
            load = Target(pid=pid, url=f"{url}/predict", photo=arguments.photo, is_form=True).load(8, seconds)
        found[name] = load
        ratio = load["cpu_s"] / found["connections_8"]["cpu_s"]
        lines.append(f"{called}, 8 connections: {words(load)}; ours answers {ratio:.2f} times as many a CPU second")
    common.report(arguments, found, "\n".join(lines))


class Told(list[str]):
    """Lines for the end, said on stderr as they come: a later part may fail."""

    def append(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)
        super().append(line)


class Target:
    """A server under load."""

    def __init__(self, pid: int, url: str, photo: Path, is_form: bool = False) -> None:
        self.pid, self.url = pid, url
        self.photo, self.is_form = photo, is_form

    def load(self, connections: int, seconds: float) -> dict[str, Any]:
        """Requests, busy answers, latency and processor seconds a good answer, of one load."""
        self._wrk(connections, 1.0)
        before_s = cpu_seconds(self.pid)
        found = self._wrk(connections, seconds)
        good = found["requests"] - found["busy"] - found["other"]
        found["cpu_s"] = (cpu_seconds(self.pid) - before_s) / max(good, 1)
        found["memory_mb"] = memory_mb(self.pid)
        return found

    def memory_under_load(self, seconds: float) -> list[float]:
        """Resident memory in MB, ten times a minute."""
        end, found = time.monotonic() + seconds, []
        while time.monotonic() < end:
            self._wrk(8, min(6.0, max(1.0, end - time.monotonic())))
            found.append(memory_mb(self.pid))
        return found

    def _wrk(self, connections: int, seconds: float) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            body, media_type = Path(folder) / "body", "image/jpeg"
            content = self.photo.read_bytes()
            if self.is_form:
                media_type = "multipart/form-data; boundary=frontier"
                head = b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
                content = head + content + b"\r\n--frontier--\r\n"
            body.write_bytes(content)
            script = Path(folder) / "load.lua"
            script.write_text(SCRIPT.format(photo=body, media_type=media_type), encoding="utf-8")
            command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
            done = subprocess.run([*command, "-s", str(script), self.url], capture_output=True, text=True, check=True)
        line = next(line for line in done.stdout.splitlines() if line.startswith("FOUND "))
        return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", line)}


def bare_engine_s(model: Path, photo: Path, num_images: int) -> float:
    """Processor seconds an image of decoding, preparing and answering, in a process without HTTP."""
    program = (
        "import sys, time; from pathlib import Path\n"
        "from saccade.web.serve.opening import open_models\n"
        "model = next(iter(open_models([Path(sys.argv[1])], False, 1, print).values()))\n"
        "content = Path(sys.argv[2]).read_bytes()\n"
        "for _ in range(3): model.answer(model.see(content).prepared)\n"
        "start = time.process_time()\n"
        "for _ in range(int(sys.argv[3])): model.answer(model.see(content).prepared)\n"
        "print((time.process_time() - start) / int(sys.argv[3]))\n"
    )
    command = [sys.executable, "-c", program, str(model), str(photo), str(num_images)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


@contextmanager
def saccade_server(arguments: argparse.Namespace) -> Iterator[tuple[int, str, float]]:
    """(process, address, processor seconds until it is ready)."""
    command = [sys.executable, "-m", "saccade", "serve", str(arguments.model), "--port", "0"]
    command += ["--threads", str(arguments.threads)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            yield process.pid, line.rsplit(" ", 1)[1].strip(), cpu_seconds(process.pid)
        finally:
            process.terminate()


@contextmanager
def tutorial_server(arguments: argparse.Namespace) -> Iterator[tuple[int, str]]:
    """The server of the tutorial with the same run, on as many threads."""
    with tempfile.TemporaryDirectory() as folder:
        text = TUTORIAL.format(run=arguments.model.resolve(), threads=1)
        (Path(folder) / "tutorial_server.py").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "uvicorn", "tutorial_server:app", "--port", "8123", "--log-level", "warning"]
        with subprocess.Popen(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        ) as process:
            try:
                wait_for_port(8123)
                yield process.pid, "http://127.0.0.1:8123"
            finally:
                process.terminate()


@contextmanager
def litserve_server(arguments: argparse.Namespace) -> Iterator[tuple[int, str]]:
    """LitServe with the same run in two worker processes of one thread each, ended with all of its processes."""
    with tempfile.TemporaryDirectory() as folder:
        text = LITSERVE.format(run=arguments.model.resolve(), workers=LITSERVE_WORKERS, port=LITSERVE_PORT)
        (Path(folder) / "photos_server.py").write_text(text, encoding="utf-8")
        path = os.pathsep.join([str(arguments.litserve.resolve()), *sys.path])
        command = [sys.executable, "photos_server.py"]
        with subprocess.Popen(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, start_new_session=True
        ) as process:
            try:
                wait_for_answer(f"http://127.0.0.1:{LITSERVE_PORT}/health")
                yield process.pid, f"http://127.0.0.1:{LITSERVE_PORT}"
            finally:
                os.killpg(process.pid, signal.SIGTERM)


def wait_for_answer(url: str) -> None:
    """Until it is answered 200."""
    for _ in range(1200):
        try:
            with urllib.request.urlopen(url) as reply:
                if reply.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit(f"{url} is not answered after two minutes.")


def wait_for_port(port: int) -> None:
    """Until somebody listens there."""
    import socket

    for _ in range(600):
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit(f"Nobody listens at port {port} after a minute.")


def family(pid: int) -> list[int]:
    """A process and all that descend from it and live."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


def cpu_seconds(pid: int) -> float:
    """Processor seconds of a process and all that descend from it, so far; of those that have ended, too."""
    ticks = 0
    for member in family(pid):
        fields = Path(f"/proc/{member}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Resident memory in MB of a process and all that descend from it; what several share counts once."""
    members = family(pid)
    kind = "Rss" if len(members) == 1 else "Pss"
    texts = [Path(f"/proc/{member}/smaps_rollup").read_text(encoding="ascii") for member in members]
    return sum(int(re.findall(rf"^{kind}:\s+(\d+)", text, re.M)[0]) for text in texts) * 1024 / 1e6


def words(load: dict[str, Any]) -> str:
    """A load in one line."""
    return (
        f"{load['requests']:,} requests, {load['busy']:,} of them busy, {load['other']} others; p50 "
        f"{load['p50_us'] / 1000:.1f} ms, p99 {load['p99_us'] / 1000:.1f} ms; {1000 * load['cpu_s']:.2f} ms of "
        f"processor time an answer; {load['memory_mb']:.0f} MB"
    )


def memory_words(memory: list[float]) -> str:
    """How memory grows, by a line fitted to its second half."""
    half = np.array(memory[len(memory) // 2 :])
    slope = float(np.polyfit(np.arange(len(half)) / 10, half, 1)[0]) if len(half) > 1 else 0.0
    return f"memory: {memory[0]:.0f} MB at first, {memory[-1]:.0f} MB at last, {slope:+.2f} MB a minute at the end"


if __name__ == "__main__":
    main()
