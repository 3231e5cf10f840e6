"""Energy integrated from power: worked examples, the naive twin, and what must not change a row."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering import frames
from metering.intervals import QUARTER_MS, to_local
from metering.quality import Quality
from metering.registry import Park, parse_registry
from metering.sparkplug import DataType, Metric, Payload, Property, encode
from storage.segment import Record
from tests.naive_power import Integral
from tests.naive_still import Still
from tests.stream.strategies import T0, Ledger, context, follow, naive, uncompiled

TOTAL = "energy_integrated_total"
MINUTE_MS = 60_000
METERS: dict[str, dict[str, Any]] = {
    "pump": {"roles": {"power_active": "sub_meter"}, "ct": "7/3", "max_power_w": 900_000},
    "inverter": {"roles": {"power_active": "pv_generation"}, "power_gap_s": 300},
    "both": {"roles": {"energy_import_total": "grid_boundary", "power_active": "sub_meter"}},
}
TYPES: dict[str, tuple[DataType, str, int, int]] = {
    "pump": (DataType.INT32, "kW", -3, 1), "inverter": (DataType.FLOAT, "W", 0, 1), "both": (DataType.INT32, "W", 0, -1),
}  # fmt: skip


def park(**changed: dict[str, object]) -> Park:
    meters = [
        {"id": name, "gateway": "gw"} | declared | changed.get(name, {}) for name, declared in METERS.items()
    ]
    return parse_registry(
        {
            "id": "p", "name": "p", "grid_scope": "CN-AH", "enterprises": [{"id": "e", "name": "e"}],
            "sites": [{"id": "s", "enterprise": "e", "name": "s"}], "gateways": [{"id": "gw", "site": "s"}],
            "meters": meters,
        }
    )  # fmt: skip


def births() -> list[Record]:
    out = []
    for alias, (meter, (datatype, unit, scale, sign)) in enumerate(TYPES.items()):
        properties: dict[str, Property] = {frames.PROPERTY_UNIT: unit, frames.PROPERTY_SCALE: scale}
        if sign < 0:
            properties[frames.PROPERTY_SIGN] = sign
        metric = Metric(
            name="power_active", alias=alias, datatype=datatype, is_null=True, properties=properties
        )
        out.append(Record(f"spBv1.0/p/DBIRTH/gw/{meter}", encode(Payload((metric,), timestamp=1)), 1))
    return out


def frame(meter: str, t: int, raw: float) -> Record:
    datatype = TYPES[meter][0]
    metric = Metric(alias=list(TYPES).index(meter), timestamp=t, datatype=datatype, value=raw)
    return Record(f"spBv1.0/p/DDATA/gw/{meter}", encode(Payload((metric,), timestamp=t)), t + 50)


def powers(meter: str, *pairs: tuple[int, float], start: int = T0) -> list[Record]:
    """Frames from (ms after `start`, raw value)."""
    return [frame(meter, start + after, raw) for after, raw in pairs]


def minutely(meter: str, *raw: float) -> list[Record]:
    return powers(meter, *((i * MINUTE_MS, value) for i, value in enumerate(raw)))


def told(ledger: Ledger) -> list[tuple[object, ...]]:
    return sorted(
        (e.kind, e.meter, e.reading_type, e.t_ms,
         e.detail.get("power_mw", e.detail.get("position", 0)), 0, e.detail.get("until_t_ms", 0))
        for e in ledger.events
        if e.kind not in {"restated", "frozen", "frozen_ended"}
    )  # fmt: skip


def assert_twin(fast: Ledger, records: Sequence[Record], registry: Park) -> None:
    slow, still = naive(registry), Still()
    slow.feed(records)
    still.feed(records)
    integrals = [Integral(key, shown) for key, shown in slow.powers().items()]
    rows = {
        place: msgspec.structs.replace(row, quality=still.marked(row))
        for each in integrals
        for place, row in each.rows(slow).items()
    }
    assert {(r.meter, r.reading_type, r.start_ms): r for r in fast.values} == rows
    assert told(fast) == sorted({tuple(event) for each in integrals for event in each.events})
    assert {key: (row.t_ms, row.position, row.pending) for key, row in fast.progress.items()} == {
        each.key: (each.reads[-1].t, each.position(each.reads[-1].t), False)
        for each in integrals if each.reads
    }  # fmt: skip


def test_an_hour_of_constant_power_is_that_many_watt_hours_and_says_derived() -> None:
    ledger = follow([*births(), *minutely("inverter", *([999.0, 1001.0] * 30), 999.0)], context(park()))
    assert [row.energy for row in ledger.rows] == [250] * 4
    assert {(row.quality, row.coverage_ms, row.edge_read) for row in ledger.rows} == {
        (Quality.DERIVED, QUARTER_MS, True)
    }
    assert not ledger.events


def test_between_two_reads_the_mean_of_both_powers_counts() -> None:
    ledger = follow([*births(), *powers("both", (0, 0), (QUARTER_MS, -8000))], context(park()))
    assert [row.energy for row in ledger.rows] == [1000]


def test_no_fraction_of_a_watt_hour_is_lost_over_a_day() -> None:
    """1 W for 1,440 minutes are 24 Wh, though no minute has a whole one."""
    ledger = follow([*births(), *minutely("inverter", *([1.0] * 1441))], context(park()))
    assert sum(row.energy for row in ledger.rows) == 24
    assert all(a.closing == b.opening for a, b in pairwise(ledger.rows))


def test_a_ratio_of_its_time_applies_to_a_power() -> None:
    change = {"at": to_local(T0 + 30_000, park().tz), "ct": "14/3"}
    ledger = follow(
        [*births(), *minutely("pump", 3000, *([3000] * 15))], context(park(pump={"ratio_changes": [change]}))
    )
    assert [row.energy for row in ledger.rows] == [(7000 + 14000 + 2 * 14 * 14000) // 120]


def test_a_gap_is_not_integrated_and_its_intervals_are_missing() -> None:
    records = powers(
        "inverter", (0, 600.0), (300_000, 600.0), (40 * MINUTE_MS, 600.0), (45 * MINUTE_MS, 600.0)
    )
    ledger = follow([*births(), *records], context(park()))
    assert [(row.start_ms - T0, row.energy, row.coverage_ms, row.quality) for row in ledger.rows] == [
        (0, 50, 300_000, Quality.QUESTIONABLE),
        (2 * QUARTER_MS, 50, 300_000, Quality.QUESTIONABLE),
    ]
    [event] = ledger.events
    assert (event.kind, event.t_ms, event.detail["until_t_ms"]) == (
        "power_gap", T0 + 300_000, T0 + 40 * MINUTE_MS
    )  # fmt: skip


def test_power_that_flows_back_counts_as_zero_and_is_told_once() -> None:
    ledger = follow([*births(), *minutely("inverter", *([-60.0] * 16))], context(park()))
    assert [row.energy for row in ledger.rows] == [0]
    assert [(e.kind, e.detail["power_mw"]) for e in ledger.events] == [("power_reversed", -60_000)]


def test_a_power_that_the_meter_cannot_carry_is_left_out_and_told() -> None:
    records = minutely("pump", *([3000] * 5), 2**30, *([3000] * 10))
    ledger = follow([*births(), *records], context(park()))
    assert [(row.energy, row.quality) for row in ledger.rows] == [(1750, Quality.QUESTIONABLE)]
    assert [event.kind for event in ledger.events] == ["power_implausible"]


def test_a_late_power_restates_what_it_touches_and_a_known_one_nothing() -> None:
    records = minutely("inverter", *([59.0, 61.0] * 30), 59.0)
    ordered = follow([*births(), *records], context(park()))
    late = [*births(), *records[:5], *records[6:], records[5], *records]
    restated = follow(late, context(park()), range(8, 130, 7))
    assert restated.values == ordered.values
    assert [event.kind for event in restated.events] in (["restated"], [])


def test_terawatts_for_a_month_stay_exact() -> None:
    raw = float(2**39)
    gaps = [i * 300_000 for i in range(31 * 24 * 12 + 1)]
    records = powers("inverter", *((t, raw) for t in gaps))
    ledger = follow([*births(), *records], context(park()))
    assert sum(row.energy for row in ledger.rows) == 2**39 * 31 * 24


GAPS = st.one_of(
    st.sampled_from([MINUTE_MS, 300_000, 300_001, QUARTER_MS, QUARTER_MS + MINUTE_MS, QUARTER_MS + MINUTE_MS + 1]),
    st.integers(1, 3 * QUARTER_MS),
)  # fmt: skip
RAW = st.one_of(st.integers(-5, 5000), st.just(0), st.integers(-(2**31), 2**31 - 1))


@st.composite
def histories(draw: st.DrawFn, meter: str) -> list[Record]:
    """A meter's powers: mostly in order, at times late, twice, or two of one moment."""
    t, out = T0 + draw(st.integers(0, QUARTER_MS)), []
    for _ in range(draw(st.integers(0, 12))):
        odd, raw = draw(st.integers(0, 11)), draw(RAW)
        at = t
        if odd == 0:
            at = max(0, t - draw(GAPS))
        elif odd > 1:
            at = t = t + draw(GAPS)
        value = raw / 8 if TYPES[meter][0] is DataType.FLOAT else raw
        out += [frame(meter, at, value)] * (2 if odd == 2 else 1)
    return out


