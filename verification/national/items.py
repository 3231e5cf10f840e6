"""Daily and monthly items of a closed month, by the public field names of the system's interface. Pure.

Field names and number codes are those that a province's client sends (发改环资〔2017〕1711号, 技术规范 第6部分; transcribed from one
dump, not checked against an official original). Code tables are not public: every `dataCode` comes from the operator's own list.
A figure that is not known makes no item, and is named; it is never sent as zero.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec
from pydantic import Field, model_validator

from metering.config import Id, Strict, load_toml
from metering.i18n import _
from verification.document import MonthDocument

DAY, MONTH = 1, 2
"""statType."""
_TO: dict[tuple[str, str], Fraction] = {
    ("kWh", "1e4kWh"): Fraction(1, 10_000), ("kgce", "tce"): Fraction(1, 1000), ("Nm3", "1e4Nm3"): Fraction(1, 10_000),
    ("kg", "t"): Fraction(1, 1000),
}  # fmt: skip
_PLACES = 6
"""Of a value that is sent, half up. Ours: the system's own number of places is not public."""
MOST_DAILY_DEVIATION = Fraction(5, 100)
"""Of the days' sum from the month's item: the system's own rule (3.3, one source)."""


class ItemRule(Strict):
    """Which figure is sent under which code."""

    figure: Annotated[str, Field(min_length=1, max_length=100)]
    """An energy of table T1 (`electricity`, `natural_gas`, …), `standard_coal`, `output`, `value_added`, or a product's name."""
    code: Annotated[str, Field(pattern=r"^[0-9]{2}-[0-9]{2}-[0-9]{4}-[0-9]{6}-[0-9]{2}$")]
    """工序-工序单元-设备-采集对象-用途 by the dictionary that the platform hands over."""
    unit: Annotated[str, Field(min_length=1, max_length=20)]
    """The unit that the platform wants."""
    enterprises: tuple[Id, ...] = ()
    """All when empty."""
    daily: bool = False
    input_type: Literal[1, 2, 3, 4, 5] = 4
    """1 管理信息系统, 2 生产监控, 3 DCS, 4 现场仪表, 5 手工填报."""
    scope: Literal[1, 2, 3, 4] = 1
    """1 全厂, 2 工序, 3 工序单元, 4 重点耗能设备."""

    @model_validator(mode="after")
    def _daily_is_metered(self) -> Self:
        if self.daily and self.figure != "electricity":
            raise ValueError(_("daily: only electricity has daily figures"))
        return self


class ItemRules(Strict):
    """The operator's list."""

    item: tuple[ItemRule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_code_once(self) -> Self:
        codes = [(name, rule.code) for rule in self.item for name in rule.enterprises or ("",)]
        if twice := sorted({code for name, code in codes if codes.count((name, code)) > 1}):
            raise ValueError(_("codes given twice: {codes}").format(codes=", ".join(twice)))
        return self


def load_rules(path: Path) -> ItemRules:
    """The list in a TOML file; ConfigError with all mistakes, OSError when it cannot be read."""
    return load_toml(path, ItemRules)


class Item(msgspec.Struct, frozen=True, gc=False):
    """One value, by the interface's field names."""

    dataCode: str  # noqa: N815  the interface's name
    dataValue: str  # noqa: N815  the interface's name
    inputType: int  # noqa: N815  the interface's name
    statType: int  # noqa: N815  the interface's name
    statDate: str  # noqa: N815  the interface's name
    uploadDate: str  # noqa: N815  the interface's name
    scope: int
    valid: int
    """0 valid, 1 invalid."""


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What one enterprise uploads for a month."""

    enterpriseCode: str  # noqa: N815  the interface's name
    data: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Upload:
    """An envelope, and what a person has to know about it."""

    envelope: Envelope
    missing: tuple[str, ...]
    """Figures without a value."""
    warnings: tuple[str, ...]


def upload(document: MonthDocument, rules: Sequence[ItemRule]) -> Upload:
    """The items of an enterprise's closed month. The upload date is the close's, so that the same revision gives the same bytes."""
    items: list[Item] = []
    missing: list[str] = []
    for rule in rules:
        if rule.enterprises and document.scope.id not in rule.enterprises:
            continue
        for when, kind, value in _values(document, rule):
            if value is None:
                missing.append(
                    f"{rule.figure} {when[:10]}" if kind == DAY else f"{rule.figure} {document.month}"
                )
            else:
                items.append(_item(document, rule, when, kind, value))
    return Upload(
        Envelope(document.scope.credit_code, tuple(items)), tuple(missing), tuple(_warnings(document, items))
    )


def _item(document: MonthDocument, rule: ItemRule, when: str, kind: int, value: Fraction) -> Item:
    closed = document.closed_at[:19].replace("T", " ")
    return Item(rule.code, _text(value), rule.input_type, kind, when, closed, rule.scope, 0)


def _values(document: MonthDocument, rule: ItemRule) -> Iterator[tuple[str, int, Fraction | None]]:
    """(statDate, statType, value in the wanted unit)."""
    if rule.daily:
        for line in document.daily:
            kwh = None if line.energy_wh is None else Fraction(int(line.energy_wh), 1000)
            yield f"{line.day} 00:00:00", DAY, _converted(kwh, "kWh", rule)
    yield f"{document.month}-01 00:00:00", MONTH, _of_month(document, rule)


def _of_month(document: MonthDocument, rule: ItemRule) -> Fraction | None:
    if rule.figure == "standard_coal":
        total = document.energy_total
        known = (
            None if total is None or total.standard_coal_kgce is None else Fraction(total.standard_coal_kgce)
        )
        return _converted(known, "kgce", rule)
    for line in document.energy_types:
        if line.id == rule.figure:
            return _converted(None if line.consumed is None else Fraction(line.consumed), line.unit, rule)
    for product in document.production:
        if product.id == rule.figure:
            return _converted(
                None if product.amount is None else Fraction(product.amount), product.unit, rule
            )
    return None


class UnitError(ValueError):
    """A figure cannot be given in the unit that the list asks for (the operator's to correct)."""


def _converted(value: Fraction | None, unit: str, rule: ItemRule) -> Fraction | None:
    ratio = Fraction(1) if unit == rule.unit else _TO.get((unit, rule.unit))
    if ratio is None:
        text = _("{figure} is in {unit} and cannot be given in {wanted}")
        raise UnitError(text.format(figure=rule.figure, unit=unit, wanted=rule.unit))
    return None if value is None else value * ratio


def _text(value: Fraction) -> str:
    """Half up (away from zero), without zeros at the end."""
    scaled = abs(value) * 10**_PLACES
    rounded = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    text = format(Decimal(rounded).scaleb(-_PLACES).normalize(), "f")
    return f"-{text}" if value < 0 and rounded else text


def _warnings(document: MonthDocument, items: Sequence[Item]) -> Iterator[str]:
    """What the receiving system would complain of."""
    if not document.scope.credit_code:
        yield _("there is no credit code: the system knows enterprises by it")
    for code in dict.fromkeys(item.dataCode for item in items):
        days = sum(Fraction(i.dataValue) for i in items if i.dataCode == code and i.statType == DAY)
        month = next(
            (Fraction(i.dataValue) for i in items if i.dataCode == code and i.statType == MONTH), None
        )
        if days and month and abs(days - month) > MOST_DAILY_DEVIATION * abs(month):
            yield _("{code}: the days add up to {days}, the month is {month}: more than 5 % apart").format(
                code=code, days=_text(days), month=_text(month)
            )
