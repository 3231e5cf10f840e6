"""The notation of declared factors: kgCO2/kWh one after another in time, `-` where the source gives none."""

from fractions import Fraction

from metering.i18n import _

UNKNOWN = "-"
MOST = Fraction(10)
"""kgCO2/kWh; above it somebody gave another unit. Ours: no power plant of any kind reaches a fifth of it."""
DIGITS = 9
"""After the point: µg per Wh with three more."""
_SEPARATORS = str.maketrans(dict.fromkeys("，,；;", " "))


def parse_values(text: str) -> str:
    """The values with one space between them; ValueError names every one that is none, by its place."""
    words = text.translate(_SEPARATORS).split()
    wrong = [f"{place}: {word!r}" for place, word in enumerate(words, 1) if not _is_value(word)]
    if wrong or not words:
        told = _(
            "values are kgCO2/kWh from 0 to {most} with at most {digits} digits after the point, or {unknown}: {wrong}"
        )
        raise ValueError(
            told.format(
                most=MOST, digits=DIGITS, unknown=UNKNOWN, wrong="; ".join(wrong) or _("none is given")
            )
        )
    return " ".join(words)


def _is_value(word: str) -> bool:
    whole, point, part = word.partition(".")
    digits = (whole + part).isdigit() and word.isascii() and bool(whole) and bool(part) == bool(point)
    return word == UNKNOWN or (
        digits and len(part) <= DIGITS and len(whole) <= DIGITS and Fraction(word) <= MOST
    )
