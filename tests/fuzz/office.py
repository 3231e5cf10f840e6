"""Doors of the office: sheets and forms of facts, calendars of tariffs, frames on a stick, and every body that the API takes."""

import asyncio
import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import cycle

import httpx
import msgspec
from fastapi import FastAPI

from api.app import create_app
from factors.table import FactorDataError, bundled_data
from factors.tariffs import read_tariffs
from ingest.importer import import_file
from metering.registry import Park
from storage.errors import StoreError
from storage.facts import sheets
from storage.facts.fact import Fact
from storage.facts.judge import mistakes
from storage.facts.kinds import KINDS
from storage.facts.state import Facts
from storage.segment import pack
from tests.api.conftest import NOW_MS, write_park
from tests.fuzz.files import kept, scratch
from tests.ingest import gateway as said

_LEAST: dict[str, dict[str, str]] = {
    "bill": {"enterprise": "ent-a", "number": "1", "meter": "a-in", "start": "2026-09-25", "end": "2026-10-25", "opening": "10",
             "closing": "20", "multiplier": "80", "billed": "800"},
    "certificate": {"enterprise": "ent-a", "first": "GEC0001", "last": "GEC0010", "production_month": "2026-09",
                    "status": "retired", "month": "2026-10"},
    "energy": {"enterprise": "ent-a", "month": "2026-10", "energy": "diesel", "unit": "t", "consumed": "1.5"},
    "substitution": {"meter": "a-in", "start": "2026-10-28T09:00", "end": "2026-11-01T00:00", "energy": "812.5",
                     "method": "check_meter", "reason": "meter burnt", "evidence_sha256": "0" * 64},
    "substitution_approval": {"meter": "a-in", "start": "2026-10-28T09:00", "substitution_sha256": "0" * 64},
    "tariff": {"enterprise": "ent-a", "valid_from": "2026-01-01", "calendar": "CN-AH-2024"},
}  # fmt: skip
"""A row of some kinds."""


@cache
def _office() -> tuple[Facts, FastAPI, str]:
    """Some facts, and an API with a key for everything."""
    folder = scratch() / "park"
    folder.mkdir()
    files = write_park(folder)
    app = create_app(files.settings(requests_per_s=1e9), lambda: NOW_MS)
    key = files.key(("operator", "*"), ("regulator", "*"), ("administrator", "*"), ("verifier", "*"))
    facts = Facts(tuple(_facts_of(_LEAST)))
    return facts, app, key


def _facts_of(rows: dict[str, dict[str, str]]) -> Iterator[Fact]:
    for kind, row in rows.items():
        with suppress(ValueError):
            yield KINDS[kind].model_validate(row)


def _park() -> Park:
    park: Park = _office()[1].state.sources.park
    return park


# Sheets


def _read(data: bytes, name: str) -> None:
    """What is read is judged; what is refused is refused with words."""
    with suppress(sheets.RefusedError):
        rows = sheets.read(kept(data, name))
        sheets.parse(name, rows, _office()[0], _park())


def fact_csv(data: bytes) -> None:
    """A sheet of facts as CSV, of the kind that its first byte says."""
    kinds = sorted(KINDS)
    _read(data[1:], f"{kinds[(data[0] if data else 0) % len(kinds)]}.csv")


def csv_seeds() -> list[bytes]:
    """Each kind's head, with a row where one is known."""
    return [bytes([i]) + _csv(kind) for i, kind in enumerate(sorted(KINDS))]


def _csv(kind: str) -> bytes:
    return sheets.export_csv(KINDS[kind], _facts_of({kind: _LEAST[kind]} if kind in _LEAST else {}))


@cache
def _book() -> tuple[dict[str, bytes], str]:
    """The parts of a workbook, and the name of its one sheet."""
    data = sheets.export_workbook(Facts(tuple(_facts_of(_LEAST))), ("energy",))
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        return {name: book.read(name) for name in book.namelist()}, "xl/worksheets/sheet1.xml"


def fact_workbook(data: bytes) -> None:
    """A workbook with one part replaced."""
    parts, _sheet = _book()
    names = sorted(parts)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        for i, name in enumerate(names):
            book.writestr(name, data[1:] if i == (data[0] if data else 0) % len(names) else parts[name])
    _read(out.getvalue(), "facts.xlsx")


def sheet_seeds() -> list[bytes]:
    """The parts as they are."""
    parts, _sheet = _book()
    return [bytes([i]) + parts[name] for i, name in enumerate(sorted(parts))]


