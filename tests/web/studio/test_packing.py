"""Texts go out packed to whoever takes it, pictures as they are."""

import asyncio
import gzip
import json
import re
from pathlib import Path

import pytest

for package in ("starlette", "uvicorn", "httptools", "jinja2"):
    pytest.importorskip(package, reason="the extra 'studio' is not installed")

from tests.ship.asked import HOST, asked  # noqa: E402

from saccade.web.guard import rules_for  # noqa: E402
from saccade.web.studio.app import build_app  # noqa: E402

PACKED = (HOST, ("accept-encoding", "gzip"))


def test_a_page_is_packed_and_a_picture_is_not(runs: Path):
    app = build_app(runs, rules_for("127.0.0.1", 8000, ""))
    plain, packed = (asyncio.run(asked(app, "GET", "/runs", headers)) for headers in ((HOST,), PACKED))
    assert (plain.headers.get("content-encoding"), packed.headers["content-encoding"]) == (None, "gzip")
    assert gzip.decompress(packed.content) == plain.content
    assert len(packed.content) < 0.5 * len(plain.content)
    assert packed.headers["content-security-policy"] == plain.headers["content-security-policy"]
    rows = json.loads(asyncio.run(asked(app, "GET", "/api/runs", (HOST,))).content)["runs"]
    run = next(row["id"] for row in rows if row["name"] == "second")
    mistakes = asyncio.run(asked(app, "GET", f"/runs/{run}/mistakes", (HOST,))).content.decode()
    address = re.search(r'src="(/runs/[^"]+/thumbnail)"', mistakes)
    assert address is not None
    picture = asyncio.run(asked(app, "GET", address[1], PACKED))
    assert (picture.status, picture.headers["content-type"]) == (200, "image/png")
    assert "content-encoding" not in picture.headers
