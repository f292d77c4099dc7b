"""What a request may hold, and what is said of one that is refused; the queue, its deadline, and clients that go."""

import asyncio
import gzip
import io
import struct
import threading
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="the extra 'serve' is not installed")
pytest.importorskip("python_multipart", reason="the extra 'serve' is not installed")

from tests.ship.asked import HOST, PNG, MeanColour, app_of, ask, asked, service_of  # noqa: E402

from saccade.core.task import Task  # noqa: E402
from saccade.web.limits import BodyLimits  # noqa: E402

PREDICT = "/api/v1/predict"
FORM = ("content-type", "multipart/form-data; boundary=cut")


def png(colour: tuple[int, int, int] = (200, 20, 10), size: tuple[int, int] = (20, 10)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def part(name: str, content: bytes, filename: str = "") -> bytes:
    file = f'; filename="{filename}"' if filename else ""
    return b'--cut\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (
        name.encode(),
        file.encode(),
        content,
    )


def declared_png(width_px: int, height_px: int) -> bytes:
    """A PNG file of a few bytes that declares so many pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(10_000_000), 9)  # a small file, far too little for the picture, and packed 1,000 times
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_an_image_is_answered_with_the_classes_asked_for():
    reply = ask(app_of(), "POST", f"{PREDICT}?top=2", [HOST, PNG], png())
    assert reply.status == 200
    assert {key: reply.json[key] for key in ("model", "digest", "rotated", "notes")} == {
        "model": "colours",
        "digest": "0" * 64,
        "rotated": False,
        "notes": [],
    }
    assert [entry["class"] for entry in reply.json["top"]] == ["red", "green"]
    np.testing.assert_allclose([entry["probability"] for entry in reply.json["top"]], [201 / 233, 21 / 233])
    assert set(reply.json["seconds"]) == {"wait", "decode", "prepare", "infer"}


def test_one_file_of_a_form_is_answered_too_and_its_fields_count():
    body = part("top", b"1") + part("image", png(), "photo.png") + b"--cut--\r\n"
    reply = ask(app_of(), "POST", PREDICT, [HOST, FORM], body)
    assert (reply.status, len(reply.json["top"])) == (200, 1)
    two = service_of(MeanColour("one"), MeanColour("two"))
    named = part("model", b"two") + part("image", png(), "photo.png") + b"--cut--\r\n"
    assert ask(app_of(two), "POST", PREDICT, [HOST, FORM], named).json["model"] == "two"


def test_of_several_labels_those_that_reach_their_thresholds_are_said():
    model = MeanColour()
    model.task = Task(kind="several labels", thresholds=(0.5, 0.5, 0.01))
    reply = ask(app_of(service_of(model)), "POST", PREDICT, [HOST, PNG], png())
    assert (reply.status, reply.json["labels"]) == (200, ["red", "blue"])


def test_a_photo_that_says_how_it_is_turned_is_turned():
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(buffer, "JPEG", exif=exif)
    reply = ask(app_of(), "POST", PREDICT, [HOST, ("content-type", "image/jpeg")], buffer.getvalue())
    assert (reply.status, reply.json["rotated"]) == (200, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The request holds no image."),
        (
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            "Not an image that can be read (see 'saccade sources'): it begins",
        ),
        (png()[:50], "The image data end too early"),
        (declared_png(10_000, 6_000), "The image has 10000x6000 pixels; at most 50,000,000 are read. Make it smaller."),
        (declared_png(100_000, 100_000), "The image declares far more than 50,000,000 pixels; it is not opened."),
        (declared_png(7_000, 7_000), "The image data end too early"),
        (b"\x00" * 300, "Not an image that can be read"),
        (b'{"url": "http://169.254.169.254"}', "Not an image that can be read"),
    ],
)
def test_what_is_no_image_is_the_clients_fault_and_says_why(content: bytes, message: str):
    reply = ask(app_of(), "POST", PREDICT, [HOST, ("content-type", "application/octet-stream")], content)
    assert reply.status == (422 if content else 400)
    assert reply.code == ("bad_image" if content else "no_image")
    assert reply.json["error"]["message"].startswith(message)
    assert b"Traceback" not in reply.content
    assert b"/saccade/" not in reply.content


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("image/svg+xml", 415),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
        ("application/json", 415),
        ("application/x-pickle", 415),
        ("application/vnd.bentoml+pickle", 415),
        ("IMAGE/PNG; q=1", 200),
    ],
)
def test_media_types_that_are_not_listed_are_refused_before_the_body_is_read(kind: str, status: int):
    reply = ask(app_of(), "POST", PREDICT, [HOST, ("content-type", kind)], png())
    assert (reply.status, reply.num_read) == (status, 1 if status == 200 else 0)


@pytest.mark.parametrize(
    ("target", "status", "message"),
    [
        ("?top=0", 422, "top must be a whole number from 1 on."),
        ("?top=-1", 422, "top must be a whole number from 1 on."),
        ("?top=many", 422, "top must be a whole number from 1 on."),
        ("?top=²", 422, "top must be a whole number from 1 on."),
        ("?model=other", 404, "There is no model 'other'."),
        ("?model=%00", 404, "There is no model '\\x00'."),
    ],
)
def test_wrong_values_are_refused_before_the_body_is_read(target: str, status: int, message: str):
    target = target.replace("²", "%C2%B2")
    reply = ask(app_of(), "POST", PREDICT + target, [HOST, PNG], png())
    assert (reply.status, reply.json["error"]["message"], reply.num_read) == (status, message, 0)


def test_of_several_models_one_has_to_be_named():
    app = app_of(service_of(MeanColour("one"), MeanColour("two")))
    reply = ask(app, "POST", PREDICT, [HOST, PNG], png())
    assert (reply.status, reply.json["error"]["hint"]) == (422, "Name one of: one, two.")
    assert ask(app, "POST", f"{PREDICT}?model=two", [HOST, PNG], png()).json["model"] == "two"


def test_addresses_and_methods_that_are_not_there_are_told_as_json():
    assert ask(app_of(), "GET", "/etc/passwd").code == "no_such_route"
    assert ask(app_of(), "GET", "/api/v1/models/..").code == "no_such_model"
    assert ask(app_of(), "GET", "/api/v1/models/%2e%2e%2fetc").code == "no_such_model"
    reply = ask(app_of(), "GET", PREDICT)
    assert (reply.status, reply.code, reply.headers["allow"]) == (405, "method", "POST")
    assert ask(app_of(), "GET", "/v2/models/other").json == {
        "error": "There is no model 'other'. Name one of: colours."
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The multipart body ends early."),
        (b"nothing of the kind", "The multipart body is malformed."),
        (part("image", png(), "a.png"), "The multipart body ends early."),
        (part("image", png(), "a.png") * 2 + b"--cut--\r\n", "The body has more than one file."),
        (part("note", b"x" * 5000) + b"--cut--\r\n", "A field has more than 4,096 bytes."),
        (part("note", b"x") + b"--cut--\r\n", "The request holds no image."),
        (part("a", b"") * 100_000 + b"--cut--\r\n", "The body has more than 9 parts."),
        (b"--cut\r\n" + b"X: y\r\n" * 100_000 + b"\r\n\r\n--cut--\r\n", "The multipart body is malformed."),
        (b"--cut\r\nContent-Disposition: " + b"x" * 1_000_000, "The multipart body is malformed."),
    ],
)
def test_a_form_that_is_not_one_short_file_is_refused(body: bytes, message: str):
    reply = ask(app_of(), "POST", PREDICT, [HOST, FORM], body)
    assert (reply.status, reply.json["error"]["message"]) == (400, message)


def test_bodies_may_be_packed_and_a_bomb_is_not_unpacked():
    headers = [HOST, PNG, ("content-encoding", "gzip")]
    assert ask(app_of(), "POST", PREDICT, headers, gzip.compress(png())).status == 200
    assert (
        ask(app_of(), "POST", PREDICT, [HOST, PNG, ("content-encoding", "deflate")], zlib.compress(png())).status == 200
    )
    bomb = gzip.compress(bytes(12_000_000))
    assert ask(app_of(), "POST", PREDICT, headers, bomb).status == 413
    assert ask(app_of(), "POST", PREDICT, headers, b"not packed").json["error"]["code"] == "malformed"
    assert ask(app_of(), "POST", PREDICT, headers, gzip.compress(png())[:-4]).status == 400
    assert ask(app_of(), "POST", PREDICT, [HOST, PNG, ("content-encoding", "br")], png()).status == 415


def test_too_long_a_body_is_refused_by_its_length_and_by_what_comes():
    small = service_of(limits=BodyLimits(max_bytes=1 << 20))
    announced = ask(app_of(small), "POST", PREDICT, [HOST, PNG], bytes((1 << 20) + 1))
    assert (announced.status, announced.code, announced.num_read) == (413, "too_large", 0)
    assert announced.json["error"]["message"] == "The body has more than 1 MB."
    chunked = [HOST, PNG, ("transfer-encoding", "chunked")]
    reply = ask(app_of(small), "POST", PREDICT, chunked, [bytes(400_000)] * 100, has_length=False)
    assert (reply.status, reply.num_read) == (413, 3)
    assert ask(app_of(small), "POST", PREDICT, [HOST, PNG], png(), has_length=False).status == 411
    assert ask(app_of(small), "POST", PREDICT, [HOST, PNG, ("content-length", "-5")], b"", False).status == 400
    assert ask(app_of(small), "POST", PREDICT, [HOST, PNG, ("content-length", "9" * 400)], b"", False).status == 413
    assert ask(app_of(small), "POST", PREDICT, chunked, png(), has_length=False).status == 200
    assert small.memory.held_bytes == 0


def test_a_sender_that_falls_silent_is_let_go():
    service = service_of(limits=BodyLimits(silent_s=0.05))
    reply = asyncio.run(asked(app_of(service), "POST", PREDICT, [HOST, PNG], [png()[:20]], ends=False))
    assert (reply.status, reply.code) == (408, "timeout")
    whole = service_of(limits=BodyLimits(silent_s=60, whole_s=0.05))
    assert asyncio.run(asked(app_of(whole), "POST", PREDICT, [HOST, PNG], [b"x"], ends=False)).status == 408


def test_all_bodies_together_have_a_limit_and_slow_ones_do_not_fill_the_queue():
    async def play() -> None:
        service = service_of(limit=1, limits=BodyLimits(memory_bytes=1000))
        app, gone = app_of(service), asyncio.Event()
        slow = [
            asyncio.ensure_future(asked(app, "POST", PREDICT, [HOST, PNG], [bytes(300)], goes=gone, ends=False))
            for _ in range(3)
        ]
        await asyncio.sleep(0)
        while service.memory.held_bytes < 900:
            await asyncio.sleep(0.001)
        assert (await asked(app, "POST", PREDICT, [HOST, PNG], png())).status == 200  # 75 bytes: there is room
        full = await asked(app, "POST", PREDICT, [HOST, PNG], bytes(200))
        assert (full.status, full.headers["retry-after"]) == (503, "1")
        gone.set()
        await asyncio.gather(*slow)
        assert service.memory.held_bytes == 0

    asyncio.run(play())


class Held:
    """A model whose answers wait."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.may_go = threading.Event()
        self.num_answers = 0
        self.model = MeanColour(before=self._wait)

    def _wait(self) -> None:
        self.num_answers += 1
        self.begun.release()
        assert self.may_go.wait(60)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.001)


