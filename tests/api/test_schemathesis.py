"""Every route asked for what its OpenAPI document allows and what it does not, as every role: no answer is a server error."""

import itertools
import shutil
from collections import Counter
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from api.app import create_app
from api.rights import ENTERPRISE_ONLY, Role
from tanyun.desk import MonthDesk
from tanyun.exchanges import ExchangeDesk
from tests.api.conftest import NOW_MS

EXAMPLES = 5
"""Of each route and mode, each sent by every role and a stranger: some two thousand requests."""
ENDLESS = "/api/v1/stream"
"""It has no parameters, and its answer never ends."""
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@pytest.fixture(scope="module")
def operations(files: Any) -> list[Any]:
    schema = schemathesis.openapi.from_dict(create_app(files.settings()).openapi())
    found: list[Any] = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert len(found) > 20
    return [operation for operation in found if operation.path != ENDLESS]


@pytest.fixture(scope="module")
def served(files: Any, serve: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder, stores = tmp_path_factory.mktemp("desk"), files.settings()
    shutil.copy(stores.park, folder / "park.toml")
    desk = MonthDesk(folder / "months.db", folder / "lifecycle.db", folder / "attachments", lambda: NOW_MS)
    exchanges = ExchangeDesk(
        folder / "park.toml", stores.ledger, stores.journal, folder / "attachments", lambda: NOW_MS
    )
    with serve(desk=desk, exchanges=exchanges) as url:
        yield url


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_request_makes_a_server_error(files: Any, served: str, operations: list[Any]) -> None:
    callers: list[dict[str, str]] = [{}]
    for role in Role:
        key = files.key((role.value, "ent-a" if role in ENTERPRISE_ONLY else "*"))
        callers.append({"Authorization": f"Bearer {key}"})
    asked: Counter[int] = Counter()
    for operation, mode in itertools.product(operations, MODES):
        with suppress(Unsatisfiable):  # a route without parameters has nothing wrong to be told
            ask_everything(operation, mode, served, callers, asked)
    assert asked[200] > len(operations)
    assert asked[422] > len(operations)
    assert asked[401] > len(operations)


def send(case: Any, url: str, headers: dict[str, str]) -> int:
    """The status that a case is answered with."""
    wanted = case.as_transport_kwargs(base_url=url, headers=headers)
    known = {
        name: wanted[name]
        for name in ("method", "url", "headers", "params", "data", "json", "cookies")
        if name in wanted
    }
    prepared = requests.Request(**known).prepare()
    target, body = urlsplit(str(prepared.url)), prepared.body
    assert target.hostname is not None
    assert body is None or isinstance(body, (str, bytes))
    connection = HTTPConnection(target.hostname, target.port, timeout=30)
    path = f"{target.path}?{target.query}" if target.query else target.path
    try:
        with suppress(BrokenPipeError):  # refused before all of it was sent: the answer is there
            connection.request(str(prepared.method), path, body, dict(prepared.headers))
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def ask_everything(
    operation: Any, mode: Any, url: str, callers: list[dict[str, str]], asked: Counter[int]
) -> None:
    """Cases of one route, each sent by every caller."""

    @settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate], database=None,
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        for headers in callers:
            status = send(case, url, headers)
            asked[status] += 1
            assert status < 500, case.as_curl_command()

    ask()