@st.composite
def streams(draw: st.DrawFn) -> list[Record]:
    return [record for meter in TYPES for record in draw(histories(meter))]


@st.composite
def changes(draw: st.DrawFn) -> dict[str, dict[str, object]]:
    moments = draw(st.lists(st.integers(0, 12 * QUARTER_MS), max_size=2, unique=True))
    dated = [
        {"at": to_local(T0 + at, park().tz), "ct": draw(st.sampled_from(["80", "7/3", "1/11"]))}
        for at in moments
    ]
    return {"pump": {"ratio_changes": dated}}


@settings(max_examples=80, deadline=None)
@given(streams(), changes(), st.lists(st.integers(0, 40), max_size=5), st.booleans())
def test_every_row_and_event_equals_the_naive_twin_however_the_stream_is_cut(
    records: list[Record], changed: dict[str, dict[str, object]], cuts: list[int], restore: bool
) -> None:
    registry = park(**changed)
    fast = follow([*births(), *records], context(registry), cuts, restore=restore)
    assert_twin(fast, [*births(), *records], registry)


@settings(max_examples=60, deadline=None)
@given(streams(), st.randoms(use_true_random=False), st.lists(st.integers(0, 40), max_size=5))
def test_any_order_of_arrival_gives_the_same_ledger(
    records: list[Record], random: Any, cuts: list[int]
) -> None:
    mixed = random.sample(records, len(records))
    once, again = (
        follow([*births(), *records], context(park())),
        follow([*births(), *mixed], context(park()), cuts),
    )
    assert again.values == once.values
    assert told(again) == told(once)
    assert again.progress == once.progress


