"""Closed months: every revision as its frozen document says, and what changed from one to the next.

A document's stamp is its month's start; a revision's that plus its number, because several revisions of a month stand side by side.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from metering.periods import Period
from storage.line_protocol import Field, point, series
from storage.months import MonthRow
from stream.projection.schema import GRAM, MOST_KINDS, NO_CALENDAR, Tags

OUTCOMES = ("PASS", "PASS_WITH_FINDINGS", "FAIL", "INSUFFICIENT_DATA")
"""Their places are the field's values."""
_METHOD_OF_USE = {"enterprise": "national", "park": "provincial"}
_SAYS_NOTHING = {"PASS", "NOT_DUE"}
_ACCOUNTS = ("direct", "electricity", "heat", "excluding", "including")
"""Parts of an account: without and with purchased electricity and heat are the last two."""
MOST_CHANGES = 900
"""Changed figures of one revision that are shown; all are counted, and the report has them all."""
_PER_REVISION = 1_000
Document = dict[str, Any]
Fields = list[tuple[str, Field]]


def closed(tags: Tags, row: MonthRow) -> Iterator[str]:
    """The lines of a month's newest revision."""
    document: Document = msgspec.json.decode(row.document)
    formula = {term["role"] for term in document["formula"]}
    totals = [m for m in document["meters"] if m["role"] in formula and m["unit"] == "Wh"]
    common: Fields = [
        ("closed", 1), ("revision", row.revision), ("outcome", OUTCOMES.index(row.outcome)),
        ("completeness", _completeness(totals)),
        ("findings", sum(check["outcome"] not in _SAYS_NOTHING for check in document["checks"])),
        ("estimated_wh", sum(int(m["estimated_wh"]) for m in totals)), ("substituted_wh", _substituted(document)),
    ]  # fmt: skip
    for line in document["emissions"]:
        key = tags.boundary("month", row.scope_kind, row.scope_id, _METHOD_OF_USE[line["use"]])
        yield from _line(key, [*common, *_figures(line)], document["start_ms"])
    yield from _accounts(row, document)
    yield from _kinds(row, document)
    yield from _periods(row, document)


def _substituted(document: Document) -> int:
    """What two people wrote down for time that nothing measured (数据替代); it is in the energy and the emission beside it."""
    return next(
        (int(line["substituted"]) for line in document.get("reported", []) if line["id"] == "purchased_wh"), 0
    )


def _figures(line: Document) -> Fields:
    return [("energy_wh", _number(line["energy_wh"])), ("emission_g", _number(line["emission_ug"], GRAM))]


def _accounts(row: MonthRow, document: Document) -> Iterator[str]:
    """Fuels, electricity and heat under each method, market-based among them, where the month has an account."""
    for account in document.get("totals", []):
        names = {"scope_kind": row.scope_kind, "scope": row.scope_id, "method": account["use"]}
        fields: Fields = [(f"{part}_g", _number(account[f"{part}_ug"], GRAM)) for part in _ACCOUNTS]
        yield from _line(series("account", names), fields, document["start_ms"])


def _kinds(row: MonthRow, document: Document) -> Iterator[str]:
    """Kinds of energy and intensities: ids of the accounting rules, at most so many of each that series stay bounded."""
    scope = {"scope_kind": row.scope_kind, "scope": row.scope_id}
    for kind in document.get("energy_types", [])[:MOST_KINDS]:
        fields: Fields = [
            ("consumed", _amount(kind["consumed"])), ("standard_coal_kg", _amount(kind["standard_coal_kgce"])),
        ]  # fmt: skip
        yield from _line(series("energy_type", scope | {"kind": kind["id"]}), fields, document["start_ms"])
    for found in document.get("intensities", [])[:MOST_KINDS]:
        fields = [("value", _amount(found["value"])), ("target", _amount(found.get("target")))]
        yield from _line(series("intensity", scope | {"kind": found["id"]}), fields, document["start_ms"])


def _periods(row: MonthRow, document: Document) -> Iterator[str]:
    """The scope's energy by time-of-use period. All periods, so that a revision leaves nothing of the one before."""
    found = {line["period"]: line for line in document.get("periods", []) if not line["meter"]}
    for period in (*Period, "") if found else ():
        line = found.get(period, {"energy_wh": "0", "estimated_wh": "0", "share": "0"})
        fields: Fields = [
            ("energy_wh", _number(line["energy_wh"])), ("estimated_wh", _number(line["estimated_wh"])),
            ("share", _amount(line["share"])),
        ]  # fmt: skip
        names = {"scope_kind": row.scope_kind, "scope": row.scope_id, "kind": period or NO_CALENDAR}
        yield from _line(series("period", names), fields, document["start_ms"])


def revised(row: MonthRow, before: MonthRow | None) -> Iterator[str]:
    """A revision, its figures beside those of the one before, and every figure that changed."""
    document: Document = msgspec.json.decode(row.document)
    names = {"scope_kind": row.scope_kind, "scope": row.scope_id}
    now, then = _primary(document), _primary(msgspec.json.decode(before.document)) if before else {}
    changes = document.get("changes", [])
    fields: Fields = [
        ("revision", row.revision), ("outcome", OUTCOMES.index(row.outcome)), ("closed_at_ms", row.closed_at_ms),
        ("changes", len(changes)), ("reason", row.reason), *now.items(),
    ]  # fmt: skip
    for name, value in now.items():
        old = then.get(name)
        fields += [(f"{name}_change", value - old)] if value is not None and old is not None else []
    yield from _line(series("revision", names), fields, document["start_ms"] + row.revision)
    at = document["start_ms"] + row.revision * _PER_REVISION
    for i, change in enumerate(changes[:MOST_CHANGES]):
        texts: Fields = [(name, change[name]) for name in ("path", "old", "new")]
        yield from _line(series("change", names), [("revision", row.revision), *texts], at + i)


def _primary(document: Document) -> dict[str, float | None]:
    """Energy and emission under the factor that counts for the scope."""
    found = document["emissions"]
    line = next((line for line in found if line.get("primary")), found[0] if found else None)
    return (
        {} if line is None else {name: value for name, value in _figures(line) if not isinstance(value, str)}
    )


def _completeness(totals: Iterable[Document]) -> float | None:
    lines = list(totals)
    expected = sum(line["points_expected"] for line in lines)
    return sum(line["points_read"] for line in lines) / expected if expected else None


def _number(text: str | None, per: int = 1) -> float | None:
    return None if text is None else int(text) / per


def _amount(text: str | None) -> float | None:
    """A decimal, or a ratio `1/3`."""
    if not text:
        return None
    above, _, below = text.partition("/")
    return float(above) / float(below or 1)


def _line(key: str, fields: Fields, t_ms: int) -> Iterator[str]:
    line = point(key, fields, t_ms)
    if line is not None:
        yield line
