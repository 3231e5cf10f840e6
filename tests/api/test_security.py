"""Who is let in, and what every answer carries."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

OPEN = ["/", "/docs", "/static/app.js", "/api/v1/health/live", "/api/v1/health/ready"]
GUARDED = [
    "/api/v1/live",
    "/api/v1/stream",
    "/api/v1/meters",
    "/api/v1/months",
    "/api/v1/openapi.json",
    "/metrics",
]


@pytest.fixture(scope="module")
def locked(serve: Any) -> Iterator[httpx.Client]:
    with serve(token="s3cret") as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.mark.parametrize("path", GUARDED)
def test_data_needs_the_token(locked: httpx.Client, path: str) -> None:
    for given in (b"", b"Bearer wrong", b"Bearer s\xe9cret", b"Basic s3cret"):
        answer = locked.get(path, headers=httpx.Headers({b"Authorization": given}))
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "示范" not in answer.text


@pytest.mark.parametrize("path", [path for path in GUARDED if path != "/api/v1/stream"])
def test_the_token_opens(locked: httpx.Client, path: str) -> None:
    assert locked.get(path, headers={"Authorization": "Bearer s3cret"}).status_code == 200


@pytest.mark.parametrize("path", OPEN)
def test_page_files_and_health_are_open_and_hold_no_data(locked: httpx.Client, path: str) -> None:
    answer = locked.get(path)
    assert answer.status_code == 200
    assert "示范" not in answer.text


def test_every_route_of_the_api_is_either_guarded_or_health(locked: httpx.Client) -> None:
    api = locked.get("/api/v1/openapi.json", headers={"Authorization": "Bearer s3cret"}).json()
    unguarded = {path for path, methods in api["paths"].items() if "security" not in methods["get"]}
    assert unguarded == {"/api/v1/health/live", "/api/v1/health/ready"}


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/v1/live", "/api/v1/none"])
def test_every_answer_carries_the_security_headers(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert "script-src 'self';" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_the_token_does_not_show_when_settings_are_printed(files: Any) -> None:
    assert "s3cret" not in repr(files.settings("s3cret"))


def test_static_files_come_from_the_folder_alone(client: httpx.Client) -> None:
    assert client.get("/static/../app.py").status_code == 404
    assert client.get("/static/%2e%2e/app.py").status_code == 404


def test_nothing_can_be_written(client: httpx.Client) -> None:
    assert client.post("/api/v1/meters", json={}).status_code == 405
