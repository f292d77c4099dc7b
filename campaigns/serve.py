"""A server under load, hostile and slow clients, kills and fuzzed requests: no wrong answer, no 5xx but 503 and 504.

    python -m campaigns.serve RUN PHOTO... --seconds 900 --clients 32 --kills 50 --drains 50 --slow 500 --fuzzed 100000
    python -m campaigns.serve RUN PHOTO... --parts steady overload --seconds 900

Every good answer is compared with what `predict` says of the same file. One tenth of the clients' requests are damaged
images, oversized bodies and connections that are given up. Needs Linux.
"""

import argparse
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from saccade import api
from saccade.core.types import Prediction

from .mutate_images import mutation, valid_files

PATIENCE_S = 120.0
RESTART_PATIENCE_S = 600.0  # the machine may be busy
WAIT_S = 1.0  # for an answer to a damaged request, which may be waiting for the rest of it
TOLERANCE = 1e-6  # of probabilities
MAX_MEMORY_GROWTH = 1.10  # from a fifth of the time to its end
LOOKS = 15  # at the memory, in equal times: of a quarter of an hour one a minute
PARTS = ("steady", "overload", "kills", "drains", "slow", "fuzzed")
REFUSED = {400, 411, 413, 415, 422}  # what a hostile body may be answered, beside 503


@dataclass(frozen=True, kw_only=True)
class Photo:
    """An image file and what `predict` says of it: class -> probability."""

    content: bytes
    expected: dict[str, float]


@dataclass(kw_only=True)
class Seen:
    """What clients saw: answers by status, and everything found wrong."""

    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, status: str) -> None:
        """One more answer; several threads count."""
        with self.lock:
            self.statuses[status] += 1