def test_where_the_queue_is_full_503_comes_before_the_body_is_read_and_all_inside_are_answered():
    async def play() -> None:
        held = Held()
        service = service_of(held.model, limit=3)
        app = app_of(service)
        inside = [asyncio.ensure_future(asked(app, "POST", PREDICT, [HOST, PNG], png())) for _ in range(3)]
        await until(lambda: service.workers.inside == 3)
        refused = await asyncio.gather(*(asked(app, "POST", PREDICT, [HOST, PNG], png()) for _ in range(20)))
        assert {(reply.status, reply.code, reply.headers["retry-after"], reply.num_read) for reply in refused} == {
            (503, "busy", "1", 0)
        }
        held.may_go.set()
        assert [(await reply).status for reply in inside] == [200] * 3
        await until(lambda: service.workers.inside == 0)
        assert (await asked(app, "POST", PREDICT, [HOST, PNG], png())).status == 200

    asyncio.run(play())


def test_a_request_whose_deadline_passes_in_the_queue_is_dropped_and_one_that_runs_is_answered():
    async def play() -> None:
        held = Held()
        service = service_of(held.model)
        app = app_of(service)
        runs = asyncio.ensure_future(asked(app, "POST", PREDICT, [HOST, PNG], png()))
        await until(lambda: held.num_answers == 1)
        service.workers.deadline_s = 0.05
        late = await asked(app, "POST", PREDICT, [HOST, PNG], png())
        assert (late.status, late.code) == (504, "too_late")
        held.may_go.set()
        assert (await runs).status == 200
        await until(lambda: service.workers.inside == 0)
        assert held.num_answers == 1

    asyncio.run(play())


