"""A serving store for tests: line protocol in, rows out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from storage.influx_setup import init
from tests.fakes.influx import InfluxDB

Labels = dict[str, str]
_BATCH = 5000


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer."""

    tags: Labels
    columns: list[str]
    rows: list[list[Any]]


class Store:
    """What `tanyun influx init` makes on an InfluxDB, empty; read and written as Grafana's plugin does."""

    def __init__(self, server: InfluxDB) -> None:
        sign = {"Authorization": f"Token {server.target.secret}"} if server.target.secret else {}
        self._http = httpx.Client(base_url=server.url, timeout=60, headers=sign)
        self._server = server
        self.reset()

    def reset(self) -> None:
        """Empty."""
        self._server.forget()
        init(self._server.target)

    def write(self, policy: str, lines: Iterable[str]) -> None:
        """Write lines with stamps in milliseconds."""
        batch = list(lines)
        for i in range(0, len(batch), _BATCH):
            params = {"db": "tanyun", "rp": policy, "precision": "ms"}
            answer = self._http.post(
                "/write", params=params, content="\n".join(batch[i : i + _BATCH]).encode()
            )
            assert answer.status_code == httpx.codes.NO_CONTENT, answer.text

    def query(self, text: str) -> list[Series]:
        """The answer of a query, as Grafana's plugin asks for it."""
        answer = self._http.post("/query", params={"db": "tanyun", "epoch": "ms"}, data={"q": text})
        document = answer.json()
        assert "error" not in document, (text, document)
        found = document["results"][0]
        assert "error" not in found, (text, found)
        return [Series(s.get("tags", {}), s["columns"], s["values"]) for s in found.get("series", [])]

    def close(self) -> None:
        """Let the connection go."""
        self._http.close()
