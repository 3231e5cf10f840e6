"""Bills against our own meters: over the bill's own reading dates, metering point and multiplier, after losses and adjustments."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from metering.units import UNITS
from storage.facts.kinds import BillFact
from verification.accounting.books import Books
from verification.document import exact_decimal, ratio_text
from verification.lines import BillLine

BillKey = tuple[str, str]
"""Enterprise and number."""


def bill_lines(books: Books, metered: Mapping[BillKey, int | None]) -> tuple[BillLine, ...]:
    """Every bill read within the month; `metered` has the base units that our meter counted over its dates."""
    bills = sorted(books.bills(), key=lambda bill: (bill.enterprise, bill.number))
    return tuple(_line(books, bill, metered.get((bill.enterprise, bill.number))) for bill in bills)


def _line(books: Books, bill: BillFact, base_units: int | None) -> BillLine:
    loss = bill.transformer_loss + bill.line_loss
    expected = Fraction(bill.billed - loss - bill.adjusted)
    metered = None if base_units is None else base_units / UNITS[bill.unit].factor
    difference = None if metered is None else metered - expected
    return BillLine(
        id=bill.number if bill.enterprise == books.scope else f"{bill.enterprise}/{bill.number}",
        energy=bill.reading_type,
        meter=bill.meter,
        start=bill.start.isoformat(),
        end=bill.end.isoformat(),
        opening=str(bill.opening),
        closing=str(bill.closing),
        multiplier=str(bill.multiplier),
        billed=_plain(bill.billed),
        unit=bill.unit,
        loss=_plain(loss),
        adjusted=_plain(bill.adjusted),
        expected=exact_decimal(expected),
        metered=None if metered is None else exact_decimal(metered),
        difference=None if difference is None else exact_decimal(difference),
        share=None if difference is None or expected == 0 else ratio_text(abs(difference) / abs(expected)),
    )


def _plain(value: Decimal) -> str:
    return exact_decimal(Fraction(value))


def printed_sum_differs(line: BillLine) -> bool:
    """Whether the bill's own readings do not give its amount: (closing − opening) × multiplier + losses + adjustment."""
    counted = (Fraction(line.closing) - Fraction(line.opening)) * Fraction(line.multiplier)
    return abs(counted + Fraction(line.loss) + Fraction(line.adjusted) - Fraction(line.billed)) > 1
