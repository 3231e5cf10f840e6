"""Energy and emission per output, value added and product; and grades by rules that are data (grades.toml)."""

import tomllib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache
from importlib.resources import files
from itertools import pairwise

import msgspec

from storage.facts.kinds import ProductionFact
from verification.accounting.books import Books
from verification.document import MonthDocument, exact_decimal, ratio_text
from verification.lines import GradeLine, IntensityLine, ProductLine

UG_PER_T = 10**12
KG_PER_T = 1000
_MEASURES = (
    ("tce_per_10k_output", "单位产值综合能耗", "Energy per output", "tce/万元", "tce", "output"),
    (
        "tce_per_10k_value_added",
        "单位增加值综合能耗",
        "Energy per value added",
        "tce/万元",
        "tce",
        "value_added",
    ),
    ("t_co2_per_10k_output", "单位产值二氧化碳排放", "CO2 per output", "tCO2/万元", "t", "output"),
    (
        "t_co2_per_10k_value_added",
        "单位增加值二氧化碳排放",
        "CO2 per value added",
        "tCO2/万元",
        "t",
        "value_added",
    ),
)


class GradeRule(msgspec.Struct, frozen=True):
    """A grade by bounds: `grades[i]` up to and including `bounds[i]`, the last one above all."""

    id: str
    label_zh: str
    label_en: str
    measure: str
    relative: bool
    """True: divided by the industry's benchmark."""
    bounds: tuple[str, ...]
    grades_zh: tuple[str, ...]
    grades_en: tuple[str, ...]
    source: str
    official: bool


@cache
def grade_rules() -> tuple[GradeRule, ...]:
    """The rules of grades.toml."""
    text = (files("verification") / "data" / "grades.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text)["grade"], tuple[GradeRule, ...])


def production_lines(books: Books) -> tuple[ProductLine, ...]:
    """万元 of output and value added, and every product. Of the park the sums, known only when all enterprises reported."""
    facts = books.production()
    whole = len(facts) == len(books.enterprises)
    output = _sum(f.output_10k_cny for f in facts) if whole else None
    added = _sum(f.value_added_10k_cny for f in facts) if whole else None
    lines = [
        ProductLine(id="output", label_zh="工业总产值", label_en="Output", unit="万元", amount=output),
        ProductLine(
            id="value_added", label_zh="工业增加值", label_en="Value added", unit="万元", amount=added
        ),
    ]
    for fact in books.products():
        name = fact.product if fact.enterprise == books.scope else f"{fact.enterprise}/{fact.product}"
        lines.append(
            ProductLine(
                id=name, label_zh=fact.product, label_en=fact.product, unit=fact.unit, amount=str(fact.amount)
            )
        )
    return tuple(lines)


def _sum(values: Iterable[object]) -> str | None:
    known = list(values)
    return (
        None
        if None in known or not known
        else exact_decimal(sum((Fraction(str(v)) for v in known), Fraction(0)))
    )


def intensity_lines(
    books: Books,
    kgce: str | None,
    emission_ug: str | None,
    production: Sequence[ProductLine],
    before: dict[str, MonthDocument | None],
) -> tuple[IntensityLine, ...]:
    """Per output and value added; per product where there is one only, because energy is not shared out among several."""
    parts = {
        "tce": None if kgce is None else Fraction(kgce) / KG_PER_T,
        "t": None if emission_ug is None else Fraction(int(emission_ug), UG_PER_T),
    }
    amounts = {line.id: line.amount for line in production}
    lines = [
        _line(books, (name, zh, en, unit), parts[top], amounts.get(bottom), before)
        for name, zh, en, unit, top, bottom in _MEASURES
    ]
    products = [line for line in production if line.id not in ("output", "value_added")]
    if len(products) == 1:
        (only,) = products
        for name, label, top in (
            ("tce_per_product", "单位产品综合能耗", "tce"),
            ("t_co2_per_product", "单位产品二氧化碳排放", "t"),
        ):
            shown = (
                name,
                f"{label}（{only.label_zh}）",
                f"{name} {only.label_en}",
                f"{'tCO2' if top == 't' else top}/{only.unit}",
            )
            lines.append(_line(books, shown, parts[top], only.amount, before))
    return tuple(lines)


def _line(
    books: Books,
    shown: tuple[str, str, str, str],
    top: Fraction | None,
    amount: str | None,
    before: dict[str, MonthDocument | None],
) -> IntensityLine:
    name, zh, en, unit = shown
    target = books.benchmark(books.scope, name)
    known = top is not None and amount is not None and Fraction(amount) > 0
    return IntensityLine(
        id=name,
        label_zh=zh,
        label_en=en,
        unit=unit,
        numerator=None if top is None else exact_decimal(top),
        denominator=amount,
        value=ratio_text(top / Fraction(amount))
        if known and top is not None and amount is not None
        else None,
        target=None if target is None else ratio_text(Fraction(target.value)),
        previous_month=_of(before.get("previous_month"), name),
        last_year=_of(before.get("last_year"), name),
    )


def _of(document: MonthDocument | None, name: str) -> str | None:
    lines = document.intensities if document else ()
    return next((line.value for line in lines if line.id == name), None)


def grade_lines(books: Books, intensities: Sequence[IntensityLine]) -> tuple[GradeLine, ...]:
    """Every rule that has what it needs, and the others with —."""
    values = {line.id: line.value for line in intensities}
    record = books.enterprise()
    return tuple(
        _grade(books, rule, values.get(rule.measure), record.industry if record else "")
        for rule in grade_rules()
    )


def _grade(books: Books, rule: GradeRule, value: str | None, industry: str) -> GradeLine:
    source, found = rule.source, None if value is None else Fraction(value)
    if rule.relative:
        mean = books.benchmark(industry, rule.measure)
        found = None if found is None or mean is None else found / Fraction(mean.value)
        source += f"；{mean.source}" if mean else ""
    zh, en = ("—", "—") if found is None else _graded(rule, found)
    return GradeLine(
        id=rule.id, label_zh=rule.label_zh, label_en=rule.label_en, value=None if found is None else ratio_text(found),
        grade_zh=zh, grade_en=en, rule=_rule_text(rule), source=source, official=rule.official,
    )  # fmt: skip


def _graded(rule: GradeRule, value: Fraction) -> tuple[str, str]:
    at = next((i for i, bound in enumerate(rule.bounds) if value <= Fraction(bound)), len(rule.bounds))
    return rule.grades_zh[at], rule.grades_en[at]


def _rule_text(rule: GradeRule) -> str:
    first = f"≤ {rule.bounds[0]}: {rule.grades_zh[0]}"
    middle = [
        f"{low}–{high}: {name}"
        for (low, high), name in zip(pairwise(rule.bounds), rule.grades_zh[1:], strict=False)
    ]
    return "；".join([first, *middle, f"> {rule.bounds[-1]}: {rule.grades_zh[-1]}"])


def has_production(facts: Sequence[ProductionFact]) -> bool:
    """Whether both figures are there."""
    return bool(facts) and all(
        f.output_10k_cny is not None and f.value_added_10k_cny is not None for f in facts
    )
