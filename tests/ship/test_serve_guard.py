"""Host, token and Origin hold on every route, also on one that nobody has told of them."""

import pytest

pytest.importorskip("starlette", reason="the extra 'serve' is not installed")
pytest.importorskip("python_multipart", reason="the extra 'serve' is not installed")

from starlette.requests import Request  # noqa: E402
from starlette.responses import JSONResponse, Response  # noqa: E402
from starlette.routing import Route  # noqa: E402
from tests.ship.asked import HOST, app_of, ask  # noqa: E402

from saccade.web.guard import rules_for  # noqa: E402

TOKEN = "a-token-of-some-length"
FOREIGN_HOSTS = [
    "evil.com",
    "evil.com:8000",
    "localhost.evil.com:8000",
    "127.0.0.1.nip.io:8000",
    "0.0.0.0:8000",
    "localhost.:8000",
    "user@127.0.0.1:8000",
    "127.0.0.1:8001",
    "127.0.0.1",
    "127.0.0.1:8000, evil.com",
    "127.0.0.1:8000/",
    "[::2]:8000",
    "",
]
ROUTES = [
    ("GET", "/"),
    ("POST", "/api/v1/predict"),
    ("GET", "/api/v1/models"),
    ("GET", "/api/v1/models/colours"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/colours"),
    ("GET", "/v2/models/colours/versions/1"),
    ("GET", "/v2/models/colours/ready"),
    ("GET", "/v2/models/colours/config"),
    ("GET", "/v2/models/colours/stats"),
    ("POST", "/v2/models/colours/infer"),
    ("GET", "/no/such/route"),
    ("OPTIONS", "/api/v1/predict"),
    ("POST", "/added"),
]


async def added(request: Request) -> Response:
    return JSONResponse({"done": True})


def app_with_a_new_route(rules=None):
    return app_of(rules=rules, more=[Route("/added", added, methods=["POST"])])


def test_every_route_that_is_declared_is_looked_at_here():
    declared = {route.path for route in app_of().app.app.routes}
    looked_at = {path.replace("colours", "{name}").replace("versions/1", "versions/{version}") for _, path in ROUTES}
    inside_versions = {path for path in declared if "versions/{version}/" in path}  # the same functions once more
    assert declared - inside_versions <= looked_at


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_host_that_is_not_ours_is_refused_on_every_route(method: str, path: str):
    app = app_with_a_new_route()
    for host in FOREIGN_HOSTS:
        reply = ask(app, method, path, [("host", host)])
        assert (reply.status, b"Host header" in reply.content) == (403, True), host
    assert ask(app, method, path, []).status == 403  # HTTP/1.0 without one
    assert ask(app, method, path, [HOST, ("host", "evil.com")]).status == 403
    assert ask(app, method, path, [HOST, ("x-forwarded-host", "evil.com")]).status != 403


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST:8000", "[::1]:8000"])
def test_our_own_names_are_taken(host: str):
    assert ask(app_of(), "GET", "/healthz", [("host", host)]).status == 200


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_page_of_another_origin_is_refused_on_every_route(method: str, path: str):
    app = app_with_a_new_route()
    for origin in ["http://evil.com", "null", "http://127.0.0.1:8001", "http://localhost:8000", "file://", ""]:
        reply = ask(app, method, path, [HOST, ("origin", origin)])
        assert (reply.status, b"another origin" in reply.content) == (403, True), origin
        assert "access-control-allow-origin" not in reply.headers
    if method != "GET":
        for came_from in ["cross-site", "same-site"]:
            assert ask(app, method, path, [HOST, ("sec-fetch-site", came_from)]).status == 403
    assert ask(app, method, path, [HOST, ("origin", "http://127.0.0.1:8000")]).status != 403
    assert ask(app, method, path, [HOST, ("origin", "https://127.0.0.1:8000")]).status != 403  # a proxy with TLS


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_the_token_nothing_is_answered_on_any_route(method: str, path: str):
    app = app_with_a_new_route(rules_for("0.0.0.0", 8000, TOKEN))
    given = [
        [],
        [("authorization", "Bearer wrong")],
        [("authorization", f"Bearer {TOKEN}x")],
        [("authorization", f"Basic {TOKEN}")],
        [("authorization", f"Bearer {TOKEN}"), ("authorization", "Bearer x")],
        [("cookie", "saccade_token=wrong")],
        [("cookie", "saccade_token")],
    ]
    for headers in given:
        reply = ask(app, method, path, [HOST, *headers])
        assert (reply.status, b"needs its token" in reply.content) == (401, True), headers
    for headers in [[("authorization", f"bearer {TOKEN}")], [("cookie", f"other=1; saccade_token={TOKEN}")]]:
        assert ask(app, method, path, [HOST, *headers]).status != 401


def test_the_address_with_the_token_gives_a_cookie_that_no_script_reads():
    app = app_of(rules=rules_for("0.0.0.0", 8000, TOKEN))
    reply = ask(app, "GET", f"/?token={TOKEN}")
    assert (reply.status, reply.headers["location"]) == (303, "/")
    assert reply.headers["set-cookie"] == f"saccade_token={TOKEN}; HttpOnly; Path=/; SameSite=strict"
    assert ask(app, "GET", "//evil.com/?token=" + TOKEN).headers["location"] == "/evil.com/"
    assert ask(app, "GET", "/?token=wrong").status == 401
    assert ask(app, "POST", f"/api/v1/predict?token={TOKEN}").status == 401
    assert ask(app, "GET", f"/?token={TOKEN}", [HOST, ("origin", "http://evil.com")]).status == 403


def test_where_others_can_ask_an_address_in_numbers_is_taken_and_a_name_only_when_it_was_allowed():
    rules = rules_for("0.0.0.0", 8000, TOKEN, ["Photos.example"])
    app, authorization = app_of(rules=rules), ("authorization", f"Bearer {TOKEN}")
    for host, status in [
        ("192.168.1.7:8000", 200),
        ("192.168.1.7:80", 200),  # behind a balancer that listens elsewhere
        ("[fe80::1]:8000", 200),
        ("photos.example", 200),
        ("evil.example:8000", 403),
    ]:
        assert ask(app, "GET", "/healthz", [("host", host), authorization]).status == status, host


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_answer_tells_browsers_to_take_it_as_it_is(method: str, path: str):
    for headers in ([HOST], [("host", "evil.com")]):
        reply = ask(app_with_a_new_route(), method, path, headers)
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert "unsafe" not in reply.headers["content-security-policy"]
