"""InfluxDB, the serving store: 1.x over `/write`, 2.x and 3.x through influxdb-client; queries are InfluxQL for all.

Nothing here is authoritative. What the store has lost is written again from ledger and journal.
"""

import gzip
import json
import logging
import re
import ssl
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

import httpx
import msgspec

from metering.hidden import without, without_credentials
from storage.errors import StoreError

log = logging.getLogger("tanyun.influx")
DATABASE = "tanyun"
Retention = Literal["live", "history"]
RETENTIONS: dict[Retention, int] = {"live": 35 * 24 * 3600, "history": 0}
"""Retention policy → seconds that its points are kept; 0 is for ever."""
BATCH_LINES = 5_000
"""What the servers' own documents advise per request."""
TIMEOUT_S = 30.0
GZIP_LEVEL = 1
"""Level 6 makes a batch a quarter smaller and takes three times as long."""
Major = Literal["1", "2", "3"]
Row = dict[str, Any]
_DROPPED = re.compile(r"dropped=(\d+)")
_MISSING = re.compile(r"(database|retention policy|bucket)\b.*not found|no dbrp", re.IGNORECASE)


class InfluxDownError(StoreError):
    """The server does not answer, or cannot take anything now (wait and try again)."""


class InfluxMissingError(StoreError):
    """Database, retention policy or bucket are not there (`tanyun influx init` makes them)."""


class InfluxDeniedError(StoreError):
    """The server refuses our name, password or token (the operator's fault)."""


class InfluxRequestError(StoreError):
    """The server refuses what the request says. `reason` is its own sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"InfluxDB refuses the request: {reason}")
        self.reason = reason


class Target(msgspec.Struct, frozen=True, gc=False):
    """Which server, and as whom."""

    url: str
    version: Literal["auto", "1", "2", "3"] = "auto"
    user: str = ""
    secret: str = ""
    """Password of a user, or a token when there is no user."""
    org: str = ""
    ca_file: str = ""
    """CA of the server's certificate; the system's own when empty."""


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A line that the server will never take, and why."""

    line: str
    reason: str


class Writer(Protocol):
    """What the projector needs of a serving store."""

    def write(self, retention: Retention, lines: Sequence[str]) -> list[Refused]:
        """Store lines; those refused for ever. Raises InfluxDownError, InfluxMissingError or InfluxDeniedError."""
        ...

    def query(self, retention: Retention, influxql: str) -> list[Row]:
        """The rows of an InfluxQL query; times in ms. Raises as `write`, and InfluxRequestError."""
        ...


def http_client(target: Target) -> httpx.Client:
    """A connection pool that signs in."""
    headers, auth = {"User-Agent": "tanyun"}, None
    if target.secret and not target.user:
        headers["Authorization"] = f"Token {target.secret}"
    elif target.user:
        auth = httpx.BasicAuth(target.user, target.secret)
    tls = ssl.create_default_context(cafile=target.ca_file or None)
    return httpx.Client(
        base_url=target.url, headers=headers, auth=auth, timeout=TIMEOUT_S, verify=tls, trust_env=False
    )


