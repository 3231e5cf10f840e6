"""What the projector needs on a server: database and retention policies (1.x), buckets and DBRP mappings (2.x), databases (3.x).

Every function may be run again: it makes what is missing, corrects a retention, and says what it did.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec

from storage.influx import (
    DATABASE,
    RETENTIONS,
    InfluxRequestError,
    Major,
    Retention,
    Target,
    detect,
    http_client,
    judged,
    major_of,
    refusal,
    request,
)

_SHARDS = {"live": "1d", "history": "4w"}
"""Small enough to drop a day at a time; large enough that years of history open few files."""
_DAY_S = 24 * 3600
_DEFAULT: Retention = "history"
"""Where a query looks that names no policy."""


class Found(msgspec.Struct, frozen=True, gc=False):
    """What a server is, and what it lacks."""

    version: str
    major: Major
    missing: list[str]


def examine(target: Target) -> Found:
    """The server's version, and what `init` would do. Changes nothing. Raises the errors of `storage.influx`."""
    major = major_of(target)
    with http_client(target) as client:
        return Found(detect(target), major, [what for what, _ in _STEPS[major](client, target)])


def init(target: Target) -> list[str]:
    """Make what is missing; what was done, nothing when all was there."""
    done = []
    with http_client(target) as client:
        for what, call in _STEPS[major_of(target)](client, target):
            request(client, **call)
            done.append(what)
    return done


Step = tuple[str, dict[str, Any]]
"""What a request does, in words, and the request."""


def _steps_v1(client: httpx.Client, _target: Target) -> Iterator[Step]:
    names = [row[0] for row in _influxql(client, "SHOW DATABASES")]
    if DATABASE not in names:
        text = f'CREATE DATABASE "{DATABASE}" WITH DURATION INF REPLICATION 1 SHARD DURATION {_SHARDS["history"]} NAME "history"'
        yield f"database {DATABASE} with retention policy history, for ever", _statement(text)
        policies = {"history": "0s"}
    else:
        policies = {row[0]: row[1] for row in _influxql(client, f'SHOW RETENTION POLICIES ON "{DATABASE}"')}
    for name, seconds in RETENTIONS.items():
        wanted = f"{seconds // 3600}h0m0s" if seconds else "0s"
        if policies.get(name) != wanted:
            verb = "ALTER" if name in policies else "CREATE"
            duration = f"{seconds // 3600}h" if seconds else "INF"
            options = f"DURATION {duration} REPLICATION 1 SHARD DURATION {_SHARDS[name]}"
            text = f'{verb} RETENTION POLICY "{name}" ON "{DATABASE}" {options}'
            yield f"retention policy {name}, {_kept(seconds)}", _statement(text)


def _influxql(client: httpx.Client, statement: str) -> list[list[Any]]:
    [result] = request(client, "GET", "/query", params={"q": statement}).json()["results"]
    if "error" in result:
        raise judged(httpx.codes.BAD_REQUEST, str(result["error"]), str(client.base_url))
    return [row for found in result.get("series", []) for row in found.get("values", [])]


def _statement(text: str) -> dict[str, Any]:
    return {"method": "POST", "path": "/query", "data": {"q": text}}


def _kept(seconds: int) -> str:
    return f"{seconds // _DAY_S} days" if seconds else "for ever"


def _steps_v2(client: httpx.Client, target: Target) -> Iterator[Step]:
    """Mappings come after their bucket exists: run to its end, each request is made before the next is asked for."""
    org = _org_id(client, target)
    for name, seconds in RETENTIONS.items():
        rules = [{"type": "expire", "everySeconds": seconds}] if seconds else []
        bucket = _bucket(client, org, name)
        body: dict[str, Any] = {"retentionRules": rules}
        if bucket is None:
            body |= {"orgID": org, "name": f"{DATABASE}/{name}"}
            yield (
                f"bucket {DATABASE}/{name}, {_kept(seconds)}",
                {"method": "POST", "path": "/api/v2/buckets", "json": body},
            )
        elif _kept_s(bucket) != seconds:
            path = f"/api/v2/buckets/{bucket['id']}"
            yield (
                f"retention of bucket {DATABASE}/{name}: {_kept(seconds)}",
                {"method": "PATCH", "path": path, "json": body},
            )
        yield from _mapping(client, org, name)


def _kept_s(bucket: dict[str, Any]) -> int:
    """For ever is no rule, or, as 2.9 writes it, a rule of 0 seconds."""
    return sum(int(rule.get("everySeconds", 0)) for rule in bucket.get("retentionRules", []))


def _mapping(client: httpx.Client, org: str, name: Retention) -> Iterator[Step]:
    """The DBRP mapping that InfluxQL needs, when it is not there.

    A server answers by itself for a bucket named `database/policy`, but such a virtual mapping is never the default one, and a
    query that names no policy, as a list of tag values does, finds nothing.
    """
    path, params = "/api/v2/dbrps", {"orgID": org, "db": DATABASE, "rp": name}
    found = request(client, "GET", path, params=params).json().get("content", [])
    bucket = _bucket(client, org, name)
    place = bucket["id"] if bucket else ""
    known = [item for item in found if item["bucketID"] == place and not item.get("virtual")]
    default = name == _DEFAULT
    if known and (known[0].get("default", False) or not default):
        return
    what = f"DBRP mapping {DATABASE}/{name}" + (", the default" if default else "")
    if known:
        one, body = f"{path}/{known[0]['id']}", {"default": True}
        yield what, {"method": "PATCH", "path": one, "params": {"orgID": org}, "json": body}
    else:
        names = {"database": DATABASE, "retention_policy": name, "default": default}
        yield what, {"method": "POST", "path": path, "json": {"orgID": org, "bucketID": place, **names}}


def _org_id(client: httpx.Client, target: Target) -> str:
    name = target.org or DATABASE
    found = request(client, "GET", "/api/v2/orgs", params={"org": name}).json().get("orgs", [])
    if not found:
        msg = f"there is no organization {name!r}; set org in [influx]"
        raise InfluxRequestError(msg)
    return str(found[0]["id"])


def _bucket(client: httpx.Client, org: str, name: Retention) -> dict[str, Any] | None:
    """A server answers 404 or an empty list for a name it does not know."""
    answer = client.get("/api/v2/buckets", params={"orgID": org, "name": f"{DATABASE}/{name}"})
    if answer.is_error and answer.status_code != httpx.codes.NOT_FOUND:
        raise judged(answer.status_code, refusal(answer), str(client.base_url))
    found: list[dict[str, Any]] = answer.json().get("buckets", [])
    return found[0] if found else None


def _steps_v3(client: httpx.Client, _target: Target) -> Iterator[Step]:
    path = "/api/v3/configure/database"
    rows = request(client, "GET", path, params={"format": "json", "show_deleted": "false"}).json()
    names = {row["iox::database"] for row in rows}
    for name, seconds in RETENTIONS.items():
        database = f"{DATABASE}/{name}"
        if database not in names:
            body = {"db": database} | ({"retention_period": f"{seconds // _DAY_S}d"} if seconds else {})
            yield f"database {database}, {_kept(seconds)}", {"method": "POST", "path": path, "json": body}


_STEPS = {"1": _steps_v1, "2": _steps_v2, "3": _steps_v3}