def fact_json(data: bytes) -> None:
    """Facts as the API takes them, without HTTP around them."""
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(plain, dict) and (kind := KINDS.get(str(plain.pop("kind", "")))):
        with suppress(ValueError):
            facts, park = _office()[0], _park()
            mistakes([kind.model_validate(plain)], facts, park)


def json_seeds() -> list[bytes]:
    """A fact of each known kind."""
    return [json.dumps({"kind": kind, **row}).encode() for kind, row in _LEAST.items()]


def tariff_file(data: bytes) -> None:
    """The calendars of tariffs."""
    with suppress(FactorDataError, UnicodeDecodeError):
        read_tariffs(data.decode("utf-8"), "tariffs.toml")


def tariff_seeds() -> list[bytes]:
    """Those that come with the program, one by one."""
    text = (bundled_data() / "tariffs.toml").read_text(encoding="utf-8")
    return [f"[[tariff]]{part}".encode() for part in text.split("[[tariff]]")[1:]]


# Frames on a stick


def journal_import(data: bytes) -> None:
    """A file of `tanyun edge export`: its records, or the whole of it."""
    body = _head() + data[1:] if data[:1] == b"\0" else data[1:]
    raw = gzip.compress(body, 1) if data[:1] != b"\2" else body
    journal = scratch() / "import.db"
    with suppress(StoreError):
        import_file(kept(raw, "frames.gz"), said.PARK, journal, lambda: said.NOW_MS)


def _head() -> bytes:
    head = {
        "format": "tanyun frames 1",
        "park": said.PARK.id,
        "gateway": "gw",
        "epoch": 1,
        "first": 1,
        "last": 3,
    }
    return msgspec.json.encode(head) + b"\n"


def export_seeds() -> list[bytes]:
    """Records behind a good head, a whole file, and one that is packed already."""
    records = b"".join(map(pack, [*said.births("m"), said.frame(1), said.frame(2)]))
    return [b"\0" + records, b"\1" + _head() + records, b"\2" + gzip.compress(_head() + records)]


# The API

_DECISION = {"reason": "r", "check": "V06", "file_sha256": "", "file_name": "a.pdf"}
_BODIES: tuple[tuple[str, str, object], ...] = (
    ("PUT", "facts", {"why": "w", "facts": [{"kind": "energy", **_LEAST["energy"]}]}),
    ("POST", "session", {"name": "ann", "password": "p", "code": "123456"}),
    ("POST", "session/password", {"old": "a", "new": "b"}),
    ("POST", "enrol", {"secret": "0" * 32}),
    ("POST", "forms/2026-10/ent-a", {"output_10k_cny": "1", "bill_number": "1", "bill_start": "2026-09-25"}),
    ("POST", "months/2026-10/enterprise/ent-a/answer", _DECISION),
    ("POST", "months/2026-10/enterprise/ent-a/review/approve", _DECISION),
    ("POST", "uploads/files?name=a.pdf", "%PDF-1.7"),
    ("POST", "restatements/0123456789abcdef/approve", {}),
    ("POST", "session/code", {"name": "ann", "code": "abcd-efgh", "password": "long enough to be one"}),
    ("POST", "users", {"name": "li", "grants": [{"role": "verifier", "tenant": "*"}], "subject": "s"}),
    ("PUT", "users/li/grants", {"grants": [{"role": "operator", "tenant": "ent-a"}]}),
    ("PUT", "users/li/disabled", {"disabled": True}),
    ("POST", "keys", {"label": "l", "grants": [], "permissions": ["data.view"], "days": 1}),
)
_NOT_HANDED_OVER = 503


def api_bodies(data: bytes) -> None:
    """Any bytes as the body of any request: an answer, never a failure of ours."""
    method, path, _good = _BODIES[(data[0] if data else 0) % len(_BODIES)]
    answer = asyncio.run(_ask(method, path, data[1:]))
    assert answer.status_code < 500 or answer.status_code == _NOT_HANDED_OVER, (path, answer.text)


async def _ask(method: str, path: str, body: bytes) -> httpx.Response:
    _facts, app, key = _office()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://api", headers=headers
    ) as http:
        return await http.request(method, f"/api/v1/{path}", content=body)


def body_seeds() -> list[bytes]:
    """A good body for each, and some that no JSON reader likes."""
    deep = b"[" * 4000
    bodies = [json.dumps(good).encode() for _method, _path, good in _BODIES]
    odd = (deep, b'{"facts":' + deep, b'{"why": 1e999}', b'{"why": ' + b"9" * 4000 + b"}", b'"\\ud800"')
    numbers = cycle(range(len(_BODIES)))
    return [bytes([i]) + body for i, body in enumerate(bodies)] + [
        bytes([next(numbers)]) + body for body in odd for _body in _BODIES
    ]
