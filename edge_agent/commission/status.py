"""What a gateway holds: its outbox, looked at from outside, whether the agent runs or not. Never written to."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from edge_agent.outbox import SCHEMA_VERSION, OutboxError

_MOST_SEARCHED = 50_000
"""Frames looked through for each meter's newest: weeks, and a second or two on an SD card."""


class NewestFrame(msgspec.Struct, frozen=True):
    """The newest frame of a meter that is still found; nothing when there is none."""

    meter: str
    number: int | None = None
    t_ms: int | None = None


class OutboxStatus(msgspec.Struct, frozen=True):
    """One look at an outbox."""

    epoch: int
    journal_id: str
    last: int
    """Highest number given."""
    acked: int
    """The server has everything up to here. Written with each poll, so it may lag by one."""
    backlog: int
    """Frames that the server does not have yet."""
    oldest_unacked_ms: int | None
    polled_ms: int | None
    """Time of the newest poll that is on disk."""
    bytes: int
    max_bytes: int
    meters: list[NewestFrame]


def outbox_status(path: Path, max_bytes: int, meters: Sequence[str]) -> OutboxStatus:
    """Look at an outbox; FileNotFoundError when there is none yet, OutboxError when it cannot be read."""
    if not path.exists():
        raise FileNotFoundError(2, "no outbox yet", str(path))
    try:
        with _reading(path) as db:
            return _status(db, path, max_bytes, meters)
    except sqlite3.Error as error:
        msg = f"{path}: the outbox cannot be read ({error}); read it as the agent's user or as root"
        raise OutboxError(msg) from error


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    # Without a log nobody has it open. Then it is opened as immutable: to open it otherwise would create log files
    # that belong to whoever looks, and that the agent may not be allowed to write.
    mode = "mode=ro" if _log_of(path).exists() else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=10)) as db:
        db.execute("BEGIN")
        yield db


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _status(db: sqlite3.Connection, path: Path, max_bytes: int, meters: Sequence[str]) -> OutboxStatus:
    version = _number(db, "PRAGMA user_version")
    if version != SCHEMA_VERSION:
        raise OutboxError(f"{path}: schema version {version}, this release reads {SCHEMA_VERSION}")
    meta = dict(db.execute("SELECT key, value FROM meta"))
    acked = int(meta.get("acked", 0))
    last = max(_number(db, "SELECT max(number) FROM frame"), int(meta.get("last", 0)), acked)
    oldest = db.execute(
        "SELECT t_ms FROM frame WHERE number > ? ORDER BY number LIMIT 1", (acked,)
    ).fetchone()
    log = _log_of(path)
    return OutboxStatus(
        epoch=int(meta.get("epoch", 0)),
        journal_id=str(meta.get("journal_id") or ""),
        last=last,
        acked=acked,
        backlog=last - acked,
        oldest_unacked_ms=oldest[0] if oldest else None,
        polled_ms=meta.get("polled_ms"),
        bytes=path.stat().st_size + (log.stat().st_size if log.exists() else 0),
        max_bytes=max_bytes,
        meters=_newest(db, meters),
    )


def _number(db: sqlite3.Connection, query: str) -> int:
    return int(db.execute(query).fetchone()[0] or 0)


def _newest(db: sqlite3.Connection, meters: Sequence[str]) -> list[NewestFrame]:
    """Backwards from the newest frame until every meter has been seen."""
    meter_of = dict(db.execute("SELECT id, meter FROM declaration"))
    found: dict[str, NewestFrame] = {}
    query = "SELECT number, declaration, t_ms FROM frame ORDER BY number DESC LIMIT ?"
    for number, declaration, t_ms in db.execute(query, (_MOST_SEARCHED,)):
        meter = meter_of[declaration]
        found.setdefault(meter, NewestFrame(meter, number, t_ms))
        if found.keys() >= set(meters):
            break
    return [found.get(meter, NewestFrame(meter)) for meter in meters]
