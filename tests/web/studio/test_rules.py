"""Who may ask, and what: the wall stands around every route, ids are looked up, and what is hostile is text."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

for package in ("starlette", "uvicorn", "httptools", "jinja2"):
    pytest.importorskip(package, reason="the extra 'studio' is not installed")

from starlette.routing import Route  # noqa: E402
from tests.ship.asked import HOST, Reply, asked  # noqa: E402

from saccade.web.guard import rules_for  # noqa: E402
from saccade.web.studio.app import build_app  # noqa: E402
from saccade.web.studio.data.sets import ImageSets  # noqa: E402
from saccade.web.studio.runs.index import RunIndex, run_id  # noqa: E402

TOKEN = "a-token-of-some-length"
NO_RUN = "There is no run "


@pytest.fixture(scope="module")
def app(runs: Path):
    return build_app(runs, rules_for("127.0.0.1", 8000, ""))


def ask(app, method: str, target: str, headers=(HOST,), body: bytes = b"") -> Reply:
    return asyncio.run(asked(app, method, target, headers, body))


def addresses(app, runs: Path) -> Iterator[tuple[str, str]]:
    """(method, address) of every route, with the id of a run that is there."""
    known = RunIndex(runs).runs()[0].id
    photos = ImageSets(RunIndex(runs)).all()[0].id
    for route in app.app.routes:
        assert isinstance(route, Route)
        path = route.path.replace("{run}", known).replace("{name:path}", "studio.js")
        path = (
            path.replace("{walk}", "0" * 16)
            .replace("{topic}", "edges")
            .replace("{set}", photos)
            .replace("{position:int}", "0")
            .replace("{part}", "curves")
        )
        assert "{" not in path, f"say what {route.path} is asked with"
        for method in sorted(route.methods or ()):
            yield method, path


@pytest.mark.parametrize(
    "host", ["evil.com", "evil.com:8000", "127.0.0.1.nip.io:8000", "127.0.0.1:8001", "", "[::2]:8000"]
)
def test_a_name_that_was_rebound_to_this_machine_gets_nothing_from_any_route(app, runs: Path, host: str):
    for method, path in addresses(app, runs):
        reply = ask(app, method, path, [("host", host)])
        assert (reply.status, reply.code) == (403, "wrong_host"), path


@pytest.mark.parametrize("origin", ["http://evil.com", "http://127.0.0.1:8001", "null", "http://localhost:8000"])
def test_a_page_of_another_origin_may_ask_no_route(app, runs: Path, origin: str):
    for method, path in addresses(app, runs):
        reply = ask(app, method, path, [HOST, ("origin", origin)])
        assert (reply.status, reply.code) == (403, "foreign_origin"), path


def test_without_the_token_no_route_answers_where_others_can_ask(runs: Path):
    app = build_app(runs, rules_for("0.0.0.0", 8000, TOKEN))
    for method, path in addresses(app, runs):
        assert ask(app, method, path).status == 401, path
    first = ask(app, "GET", f"/runs?token={TOKEN}")
    assert (first.status, first.headers["location"]) == (303, "/runs")
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert ask(app, "GET", "/runs", [HOST, ("cookie", cookie.partition(";")[0])]).status == 200


def test_every_answer_says_how_a_browser_has_to_take_it(app, runs: Path):
    for method, path in addresses(app, runs):
        if method != "GET":
            continue
        headers = ask(app, method, path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; "), path
        assert not [word for word in ("unsafe", "*", "http") if word in policy], path
        assert headers["x-content-type-options"] == "nosniff", path
        assert not [name for name in headers if name.startswith("access-control")], path


@pytest.mark.parametrize(
    "name",
    ["..", "../../etc/passwd", "%2e%2e%2fetc%2fpasswd", "second", "/etc", "\x00", "a" * 100_000, "second-00000000"],
)
def test_a_run_is_found_by_its_id_alone(app, name: str):
    for path in (f"/runs/{name}", f"/static/{name}"):
        assert ask(app, "GET", path).status == 404


def test_ids_are_readable_stable_and_never_the_same_for_two():
    assert run_id("photos/First Run") == "photos-first-run-" + run_id("photos/First Run")[-8:]
    names = ["a/b", "a-b", "a b", "A/B", "ü", "ö", "\udcff", "", "x" * 300, "x" * 301]
    assert len({run_id(name) for name in names}) == len(names)
    assert all(len(run_id(name)) <= 49 and run_id(name).isascii() for name in names)
