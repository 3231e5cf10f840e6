"""Declared factor series: which quarter takes which factor, and exact parts, against Fractions."""

from collections import defaultdict
from fractions import Fraction
from math import floor

from hypothesis import given, settings
from hypothesis import strategies as st

from factors.series import MISSING, Counted, Declared, Part, Series
from metering.intervals import HOUR_MS, QUARTER_MS, Span

DAY = Span(1_793_458_800_000, 1_793_458_800_000 + 24 * HOUR_MS)
QUARTERS = 96
words = st.one_of(
    st.just("-"),
    st.decimals(0, 10, places=9, allow_nan=False).map(str),
    st.sampled_from(["0", "0.5366", "1"]),
)


def series(start: int, step: int, values: list[str], meter: str = "", name: str = "s") -> Series:
    """Quarters from the day's start on, which may lie before it."""
    return Series(
        id=f"{name}/{meter}/{start}", enterprise="e", meter=meter, basis="contract", label="", source="合同 1", document_sha256="",
        declared_by="", start_ms=DAY.start_ms + start * QUARTER_MS,
        end_ms=DAY.start_ms + (start + step * len(values)) * QUARTER_MS, step_ms=step * QUARTER_MS, values=" ".join(values),
    )  # fmt: skip


@st.composite
def days(draw: st.DrawFn) -> list[Series]:
    """Series of one enterprise one after another, with gaps, from before the day until after it."""
    found: list[Series] = []
    at = draw(st.integers(-200, 20))
    while at < QUARTERS and len(found) < 6:
        step, values = draw(st.integers(1, 40)), draw(st.lists(words, min_size=1, max_size=8))
        found.append(series(at, step, values))
        at += step * len(values) + draw(st.integers(0, 30))
    return found


@st.composite
def rows(draw: st.DrawFn) -> list[Counted]:
    """Intervals of a day, some cut in two, from a counter up to 2^62."""
    found, at = [], draw(st.integers(0, 1 << 62))
    for quarter in range(QUARTERS):
        cuts = [0, 1, QUARTER_MS][:: draw(st.sampled_from([1, 2]))][:-1]
        for cut in cuts:
            rise = draw(st.integers(0, 10**12))
            found.append(
                Counted(DAY.start_ms + quarter * QUARTER_MS + cut, at, at + rise, draw(st.booleans()))
            )
            at += rise
    return found


def slow(declared: list[Series], at_ms: int) -> tuple[str, str] | None:
    """The value in force at a moment, by looking through everything."""
    for one in declared:
        if one.start_ms <= at_ms < one.end_ms:
            value = one.values.split(" ")[(at_ms - one.start_ms) // one.step_ms]
            return None if value == "-" else (one.id, value)
    return None


@settings(max_examples=60, deadline=None)
@given(days(), rows())
def test_parts_are_what_fractions_say(declared: list[Series], counted: list[Counted]) -> None:
    of = Declared(declared, DAY)
    energy: dict[object, int] = defaultdict(int)
    emission: dict[object, int] = defaultdict(int)
    guessed: dict[object, int] = defaultdict(int)
    for row in counted:
        key = slow(declared, row.start_ms)
        energy[key] += row.closing - row.opening
        guessed[key] += row.closing - row.opening if row.guessed else 0
        if key is not None:
            factor = Fraction(key[1]) * 1_000_000
            emission[key] += floor(row.closing * factor) - floor(row.opening * factor)
    found = {
        (None if code == MISSING else of.factors[code][:2]): part
        for code, part in of.parts(counted, "m").items()
    }
    assert {key: part.energy for key, part in found.items()} == energy
    assert {key: part.estimated for key, part in found.items()} == guessed
    assert {key: part.emission_ug for key, part in found.items()} == {
        key: emission.get(key) for key in energy
    }


@settings(max_examples=40, deadline=None)
@given(days(), rows(), st.integers(1, QUARTERS - 1))
def test_parts_of_a_longer_time_are_the_sums_of_its_pieces(
    declared: list[Series], counted: list[Counted], cut: int
) -> None:
    of, at = Declared(declared, DAY), DAY.start_ms + cut * QUARTER_MS
    whole = of.parts(counted, "m")
    pieces = [
        of.parts([row for row in counted if (row.start_ms < at) is first], "m") for first in (True, False)
    ]
    for code, part in whole.items():
        some = [piece[code] for piece in pieces if code in piece]
        assert sum(piece.energy for piece in some) == part.energy
        assert sum(piece.emission_ug or 0 for piece in some) == (part.emission_ug or 0)
    assert sum(part.energy for part in whole.values()) == counted[-1].closing - counted[0].opening


def test_under_one_factor_intervals_telescope_to_the_counter() -> None:
    of = Declared([series(0, QUARTERS, ["0.000000001"])], DAY)
    counted = [
        Counted(DAY.start_ms + i * QUARTER_MS, 7 * i, 7 * (i + 1), guessed=False) for i in range(QUARTERS)
    ]
    assert of.parts(counted, "m") == {0: Part(7 * QUARTERS, floor(Fraction(7 * QUARTERS, 1000)), 0)}


def test_a_meter_with_a_series_of_its_own_takes_nothing_from_its_enterprises() -> None:
    of = Declared([series(0, QUARTERS, ["0.5"]), series(0, 48, ["0.1"], "m")], DAY)
    assert set(of.codes("other")) == {0}
    assert list(of.codes("m")) == [1] * 48 + [MISSING] * 48
    assert list(of.holes("m")) == [Span(DAY.start_ms + 12 * HOUR_MS, DAY.end_ms)]
    assert list(of.holes("other")) == []


def test_where_nothing_is_declared_there_is_no_number_and_never_zero() -> None:
    of = Declared([series(0, 1, ["0", "-"])], DAY)
    counted = [Counted(DAY.start_ms + i * QUARTER_MS, 10 * i, 10 * (i + 1), guessed=False) for i in range(3)]
    assert of.parts(counted, "m") == {0: Part(10, 0, 0), MISSING: Part(20, None, 0)}
    assert list(Declared([series(0, 1, ["1"], "another")], DAY).codes("m")) == [MISSING] * QUARTERS