def request(client: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response:
    """The answer to a request that succeeded; otherwise one of this module's errors."""
    try:
        answer = client.request(method, path, **more)
    except httpx.HTTPError as error:
        said = without_credentials(str(error), client.headers.get("Authorization", ""))
        msg = f"{client.base_url}: {said or type(error).__name__}"
        raise InfluxDownError(msg) from None  # the original repeats a header that cannot be sent
    if answer.is_error:
        raise judged(answer.status_code, refusal(answer), str(client.base_url))
    return answer


def refusal(answer: httpx.Response) -> str:
    """A refusal's body; a server or a proxy that repeats what it was sent tells no secret."""
    return without_credentials(answer.text, answer.request.headers.get("Authorization", ""))


def judged(status: int, body: str, url: str) -> StoreError:
    """What an HTTP error means for us."""
    reason = _sentence(body) or f"HTTP {status}"
    if _MISSING.search(reason) or status == httpx.codes.NOT_FOUND:
        return InfluxMissingError(f"{url}: {reason}; run: tanyun influx init")
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return InfluxDeniedError(f"{url}: {reason}; check user, password or token in [influx]")
    if status in {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.REQUEST_TIMEOUT} or status >= 500:  # noqa: PLR2004
        return InfluxDownError(f"{url}: {reason}")
    return InfluxRequestError(reason)


def _sentence(body: str) -> str:
    """The server's own words out of its JSON, or the text itself."""
    try:
        found = json.loads(body)
    except ValueError:
        return body.strip()[:500]
    if not isinstance(found, dict):
        return body.strip()[:500]
    return str(found.get("error") or found.get("message") or "")


def detect(target: Target) -> str:
    """The server's version as it says it itself, e.g. `1.6.7` or `2.7.12`; empty when it says none."""
    with http_client(target) as client:
        try:
            answer = client.get("/ping")
        except httpx.HTTPError as error:
            said = without(str(error), target.secret)
            msg = f"{target.url}: {said or type(error).__name__}"
            raise InfluxDownError(msg) from None
        version = answer.headers.get("X-Influxdb-Version", "") or _from_json(answer)
        return (version or _from_json(client.get("/health"))).removeprefix("v")


def _from_json(answer: httpx.Response) -> str:
    try:
        found = answer.json()
    except ValueError:
        return ""
    return str(found.get("version", "")) if isinstance(found, dict) else ""


def major_of(target: Target) -> Major:
    """The major version that the configuration names, or that the server says."""
    if target.version != "auto":
        return target.version
    said = detect(target)
    for major in ("1", "2", "3"):
        if said.startswith(major):
            return major
    msg = f"{target.url} does not say which InfluxDB it is ({said or 'no version'}); set version in [influx]"
    raise InfluxRequestError(msg)


class _Base:
    """Queries, and the search for the bad lines of a refused batch; `_post` differs by version."""

    def __init__(self, target: Target) -> None:
        self._client = http_client(target)

    def write(self, retention: Retention, lines: Sequence[str]) -> list[Refused]:
        """Store lines, `BATCH_LINES` per request."""
        refused: list[Refused] = []
        for start in range(0, len(lines), BATCH_LINES):
            refused += self._store(retention, lines[start : start + BATCH_LINES])
        return refused

    def _store(self, retention: Retention, lines: Sequence[str]) -> Iterator[Refused]:
        """Halve a refused batch until the bad lines stand alone: writing a good one twice changes nothing."""
        try:
            self._post(retention, "\n".join(lines).encode())
        except InfluxRequestError as error:
            dropped = _DROPPED.search(error.reason)
            if len(lines) == 1 or (dropped is not None and int(dropped[1]) == len(lines)):
                yield from (Refused(line, error.reason) for line in lines)
            else:
                half = len(lines) // 2
                yield from self._store(retention, lines[:half])
                yield from self._store(retention, lines[half:])

    def _post(self, retention: Retention, body: bytes) -> None:
        raise NotImplementedError

    def query(self, retention: Retention, influxql: str) -> list[Row]:
        """The rows of one statement, tags and columns together."""
        params = {"db": DATABASE, "rp": retention, "q": influxql, "epoch": "ms"}
        [result] = request(self._client, "GET", "/query", params=params).json()["results"]
        if "error" in result:
            raise judged(httpx.codes.BAD_REQUEST, json.dumps(result), str(self._client.base_url))
        return [
            dict(zip(found["columns"], values, strict=True)) | found.get("tags", {})
            for found in result.get("series", [])
            for values in found["values"]
        ]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class WriterV1(_Base):
    """InfluxDB 1.x."""

    def _post(self, retention: Retention, body: bytes) -> None:
        params = {"db": DATABASE, "rp": retention, "precision": "ms"}
        headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain; charset=utf-8"}
        packed = gzip.compress(body, GZIP_LEVEL, mtime=0)
        request(self._client, "POST", "/write", params=params, content=packed, headers=headers)


class WriterV2(_Base):
    """InfluxDB 2.x and 3.x, and whatever speaks `/api/v2/write`."""

    def __init__(self, target: Target) -> None:
        from influxdb_client.client.influxdb_client import InfluxDBClient  # noqa: PLC0415  1.x goes without it
        from influxdb_client.client.write_api import SYNCHRONOUS  # noqa: PLC0415
        from influxdb_client.domain.write_precision import WritePrecision  # noqa: PLC0415

        super().__init__(target)
        self._org, self._target = target.org or DATABASE, target
        self._influx = InfluxDBClient(
            url=target.url, token=target.secret, org=self._org, enable_gzip=True, timeout=int(TIMEOUT_S * 1000),
            ssl_ca_cert=target.ca_file or None,
        )  # fmt: skip
        self._precision = WritePrecision.MS
        self._write_api = self._influx.write_api(write_options=SYNCHRONOUS)

    def _post(self, retention: Retention, body: bytes) -> None:
        from influxdb_client.rest import ApiException  # noqa: PLC0415
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        try:
            self._write_api.write(f"{DATABASE}/{retention}", self._org, body, write_precision=self._precision)  # type: ignore[arg-type]  # its constants are strings
        except ApiException as error:
            body_text = (
                error.body.decode("utf-8", "replace")
                if isinstance(error.body, bytes)
                else str(error.body or "")
            )
            said = without(body_text, self._target.secret)
            raise judged(error.status or 500, said, self._target.url) from None  # it holds the server's words
        except HTTPError as error:
            msg = f"{self._target.url}: {without(str(error), self._target.secret)}"
            raise InfluxDownError(msg) from None

    def close(self) -> None:
        """Close the connections."""
        super().close()
        self._influx.close()  # type: ignore[no-untyped-call]


def connect(target: Target) -> WriterV1 | WriterV2:
    """The writer for the server's version."""
    return WriterV1(target) if major_of(target) == "1" else WriterV2(target)