def test_a_request_whose_client_has_gone_is_dropped_before_its_work_begins():
    async def play() -> None:
        held = Held()
        service = service_of(held.model)
        app, gone = app_of(service), asyncio.Event()
        runs = asyncio.ensure_future(asked(app, "POST", PREDICT, [HOST, PNG], png()))
        await until(lambda: held.num_answers == 1)
        leaving = [asyncio.ensure_future(asked(app, "POST", PREDICT, [HOST, PNG], png(), goes=gone)) for _ in range(5)]
        await until(lambda: service.workers.inside == 6)
        gone.set()
        await asyncio.gather(*leaving)
        await until(lambda: service.workers.inside == 1)
        held.may_go.set()
        assert (await runs).status == 200
        assert held.num_answers == 1
        assert service.memory.held_bytes == 0

    asyncio.run(play())


def test_a_server_that_drains_takes_nothing_new_and_says_so():
    async def play() -> None:
        held = Held()
        service = service_of(held.model)
        app = app_of(service)
        runs = asyncio.ensure_future(asked(app, "POST", PREDICT, [HOST, PNG], png()))
        await until(lambda: held.num_answers == 1)
        service.workers.is_draining = True
        refused = await asked(app, "POST", PREDICT, [HOST, PNG], png())
        assert (refused.status, refused.num_read) == (503, 0)
        assert (await asked(app, "GET", "/readyz")).status == 503
        assert (await asked(app, "GET", "/v2/health/ready")).status == 503
        assert (await asked(app, "GET", "/healthz")).status == 200
        held.may_go.set()
        assert (await runs).status == 200

    asyncio.run(play())


