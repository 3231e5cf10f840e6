"""What every answer carries, and what no request may do."""

from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from api.access import insist_on_rules, public, require
from api.body_limit import LIMIT_BYTES
from api.errors import Problem
from api.rights import Permission
from api.times import check_cost
from metering.intervals import HOUR_MS, Span

OPEN = ["/", "/docs", "/login", "/static/app.js", "/api/v1/health/live", "/api/v1/health/ready"]
GUARDED = [
    "/api/v1/live",
    "/api/v1/stream",
    "/api/v1/meters",
    "/api/v1/months",
    "/api/v1/openapi.json",
    "/metrics",
]


@pytest.mark.parametrize("path", GUARDED)
def test_data_needs_a_key_or_a_session(client: httpx.Client, path: str) -> None:
    for given in (
        b"",
        b"Bearer wrong",
        b"Bearer tk_12345678_x",
        b"Bearer tk_\xe9",
        b"Basic s3cret",
        b"Bearer",
    ):
        answer = client.get(path, headers=httpx.Headers({b"Authorization": given}))
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "示范" not in answer.text


@pytest.mark.parametrize("path", [path for path in GUARDED if path != "/api/v1/stream"])
def test_a_key_opens(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", OPEN)
def test_page_files_and_health_are_open_and_hold_no_data(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers={"Authorization": ""})
    assert answer.status_code == 200
    assert "示范" not in answer.text


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/v1/live", "/api/v1/none"])
def test_every_answer_carries_the_security_headers(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert "script-src 'self';" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["strict-transport-security"].startswith("max-age=")


def test_static_files_come_from_the_folder_alone(client: httpx.Client) -> None:
    assert client.get("/static/../app.py").status_code == 404
    assert client.get("/static/%2e%2e/app.py").status_code == 404


def test_what_is_only_read_cannot_be_written(client: httpx.Client) -> None:
    assert client.post("/api/v1/meters", json={}).status_code == 405


def test_a_large_body_is_refused_before_anybody_is_asked_who_he_is(client: httpx.Client) -> None:
    body = b'{"name":"' + b"a" * LIMIT_BYTES + b'"}'
    json = {"Content-Type": "application/json", "Authorization": ""}
    assert client.post("/api/v1/session", content=body, headers=json).status_code == 413
    pieces = (body[at : at + 4096] for at in range(0, len(body), 4096))  # no Content-Length: chunked
    assert client.post("/api/v1/session", content=pieces, headers=json).status_code == 413


def test_more_requests_than_allowed_are_told_to_slow_down(serve: Any, bearer: dict[str, str]) -> None:
    with serve(burst=5, requests_per_s=0.01) as url, httpx.Client(base_url=url) as caller:
        answers = [caller.get("/api/v1/park", headers=bearer).status_code for _ in range(6)]
        assert answers == [200] * 5 + [429]
        stranger = [caller.get("/api/v1/park") for _ in range(6)]
        assert [answer.status_code for answer in stranger] == [401] * 5 + [429]
        assert int(stranger[-1].headers["retry-after"]) > 0


def test_one_caller_cannot_open_all_streams(serve: Any, bearer: dict[str, str]) -> None:
    with (
        serve(streams_each=1) as url,
        httpx.Client(base_url=url, headers=bearer) as caller,
        caller.stream("GET", "/api/v1/stream") as first,
    ):
        lines = first.iter_lines()  # kept: closing it would close the stream
        assert next(lines).startswith("retry")
        assert caller.get("/api/v1/stream").status_code == 429


def test_an_application_with_a_route_that_has_no_rule_does_not_start() -> None:
    app, router = FastAPI(openapi_url=None, docs_url=None, redoc_url=None), APIRouter()

    @router.get("/one", dependencies=[require(Permission.DATA_VIEW)])
    def one() -> None: ...

    @router.get("/two", dependencies=[public()])
    def two() -> None: ...

    app.include_router(router, prefix="/api")
    insist_on_rules(app)

    @router.get("/three")
    def three() -> None: ...

    with pytest.raises(TypeError, match="/three"):
        insist_on_rules(app)


@pytest.mark.parametrize(
    ("totals", "days", "good"), [(1, 400, True), (336, 31, True), (337, 31, False), (40, 400, False)]
)
def test_no_answer_is_summed_from_more_than_a_million_intervals(totals: int, days: int, good: bool) -> None:
    span = Span(0, days * 24 * HOUR_MS)
    if good:
        check_cost(span, totals)
    else:
        with pytest.raises(Problem, match="at most 1000000"):
            check_cost(span, totals)


def test_the_park_of_a_year_is_too_much_where_it_has_many_totals(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.times.MAX_READ", 1000)
    query = {"by": "park", "from": "2026-10-01", "to": "2026-11-01"}
    answer = client.get("/api/v1/emissions", params=query)
    assert (answer.status_code, answer.json()["parameter"]) == (422, "to")
    assert client.get("/api/v1/emissions", params={"by": "park", "from": "2026-11-20"}).status_code == 200
