"""Restating months: one cause, many months, one approval and one summary of what differs. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Literal, get_args

import msgspec

from metering.i18n import N_
from storage.months import MonthRow
from verification.accounting.history import purchased_of
from verification.changes import differences
from verification.document import Change, MonthDocument, exact_decimal, parse

SCHEMA = "tanyun-restatement/1"
Code = Literal[
    "ct_corrected",
    "late_data",
    "meter_exchange",
    "substitution",
    "late_certificate",
    "factor_notice",
    "registry_corrected",
    "other",
]
CODES: tuple[str, ...] = get_args(Code)
CODE_LABELS: Mapping[str, tuple[str, str]] = {
    "ct_corrected": ("互感器变比更正", N_("transformer ratio corrected")),
    "late_data": ("迟到数据", N_("late data")),
    "meter_exchange": ("换表", N_("meter exchanged")),
    "substitution": ("数据替代", N_("energy substituted")),
    "late_certificate": ("迟到凭证", N_("late certificate")),
    "factor_notice": ("新因子公告", N_("new factor notice")),
    "registry_corrected": ("登记信息更正", N_("registry corrected")),
    "other": ("其他", N_("other")),
}


class Figure(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A headline figure before and after; the difference is exact."""

    name: str
    old: str | None
    new: str | None
    difference: str | None


class Restated(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One month of one scope: from which revision to which, its headline, and every line that differs."""

    month: str
    scope_kind: str
    scope_id: str
    old_revision: int
    old_digest: str
    new_revision: int
    new_digest: str
    figures: tuple[Figure, ...]
    changes: tuple[Change, ...]


class Restatement(msgspec.Struct, frozen=True, kw_only=True):
    """The summary of one cause: what an approver signs."""

    schema: str
    code: str
    note: str
    months: tuple[Restated, ...]
    totals: tuple[Figure, ...]
    """Over all months of the enterprises; the park's own document is not added to them."""

    @property
    def cause(self) -> str:
        """Names the restatement: begins its SHA-256."""
        return hashlib.sha256(canonical(self)).hexdigest()[:16]


def canonical(restatement: Restatement) -> bytes:
    """Its bytes: UTF-8 JSON, keys sorted."""
    return msgspec.json.encode(restatement, order="sorted")


def reason(code: str, note: str) -> str:
    """The reason as a revision carries it."""
    return f"{code}：{note}" if note else code


def reason_text(said: str) -> str:
    """A revision's reason for people: a code is told in words before it."""
    code, colon, note = said.partition("：")
    return f"{CODE_LABELS[code][0]} {code}{colon}{note}" if code in CODE_LABELS else said


def restatement(code: str, note: str, pairs: Iterable[tuple[MonthRow, MonthRow]]) -> Restatement:
    """The summary of (old, new) revisions; ValueError for an unknown code or a pair of different months."""
    if code not in CODES:
        raise ValueError(f"{code!r} is none of {', '.join(CODES)}")
    months = tuple(compare(old, new) for old, new in pairs)
    return Restatement(schema=SCHEMA, code=code, note=note, months=months, totals=tuple(_totals(months)))


def compare(old: MonthRow, new: MonthRow) -> Restated:
    """Two revisions of one month, line by line. ValueError when they are not of one month, or not in order."""
    if (old.month, old.scope_kind, old.scope_id) != (
        new.month,
        new.scope_kind,
        new.scope_id,
    ) or old.revision >= new.revision:
        raise ValueError("two revisions of the same month are needed, the older one first")
    before, after = parse(old.document), parse(new.document)
    return Restated(
        month=old.month,
        scope_kind=old.scope_kind,
        scope_id=old.scope_id,
        old_revision=old.revision,
        old_digest=old.digest,
        new_revision=new.revision,
        new_digest=new.digest,
        figures=tuple(_figures(before, after)),
        changes=differences(before, after),
    )


def headline(document: MonthDocument) -> dict[str, str | None]:
    """The figures that a summary adds up: exact, in base units, grams of coal and micrograms."""
    primary = next((t.including_ug for t in document.totals if t.primary), None)
    if not document.totals:
        primary = next((e.emission_ug for e in document.emissions if e.primary), None)
    coal = (
        document.energy_total.standard_coal_kgce
        if document.energy_total
        else document.energy.standard_coal_kgce
    )
    return {"purchased_wh": purchased_of(document), "standard_coal_kgce": coal, "emission_ug": primary}


def _figures(before: MonthDocument, after: MonthDocument) -> Iterable[Figure]:
    old, new = headline(before), headline(after)
    return (_figure(name, old[name], new[name]) for name in old)


def _figure(name: str, old: str | None, new: str | None) -> Figure:
    known = old is not None and new is not None
    difference = _text(Fraction(new or "0") - Fraction(old or "0")) if known else None
    return Figure(name=name, old=old, new=new, difference=difference)


def _totals(months: tuple[Restated, ...]) -> Iterable[Figure]:
    own = [m for m in months if m.scope_kind == "enterprise"]
    names = [figure.name for figure in own[0].figures] if own else []
    for at, name in enumerate(names):
        figures = [m.figures[at] for m in own]
        yield _figure(name, _sum([f.old for f in figures]), _sum([f.new for f in figures]))


def _sum(values: list[str | None]) -> str | None:
    known = [Fraction(value) for value in values if value is not None]
    return _text(sum(known, Fraction(0))) if len(known) == len(values) else None


def _text(value: Fraction) -> str:
    """An integer, or a decimal: sums of decimals have finitely many digits."""
    return exact_decimal(value)
