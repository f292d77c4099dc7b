"""A server of the Open Inference Protocol whose model knows three colours: what a deployed model looks like from
outside, with the habits of different servers, and with bad ones.

It is written from the protocol alone and shares no code with the client. `Habits` says how it behaves.
"""

import io
import json
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

NAMES = ("red", "green", "blue")
MEAN, STD = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.25, 0.3])
SIDE = 8


@dataclass(kw_only=True)
class Habits:
    """How the server behaves. `takes` is the kind of input: BYTES, UINT8 (pixels, channels last) or FP32 (normalised,
    channels first)."""

    takes: str = "BYTES"
    binary: bool = True
    says_classes: bool = True
    answers: str = "probabilities"  # or logits, or what is wrong: nan, garbage, large, short, wide
    busy: int = 0  # requests that are refused with 503 first
    wait_s: float = 0.0
    token: str = ""
    refuses: bytes = b""  # an image whose file holds this is refused
    outputs: tuple[str, ...] = ("probabilities",)
    seen: list[dict[str, Any]] = field(default_factory=list)


def scores(colour_3: np.ndarray) -> np.ndarray:
    """logits_3: how near a colour of 0 to 255 is to each of the three."""
    return colour_3.astype(np.float64) / 32


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    habits: Habits

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: a test reads what the client says."""

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _error(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps({"error": text}).encode(), headers)

    def do_GET(self) -> None:
        habits = self.habits
        if habits.token and self.headers.get("Authorization") != f"Bearer {habits.token}":
            return self._error(401, "no token")
        if self.path == "/v2":
            extensions = ["classification", *(["binary_tensor_data"] if habits.binary else [])]
            return self._send(200, json.dumps({"name": "colours", "version": "1", "extensions": extensions}).encode())
        if self.path != "/v2/models/colours":
            return self._error(404, f"no model at {self.path}")
        shape = {"BYTES": [-1], "UINT8": [-1, SIDE, SIDE, 3], "FP32": [-1, 3, SIDE, SIDE]}[habits.takes]
        values = {
            "name": "colours",
            "inputs": [{"name": "image", "datatype": habits.takes, "shape": shape}],
            "outputs": [{"name": name, "datatype": "FP32", "shape": [-1, 3]} for name in habits.outputs],
        }
        return self._send(200, json.dumps(values).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        habits = self.habits
        if habits.busy:
            habits.busy -= 1
            return self._error(503, "queue full", {"Retry-After": "0"})
        time.sleep(habits.wait_s)
        length = int(self.headers.get("Inference-Header-Content-Length", len(body)))
        asked, rest = json.loads(body[:length]), body[length:]
        habits.seen.append(asked)
        if habits.refuses and habits.refuses in rest:
            return self._error(400, "the image cannot be decoded")
        wanted = asked["outputs"][0]
        top = wanted["parameters"].get("classification")
        if top is not None and not habits.says_classes:
            return self._error(400, "classification is not known")
        colour_3 = self._colour(asked["inputs"][0], rest)
        self._answer(colour_3, wanted, top)

    def _colour(self, tensor: dict[str, Any], rest: bytes) -> np.ndarray:
        habits = self.habits
        if habits.takes == "BYTES":
            (length,) = struct.unpack("<I", rest[:4])
            assert length == len(rest) - 4
            pixels_HWC = np.asarray(Image.open(io.BytesIO(rest[4:])).convert("RGB"), np.float64)
        else:
            kind = {"UINT8": np.uint8, "FP32": np.float32}[habits.takes]
            values = np.frombuffer(rest, kind) if rest else np.array(tensor["data"], kind)
            pixels = values.reshape(tensor["shape"])[0].astype(np.float64)
            pixels_HWC = pixels if habits.takes == "UINT8" else (pixels.transpose(1, 2, 0) * STD + MEAN) * 255
        return pixels_HWC.mean(axis=(0, 1))

    def _answer(self, colour_3: np.ndarray, wanted: dict[str, Any], top: int | None) -> None:
        habits = self.habits
        logits_3 = scores(colour_3)
        values_3 = logits_3 if habits.answers == "logits" else np.exp(logits_3) / np.exp(logits_3).sum()
        if habits.answers in ("garbage", "large"):
            content = b"<html>no model here</html>" if habits.answers == "garbage" else b"0" * (65 << 20)
            return self._send(200, content)
        if habits.answers == "nan":
            values_3 = values_3 * np.nan
        if habits.answers == "wide":
            values_3 = np.append(values_3, 0.0)
        tensor: dict[str, Any] = {"name": wanted["name"], "datatype": "FP32", "shape": [1, len(values_3)]}
        body = values_3.astype("<f4").tobytes()
        if top is not None:
            texts = [f"{value:.6f}:{place}:{NAMES[place]}".encode() for place, value in enumerate(values_3)][::-1]
            tensor |= {"datatype": "BYTES", "shape": [1, len(texts)]}
            body = b"".join(struct.pack("<I", len(text)) + text for text in texts)
        if not wanted["parameters"]["binary_data"]:
            tensor["data"] = values_3.tolist() if top is None else [text.decode() for text in texts]
            return self._send(200, json.dumps({"model_name": "colours", "outputs": [tensor]}).encode())
        tensor["parameters"] = {"binary_data_size": len(body)}
        body = body[:-1] if habits.answers == "short" else body
        head = json.dumps({"model_name": "colours", "outputs": [tensor]}).encode()
        return self._send(200, head + body, {"Inference-Header-Content-Length": str(len(head))})


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a client that goes before an answer's end is part of the tests."""


@contextmanager
def v2_server(habits: Habits) -> Iterator[str]:
    """The address of a server with these habits, while it runs."""
    handler = type("ThisHandler", (Handler,), {"habits": habits})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