@settings(max_examples=30, deadline=None)
@given(streams())
def test_compiled_equals_plain_python_bit_for_bit(records: list[Record]) -> None:
    compiled = follow([*births(), *records], context(park()))
    with uncompiled():
        assert follow([*births(), *records], context(park())) == compiled


@settings(max_examples=40, deadline=None)
@given(streams())
def test_the_intervals_add_up_to_the_whole_integral(records: list[Record]) -> None:
    ledger, slow = follow([*births(), *records], context(park())), naive(park())
    slow.feed([*births(), *records])
    for key, shown in slow.powers().items():
        integral = Integral(key, shown)
        whole = sum((Fraction(a.mw + b.mw, 2) * (b.t - a.t) for a, b in integral._steps()), Fraction(0))
        mine = [row.energy for row in ledger.rows if (row.meter, row.reading_type) == key]
        assert sum(mine) == whole // 3_600_000_000


@pytest.mark.parametrize("name", [TOTAL, "power_reactive"])
def test_only_active_power_takes_the_place_of_a_total(name: str) -> None:
    with pytest.raises(ValueError, match=f"not a total: {name}"):
        park(pump={"roles": {name: "sub_meter"}})


def test_a_total_and_a_power_in_one_role_are_refused() -> None:
    roles = {"power_active": "sub_meter", "energy_import_total": "sub_meter"}
    with pytest.raises(ValueError, match="power_active and energy_import_total are both sub_meter"):
        park(pump={"roles": roles})


def test_a_meter_cannot_say_an_integrated_total_itself() -> None:
    metric = Metric(
        name=TOTAL, alias=0, datatype=DataType.UINT32, is_null=True, properties={frames.PROPERTY_UNIT: "Wh"}
    )
    birth = Record("spBv1.0/p/DBIRTH/gw/inverter", encode(Payload((metric,), timestamp=1)), 1)
    assert not follow([birth, *powers("pump", (0, 1), (MINUTE_MS, 2))], context(park())).progress