def test_memory_that_runs_out_is_503_and_a_fault_of_ours_tells_nothing_of_it():
    def no_memory() -> None:
        raise MemoryError

    def wrong() -> None:
        raise ZeroDivisionError("/home/somebody/secret")

    reply = ask(app_of(service_of(MeanColour(before=no_memory))), "POST", PREDICT, [HOST, PNG], png())
    assert (reply.status, reply.code) == (503, "no_memory")

    async def play() -> None:
        sent = []

        async def send(message: dict) -> None:
            sent.append(message)

        service = service_of(MeanColour(before=wrong))
        with pytest.raises(ZeroDivisionError):  # the server writes it to its standard error
            await asked(_Tee(app_of(service), send), "POST", PREDICT, [HOST, PNG], png())
        assert sent[0]["status"] == 500
        assert b"secret" not in sent[1]["body"]
        assert b'"failed"' in sent[1]["body"]

    asyncio.run(play())


class _Tee:
    """The application, with its answers kept where it raises."""

    def __init__(self, app, keep) -> None:
        self.app, self.keep = app, keep

    async def __call__(self, scope, receive, send) -> None:
        async def both(message) -> None:
            await self.keep(message)
            await send(message)

        await self.app(scope, receive, both)


def test_the_counts_are_what_was_done_and_no_request_adds_a_line_of_its_own():
    app = app_of()
    for _ in range(2):
        ask(app, "POST", PREDICT, [HOST, PNG], png())
    ask(app, "POST", PREDICT, [HOST, PNG], b"nothing")
    for name in ("a", "b"):
        ask(app, "GET", f"/no/{name}")
    ask(app, "GET", "/healthz", [("host", "evil.com")])
    reply = ask(app, "GET", "/metrics")
    assert reply.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    lines = reply.content.decode().splitlines()
    assert 'saccade_requests_total{route="/api/v1/predict",status="200"} 2' in lines
    assert 'saccade_requests_total{route="/api/v1/predict",status="422"} 1' in lines
    assert 'saccade_requests_total{route="none",status="404"} 2' in lines
    assert 'saccade_requests_total{route="none",status="403"} 1' in lines
    assert 'saccade_images_total{model="colours"} 2' in lines
    assert lines[-1] == "# EOF"
