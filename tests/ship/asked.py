"""Requests to an application without a socket, and models that need no network."""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.types import ASGIApp

from saccade.core.task import ONE_LABEL
from saccade.core.types import Preprocessing
from saccade.data.images.decode import decode_image
from saccade.data.images.preprocess import prepare_image
from saccade.ship.engine import Said, Seen
from saccade.web.guard import Rules, rules_for
from saccade.web.limits import BodyLimits
from saccade.web.serve.app import build_app
from saccade.web.serve.service import Service
from saccade.web.workers import Workers

PREPROCESSING = Preprocessing(channels="rgb", input_height_px=8, input_width_px=8)
HOST = ("host", "127.0.0.1:8000")
PNG = ("content-type", "image/png")


class MeanColour:
    """A model of three classes: how much red, green and blue there is. `before` is called before each answer. Where it
    tells images unlike those of training, dark ones are."""

    classes = ("red", "green", "blue")
    digest = "0" * 64
    task = ONE_LABEL
    preprocessings = (PREPROCESSING,)
    networks = ()

    def __init__(
        self, name: str = "colours", before: Callable[[], None] = lambda: None, tells_unlike: bool = False
    ) -> None:
        self.name = name
        self.tells_unlike = tells_unlike
        self.before = before

    def see(self, content: bytes) -> Seen:
        decoded = decode_image(content, "image")
        prepared = {PREPROCESSING: prepare_image(decoded.image_HWC, PREPROCESSING)[None]}
        return Seen(prepared=prepared, rotated=decoded.rotated, notes=decoded.notes, decode_s=0.0, prepare_s=0.0)

    def answer(self, prepared: dict[Preprocessing, np.ndarray]) -> Said:
        self.before()
        mean_NK = prepared[PREPROCESSING].mean(axis=(1, 2)) + 1.0
        probability_NK = mean_NK / mean_NK.sum(axis=1, keepdims=True)
        return Said(np.log(probability_NK), probability_NK, self._unlike(mean_NK))

    def _unlike(self, mean_NK: np.ndarray) -> np.ndarray | None:
        return mean_NK.max(axis=1) < 50 if self.tells_unlike else None


def service_of(
    *models: Any, num_threads: int = 1, limit: int = 8, deadline_s: float = 60.0, limits: BodyLimits | None = None
) -> Service:
    found = models or (MeanColour(),)
    return Service(
        models={model.name: model for model in found},
        workers=Workers(num_threads, limit, deadline_s),
        limits=limits or BodyLimits(),
    )


def app_of(service: Service | None = None, rules: Rules | None = None, more: Iterable[Any] = ()) -> ASGIApp:
    return build_app(service or service_of(), rules or rules_for("127.0.0.1", 8000, ""), tuple(more))


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    content: bytes
    num_read: int  # parts of the body that were asked for

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


async def asked(
    app: ASGIApp,
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] = (HOST,),
    body: bytes | list[bytes] = b"",
    has_length: bool = True,
    goes: "asyncio.Event | None" = None,
    ends: bool = True,
) -> Reply:
    """One request. The client stays until `goes` is set; without `ends` the last part says that more comes."""
    parts = list(body) if isinstance(body, list) else [body]
    path, _, query = target.partition("?")
    sent: list[Any] = []
    done = asyncio.Event()
    num_read = 0
    length = [("content-length", str(sum(map(len, parts))))] if has_length else []

    async def receive() -> Any:
        nonlocal num_read
        if num_read < len(parts):
            num_read += 1
            return {"type": "http.request", "body": parts[num_read - 1], "more_body": num_read < len(parts) or not ends}
        await (goes or done).wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in [*headers, *length]],
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 1),
    }
    await app(scope, receive, send)
    return Reply(
        status=sent[0]["status"],
        headers={name.decode().lower(): value.decode() for name, value in sent[0]["headers"]},
        content=b"".join(message.get("body", b"") for message in sent[1:]),
        num_read=num_read,
    )


def ask(
    app: ASGIApp,
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] = (HOST,),
    body: bytes | list[bytes] = b"",
    has_length: bool = True,
) -> Reply:
    return asyncio.run(asked(app, method, target, headers, body, has_length))