def main() -> None:
    """Run the campaign and print the result as JSON; exit status 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument(
        "--served", type=Path, help="an export of the run, which is served in its place: it starts sooner"
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=32)
    for name, usual in (("--kills", 5), ("--drains", 5), ("--slow", 100), ("--fuzzed", 1000), ("--seed", 0)):
        parser.add_argument(name, type=int, default=usual)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="of the campaign (default: all)")
    asked = parser.parse_args()
    photos, served = photos_of(asked.run, asked.photos), asked.served or asked.run
    parts = {
        "steady": lambda: steady(served, photos, asked.clients, asked.seconds, asked.seed),
        "overload": lambda: overload(served, photos, 4 * asked.clients, asked.seconds / 3),
        "kills": lambda: kills(served, photos, asked.kills),
        "drains": lambda: drains(served, photos, asked.drains),
        "slow": lambda: slow_senders(served, photos, asked.slow),
        "fuzzed": lambda: fuzzed(served, photos, asked.fuzzed, asked.seed),
    }
    result = {}
    for name in asked.parts:
        started_s = time.monotonic()
        result[name] = parts[name]() | {"seconds": round(time.monotonic() - started_s)}
        print(f"{name}: {json.dumps(result[name])}", file=sys.stderr, flush=True)
    print(json.dumps(result, indent=1))
    sys.exit(1 if any(part["failures"] for part in result.values()) else 0)


def photos_of(run: Path, paths: Sequence[Path]) -> list[Photo]:
    """The photos with the answers of `predict`."""
    found = []
    for path, answer in zip(paths, api.predict(run, list(paths)), strict=True):
        assert isinstance(answer, Prediction), answer
        expected = dict(zip(answer.classes, answer.probabilities, strict=True))
        found.append(Photo(content=path.read_bytes(), expected=expected))
    return found


def steady(
    model: Path,
    photos: Sequence[Photo],
    num_clients: int,
    seconds: float,
    seed: int,
    max_growth: float = MAX_MEMORY_GROWTH,
) -> dict[str, Any]:
    """Clients that ask one after the other, one tenth of them hostile: answers, memory and open files."""
    files, seen = valid_files(), Seen()
    memory, open_files = [], []
    with api.serve(model, deadline_s=60, queue=num_clients * 2) as server:
        ends_s = time.monotonic() + seconds

        def ask_on(number: int) -> None:
            chance = random.Random(seed * 1000 + number)
            count = 0
            while time.monotonic() < ends_s:
                count += 1
                if chance.random() < 0.1:
                    _ask_hostile(server.url, chance, mutation(seed, number * 1_000_000 + count, files)[1], seen)
                else:
                    _ask(server.url, chance.choice(photos), seen)

        with _clients(num_clients, ask_on):
            for number in range(1, LOOKS + 1):
                time.sleep(max(0.0, ends_s - seconds * (LOOKS - number) / LOOKS - 0.2 - time.monotonic()))
                memory.append(_memory_bytes(server.pid))
                open_files.append(_num_files(server.pid))
    early_bytes = memory[LOOKS // 5 - 1]
    if memory[-1] > max_growth * early_bytes:
        seen.failures.append(f"memory grew from {early_bytes:,} to {memory[-1]:,} bytes")
    return _result(seen) | {"memory MB": [round(number / 1e6, 1) for number in memory], "files": open_files}


def overload(model: Path, photos: Sequence[Photo], num_clients: int, seconds: float) -> dict[str, Any]:
    """More clients than the queue has room for: answers and 503 alone, and answers again at once behind it."""
    seen = Seen()
    with api.serve(model, deadline_s=60, queue=1) as server:
        ends_s = time.monotonic() + seconds

        def ask_on(number: int) -> None:
            while time.monotonic() < ends_s:
                _ask(server.url, photos[number % len(photos)], seen)

        with _clients(num_clients, ask_on):
            pass
        behind = Seen()
        for photo in photos:
            _ask(server.url, photo, behind)
    if set(seen.statuses) - {"200", "503"} or set(behind.statuses) != {"200"}:
        seen.failures.append(f"statuses {dict(seen.statuses)}, behind it {dict(behind.statuses)}")
    return _result(seen)


class Supervised:
    """`saccade serve` at one port, started again whenever it ends, as systemd or a container does it."""

    def __init__(self, model: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "saccade", "serve", str(model), "--port", str(self.port)]
        self._command += ["--deadline", "60"]
        self._is_wanted = True
        self._thread = threading.Thread(target=self._keep)

    @property
    def pid(self) -> int:
        """Of the server that runs now, or ran last."""
        return self._process.pid

    def _begin(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _keep(self) -> None:
        while self._is_wanted:
            self._process.wait()
            if self._is_wanted:
                self._process = self._begin()

    def __enter__(self) -> "Supervised":
        self._process = self._begin()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_wanted = False
        self._process.terminate()
        self._thread.join()


def kills(model: Path, photos: Sequence[Photo], number: int, num_clients: int = 4) -> dict[str, Any]:
    """The process is killed again and again under load, and a supervisor starts it anew: at most the requests inside
    are lost, and clients that ask on get right answers from the next one."""
    seen, down_s, killed = Seen(), [], set()
    is_over = threading.Event()
    with Supervised(model) as server:

        def ask_on(client: int) -> None:
            while not is_over.is_set():
                asked = server.pid
                if _ask(server.url, photos[client % len(photos)], seen, may_fail=True) != 200:
                    time.sleep(0.02)
                    while asked in killed and server.pid == asked and not is_over.is_set():
                        time.sleep(0.02)  # the system still takes connections for a process that it is ending

        with _clients(num_clients, ask_on):
            try:
                for _ in range(number):
                    _wait_for_answers(seen, 2 * num_clients)
                    before, killed_s = seen.statuses["lost"], time.monotonic()
                    killed.add(server.pid)
                    os.kill(server.pid, signal.SIGKILL)
                    _wait_for_answers(seen, 1)
                    down_s.append(time.monotonic() - killed_s)
                    lost = seen.statuses["lost"] - before
                    if lost > num_clients:
                        seen.failures.append(f"{lost} requests lost by one kill")
            finally:
                is_over.set()
    return _result(seen) | {"kills": len(down_s), "down s": [round(f(down_s), 1) for f in (median, max)]}


def _wait_for_answers(seen: Seen, number: int) -> None:
    """Until so many more good answers have come. Raises TimeoutError."""
    wanted, give_up_s = seen.statuses["200"] + number, time.monotonic() + RESTART_PATIENCE_S
    while seen.statuses["200"] < wanted:
        if time.monotonic() > give_up_s:
            raise TimeoutError(f"no answer for {RESTART_PATIENCE_S:.0f} s")
        time.sleep(0.01)


def drains(model: Path, photos: Sequence[Photo], number: int, num_clients: int = 4) -> dict[str, Any]:
    """SIGTERM under load: every request is answered, by 200 or 503, and the process is gone in ten seconds."""
    total = Seen()
    for _ in range(number):
        seen, begun = Seen(), threading.Event()
        server = api.serve(model, deadline_s=60)

        def ask_on(client: int, url: str = server.url, seen: Seen = seen, begun: threading.Event = begun) -> None:
            while _ask(url, photos[client % len(photos)], seen, may_end=True) == 200:
                begun.set()

        with _clients(num_clients, ask_on):
            begun.wait(PATIENCE_S)
            os.kill(server.pid, signal.SIGTERM)
        server.stop()
        told = seen.statuses["503"] + seen.statuses["refused"]
        if told != num_clients:
            seen.failures.append(f"{num_clients} clients, {told} of them told to go elsewhere")
        total.statuses += seen.statuses
        total.failures += seen.failures
    return _result(total)


def slow_senders(model: Path, photos: Sequence[Photo], number: int) -> dict[str, Any]:
    """Connections that each hold a part of a request, while others ask."""
    seen = Seen()
    with api.serve(model, deadline_s=60) as server:
        place = _place(server.url)
        request = _request(server.url, photos[0].content)
        held = [socket.create_connection(place, PATIENCE_S) for _ in range(number)]
        for count, connection in enumerate(held):
            connection.sendall(request[: 1 + count * (len(request) - 2) // number])
        for photo in [*photos] * 3:
            _ask(server.url, photo, seen)
        for connection in held:
            connection.close()
    if set(seen.statuses) != {"200"}:
        seen.failures.append(f"statuses {dict(seen.statuses)} beside {number} slow senders")
    return _result(seen)


def fuzzed(model: Path, photos: Sequence[Photo], number: int, seed: int, num_clients: int = 64) -> dict[str, Any]:
    """Requests with damage anywhere, heads included: never a 5xx, and right answers behind them.

    Many are sent at a time: a server waits for the rest of what is cut, as it must. Every image is whole before the
    damage, so that some requests come as far as the network.
    """
    seen = Seen()
    small = min(valid_files()["JPEG"], key=len)
    with api.serve(model, deadline_s=60, queue=2 * num_clients) as server:
        whole = [_request(server.url, small), *_protocol_requests(server.url, small)]

        def ask_on(client: int) -> None:
            for count in range(client, number, num_clients):
                chance = random.Random(seed * 10_000_019 + count)
                status = _send(server.url, _damaged(chance.choice(whole), chance))
                seen.count(status)
                if status.startswith("5"):
                    seen.failures.append(f"request {count} of seed {seed} was answered {status}")

        with _clients(num_clients, ask_on):
            pass
        _ask(server.url, photos[0], seen)
        lines = _get(server.url, "/metrics").decode().splitlines()
        seen.failures += [line for line in lines if 'status="5' in line]
    return _result(seen)


@contextmanager
def _clients(number: int, ask_on: Any) -> Iterator[None]:
    """So many threads; what one of them raises is raised at the end."""
    with ThreadPoolExecutor(number) as pool:
        asking = [pool.submit(ask_on, client) for client in range(number)]
        yield
        for one in asking:
            one.result()


def _ask(url: str, photo: Photo, seen: Seen, may_fail: bool = False, may_end: bool = False) -> int:
    """The status of a good request; its answer is compared. 0 where the connection was lost, which may be with
    `may_fail`, or where nobody listens, which may be with either."""
    target = f"/api/v1/predict?top={len(photo.expected)}"
    try:
        status, content = _post(url, target, photo.content)
    except ConnectionRefusedError:
        seen.count("refused")
        if not (may_end or may_fail):
            seen.failures.append("nobody listened")
        return 0
    except (OSError, http.client.HTTPException) as error:
        seen.count("lost")
        if not may_fail:
            seen.failures.append(f"a connection was lost: {error!r}")
        return 0
    seen.count(str(status))
    if status == 200:
        found = {entry["class"]: entry["probability"] for entry in json.loads(content)["top"]}
        difference = max(abs(found[name] - value) for name, value in photo.expected.items())
        if difference > TOLERANCE:
            seen.failures.append(f"an answer is {difference:.1e} away from that of predict")
    elif status not in (503, 504):
        seen.failures.append(f"a good request was answered {status}: {content[:200]!r}")
    return status


def _ask_hostile(url: str, chance: random.Random, damaged: bytes, seen: Seen) -> None:
    kind = chance.choice(["damaged", "large", "given up"])
    if kind == "given up":
        request = _request(url, damaged)
        with socket.create_connection(_place(url), PATIENCE_S) as connection:
            connection.sendall(request[: chance.randrange(1, len(request) + 1)])
        return
    content = damaged if kind == "damaged" else bytes(11_000_000)
    status, answer = _post(url, "/api/v1/predict", content)
    seen.count(str(status))
    if status not in {200, 503, 504, *REFUSED} or b"Traceback" in answer:
        seen.failures.append(f"a hostile request was answered {status}: {answer[:200]!r}")


def _post(url: str, target: str, content: bytes) -> tuple[int, bytes]:
    host, port = _place(url)
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    try:
        connection.request("POST", target, content, {"Content-Type": "application/octet-stream"})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def _send(url: str, request: bytes) -> str:
    """The status of whatever bytes; `none` where there is no answer."""
    received = b""
    try:
        with socket.create_connection(_place(url), PATIENCE_S) as connection:
            connection.sendall(request)
            connection.settimeout(WAIT_S)
            received = connection.recv(4096)
    except OSError:
        pass
    return received[9:12].decode("latin-1") if received.startswith(b"HTTP/1.1 ") else "none"


def _request(url: str, content: bytes, target: str = "/api/v1/predict", more: str = "") -> bytes:
    host, port = _place(url)
    head = f"POST {target} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: image/png\r\n{more}"
    return f"{head}Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode() + content


def _protocol_requests(url: str, content: bytes) -> list[bytes]:
    host, port = _place(url)
    names = json.loads(_get(url, "/api/v1/models"))["models"]
    raw = len(content).to_bytes(4, "little") + content
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    form = b'--cut\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n' + content + b"\r\n--cut--\r\n"
    packed = _request(url, form).replace(b"image/png", b"multipart/form-data; boundary=cut", 1)
    length = f"Inference-Header-Content-Length: {len(head)}\r\n"
    infer = _request(url, head + raw, f"/v2/models/{names[0]['name']}/infer", length)
    return [packed, infer, f"GET /metrics HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()]


def _get(url: str, target: str) -> bytes:
    host, port = _place(url)
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    connection.request("GET", target)
    content = connection.getresponse().read()
    connection.close()
    return content


def _damaged(request: bytes, chance: random.Random) -> bytes:
    """A few bytes flipped, taken out, put in or repeated, most of them near the start."""
    content = bytearray(request)
    for _ in range(chance.randrange(1, 4)):
        at = min(int(chance.paretovariate(0.5)), len(content) - 1)
        how = chance.randrange(4)
        if how == 0:
            content[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            del content[at : at + chance.randrange(1, 30)]
        elif how == 2:
            content[at:at] = chance.randbytes(chance.randrange(1, 30))
        else:
            content[at:at] = content[at : at + chance.randrange(1, 300)] * chance.randrange(1, 20)
        if not content:
            content = bytearray(b"\r")
    return bytes(content)


def _place(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)


def _memory_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _num_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _result(seen: Seen) -> dict[str, Any]:
    return {"statuses": dict(sorted(seen.statuses.items())), "failures": seen.failures[:20]}


if __name__ == "__main__":
    main()
