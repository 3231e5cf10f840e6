"""Whether a role in its container works: `healthcheck.py ingest|stream|checks|projector|delivery|api`. Exit code 0 or 1, and one sentence.

Ingest and the projector hold a connection to their server; the stream's ledger and the store of deliveries can be read;
the open month was checked within three hours; the API answers.
"""

# ruff: noqa: INP001  a script of the image, in no package

import sqlite3
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CONFIG = Path("/config/server.toml")
_ESTABLISHED = "01"
_SOCKETS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
CHECKED_S = 3 * 3600
"""The open month is checked every hour."""
Config = dict[str, Any]


def connected_ports(tables: Iterator[str]) -> set[int]:
    """Remote ports of established connections in the text of /proc/net/tcp."""
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return {int(row[2].rpartition(":")[2], 16) for row in rows if row[3] == _ESTABLISHED}


def ingest(config: Config) -> str | None:
    """Connected to the broker."""
    port = config["broker"]["port"]
    texts = (file.read_text(encoding="ascii") for file in _SOCKETS if file.exists())
    return None if port in connected_ports(texts) else f"no connection to the broker's port {port}"


def stream(config: Config) -> str | None:
    """The ledger can be read."""
    return _asked(config, "ledger.db", "SELECT count(*) FROM sqlite_master")[1]


def checks(config: Config) -> str | None:
    """The open month was checked lately. Before there is a ledger nothing can be."""
    if not Path(config["data"], "checks.db").exists():
        return None
    newest, fault = _asked(config, "checks.db", "SELECT max(at_ms) FROM daily")
    if fault is None and newest and time.time() - newest / 1000 > CHECKED_S:
        return f"the open month was not checked for {CHECKED_S // 3600} hours"
    return fault


def delivery(config: Config) -> str | None:
    """What was delivered can be read, once there is anything."""
    if not Path(config["data"], "deliveries.db").exists():
        return None
    return _asked(config, "deliveries.db", "SELECT count(*) FROM sqlite_master")[1]


def _asked(config: Config, store: str, query: str) -> tuple[Any, str | None]:
    """The answer of a store, or what is wrong with it."""
    try:
        opened = sqlite3.connect(f"file:{config['data']}/{store}?mode=ro", uri=True, timeout=5)
        answer = opened.execute(query).fetchone()[0]
        opened.close()
    except sqlite3.Error as error:
        return None, f"{store} cannot be read: {error}"
    return answer, None


def projector(config: Config) -> str | None:
    """InfluxDB answers."""
    return _answers(config["influx"]["url"].rstrip("/") + "/ping")


def api(config: Config) -> str | None:
    """The API answers."""
    return _answers(f"http://127.0.0.1:{config['api']['port']}/api/v1/health/live")


def _answers(url: str) -> str | None:
    if urlsplit(url).scheme not in {"http", "https"}:
        return f"{url} is no web address"
    try:
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310  the scheme is checked above
    except urllib.error.HTTPError as error:
        return None if error.code < 500 else f"{url} answers {error.code}"  # noqa: PLR2004  server errors
    except OSError as error:
        return f"{url} does not answer: {error}"
    return None


ROLES: dict[str, Callable[[Config], str | None]] = {
    "ingest": ingest,
    "stream": stream,
    "checks": checks,
    "projector": projector,
    "delivery": delivery,
    "api": api,
}


def main(role: str) -> int:
    """Judge a role."""
    fault = ROLES[role](tomllib.loads(CONFIG.read_text(encoding="utf-8")))
    sys.stdout.write(f"{fault or 'ok'}\n")
    return 1 if fault else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
