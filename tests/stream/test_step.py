"""The step against its naive twin, and what must not change a final row: cuts, interleaving, duplicates, restarts, compilation."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factors.policy import Pinned
from metering.intervals import QUARTER_MS, local_month, month_of
from metering.sparkplug import DataType, Metric, Payload, encode
from storage.segment import Record
from stream.state import State, StateError
from stream.step import step
from tests.stream.strategies import (
    T0,
    Device,
    Ledger,
    birth,
    births,
    context,
    follow,
    frame,
    histories,
    merged,
    naive,
    park,
    readings,
    streams,
    uncompiled,
)

ORDER = st.lists(st.integers(0, 10), min_size=1, max_size=9)
CUTS = st.lists(st.integers(0, 90), max_size=5)


def one_after_the_other(parts: list[list[Record]]) -> list[Record]:
    return births() + [record for part in parts for record in part]


def told(ledger: Ledger) -> list[tuple[str, str, str, int, object]]:
    return sorted((e.kind, e.meter, e.reading_type, e.t_ms, e.detail["position"]) for e in ledger.events)


@settings(max_examples=50, deadline=None)
@given(
    streams(),
    st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"]),
)
def test_every_row_and_event_equals_the_naive_twin(parts: list[list[Record]], zone: str) -> None:
    registry = park(zone)
    records = one_after_the_other(parts)
    slow, fast = naive(registry), follow(records, context(registry))
    slow.feed(records)
    assert fast.intervals == slow.rows()
    assert told(fast) == sorted(slow.events)
    assert {key: (row.t_ms, row.position, row.pending) for key, row in fast.progress.items()} == {
        key: (*totals[-1], key in slow.pending) for key, totals in slow.good.items()
    }


@settings(max_examples=50, deadline=None)
@given(streams(size=25))
def test_interval_energies_sum_to_the_last_good_total_minus_the_first(parts: list[list[Record]]) -> None:
    records = one_after_the_other(parts)
    slow, fast = naive(), follow(records)
    slow.feed(records)
    for key, totals in slow.good.items():
        rows = [row for row in fast.rows if (row.meter, row.reading_type) == key]
        assert sum(row.energy for row in rows) == totals[-1].position - totals[0].position
        assert all(before.closing == after.opening for before, after in pairwise(rows))


@settings(max_examples=50, deadline=None)
@given(streams(), ORDER, CUTS, st.booleans())
def test_cuts_interleaving_and_restarts_change_no_row(
    parts: list[list[Record]], order: list[int], cuts: list[int], restore: bool
) -> None:
    whole = follow(one_after_the_other(parts))
    again = follow(births() + merged(parts, order), cuts=cuts, restore=restore)
    assert again.intervals == whole.intervals
    assert again.progress == whole.progress
    assert again.latest == whole.latest
    assert told(again) == told(whole)


@settings(max_examples=50, deadline=None)
@given(streams(), CUTS, st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=8))
def test_frames_delivered_again_change_no_row(
    parts: list[list[Record]], cuts: list[int], repeats: list[tuple[int, int]]
) -> None:
    records = one_after_the_other(parts)
    noisy = list(records)
    for which, later in repeats:
        again_sent = records[which % len(records)]
        if "/DDATA/" in again_sent.topic:
            first = noisy.index(again_sent)
            noisy.insert(first + 1 + later % (len(noisy) - first), again_sent)
    whole, again = follow(records), follow(noisy, cuts=cuts)
    assert again.intervals == whole.intervals
    assert again.progress == whole.progress


@settings(max_examples=15, deadline=None)
@given(streams(size=4))
def test_compiled_and_plain_kernels_give_the_same_rows(parts: list[list[Record]]) -> None:
    records = one_after_the_other(parts)
    compiled = follow(records)
    with uncompiled():
        plain = follow(records)
    assert plain == compiled


@settings(max_examples=30, deadline=None)
@given(histories("high", 12))
def test_emissions_telescope_under_one_factor(history: list[Record]) -> None:
    ledger = follow([*births(), *history])
    rows = ledger.rows
    if rows and all(row.emission_ug is not None for row in rows):
        ug_per_wh = Fraction("530600")  # national average of data year 2023, the newest published by AS_OF
        expected = rows[-1].closing * ug_per_wh // 1 - rows[0].opening * ug_per_wh // 1
        assert {row.factor_id for row in rows} == {rows[0].factor_id}
        assert sum(row.emission_ug or 0 for row in rows) == expected


def test_a_meter_at_high_voltage_keeps_exact_positions_and_emissions() -> None:
    """220 kV / 100 V and 2500 A / 1 A: 10^15 Wh times 530600 ug leaves 64 bits; nothing that is stored does."""
    ledger = follow([*births(), *readings("high", (0, 1_000_000), (QUARTER_MS, 1_000_100))])
    (row,) = ledger.rows
    assert row.opening == 1_000_000 * 1000 * 2500 * 2200
    assert row.energy == 100 * 1000 * 2500 * 2200
    assert row.emission_ug == row.energy * 530_600


def test_a_rational_base_unit_per_count_rounds_each_position_down() -> None:
    ledger = follow([*births(), *readings("tiny", (0, 100_000), (QUARTER_MS, 1_000_001))])
    per_count = Fraction(1, 10_000) * Fraction(1, 3) * Fraction(7, 11)
    (row,) = ledger.rows
    assert (row.opening, row.closing) == (100_000 * per_count // 1, 1_000_001 * per_count // 1)


@pytest.mark.parametrize(
    ("raw", "count"),
    [(0.125, 12), (0.375, 38), (1234.5, 123_450), (0.004_999, 0), (2.675, 268), (1e15, 10**17)],
)
def test_a_float_total_is_rounded_half_to_even_at_its_resolution(raw: float, count: int) -> None:
    """2.675 × 100 is 267.5 in one float64 product, which rounds to the even 268."""
    ledger = follow([*births(), *readings("float", (0, raw))])
    assert ledger.progress["float", "energy_import_total"].position == count * 10


@pytest.mark.parametrize("raw", [float("nan"), float("inf"), 1e300, -1e300])
def test_a_float_that_no_total_can_be_is_left_aside(raw: float) -> None:
    ledger = follow([*births(), *readings("float", (0, 1.0), (QUARTER_MS, raw), (2 * QUARTER_MS, 3.0))])
    assert [row.energy for row in ledger.rows] == [1000, 1000]
    assert not ledger.events


@pytest.mark.parametrize("raw", [1 << 63, (1 << 64) - 1, 1 << 62, (1 << 62) // 5_500_000 // 1000 + 1])
def test_a_total_beyond_62_bits_is_left_aside(raw: int) -> None:
    ledger = follow([*births(), *readings("high", (0, 1), (QUARTER_MS, raw), (2 * QUARTER_MS, 3))])
    assert ledger.progress["high", "energy_import_total"].position == 3 * 5_500_000_000
    assert not ledger.events


def test_counters_up_to_2_to_the_62_are_totalled() -> None:
    top = (1 << 62) - 1
    ledger = follow([*births(), *readings("pv", (0, 0), (2 * QUARTER_MS, top))])
    assert [row.energy for row in ledger.rows] == [top // 2, top - top // 2]


def test_a_month_of_silence_at_a_gigawatt_loses_nothing() -> None:
    quarters = 31 * 96
    ledger = follow([*births(), *readings("pv", (0, 1), (quarters * QUARTER_MS, 1 + 744 * 10**9))])
    assert len(ledger.rows) == quarters
    assert sum(row.energy for row in ledger.rows) == 744 * 10**9
    assert all(row.closed and row.quality == 2 and row.coverage_ms == 0 for row in ledger.rows)


def test_a_missing_factor_stops_the_emission_not_the_energy() -> None:
    world = context(policy=Pinned("there-is-none"))
    ledger = follow([*births(), *readings("plain", (0, 0), (QUARTER_MS, 5), (QUARTER_MS + 9, 6))], world)
    assert [(row.closed, row.emission_ug, row.factor_id) for row in ledger.rows] == [
        (True, None, None),
        (False, None, None),
    ]
    assert sum(row.energy for row in ledger.rows) == 6 * 800


def test_heat_carries_no_emission_of_electricity_and_is_judged_in_kilojoules() -> None:
    """2 MW for a quarter of an hour is 1.8 GJ, 1800 counts; a tenth more and one count pass, and no further."""
    good = follow([*births(), *readings("heat", (0, 0), (QUARTER_MS, 1981))])
    assert [(row.energy, row.emission_ug, row.factor_id) for row in good.rows] == [(1_981_000, None, None)]
    assert follow([*births(), *readings("heat", (0, 0), (QUARTER_MS, 1982))]).kinds == ["pending_rise"]


def test_own_pv_carries_no_emission_and_says_why() -> None:
    ledger = follow([*births(), *readings("pv", (0, 0), (QUARTER_MS, 5_000))])
    assert [(row.emission_ug, row.factor_id) for row in ledger.rows] == [(0, "zero-self-generated-nonfossil")]


def test_a_dip_is_pending_until_it_proves_transient() -> None:
    start = [*births(), *readings("plain", (0, 1000), (QUARTER_MS, 1010))]
    dipped = follow(start + readings("plain", (2 * QUARTER_MS, 3), (3 * QUARTER_MS, 4)))
    assert dipped.kinds == ["pending_fall"]
    assert dipped.progress["plain", "energy_import_total"].pending
    assert sum(row.energy for row in dipped.rows) == 10 * 800
    back = follow(start + readings("plain", (2 * QUARTER_MS, 3), (4 * QUARTER_MS, 1040)))
    assert back.kinds == ["pending_fall", "transient_dropped"]
    assert not back.progress["plain", "energy_import_total"].pending
    assert [row.energy for row in back.rows] == [8000, 8000, 8000, 8000]


def test_an_implausible_rise_is_pending_until_time_makes_it_plausible() -> None:
    """500 kW rated: 125 kWh a quarter, 156 counts of 0.8 kWh."""
    records = [*births(), *readings("plain", (0, 0), (QUARTER_MS, 2_000))]
    assert follow(records).kinds == ["pending_rise"]
    later = follow(records + readings("plain", (16 * QUARTER_MS, 2_001)))
    assert later.kinds == ["pending_rise", "transient_dropped"]
    assert sum(row.energy for row in later.rows) == 2_001 * 800


def test_a_running_interval_is_provisional_and_replaced_when_it_closes() -> None:
    records = [*births(), *readings("pv", (0, 0), (600_000, 40), (QUARTER_MS, 60))]
    running = follow(records[:-1])
    assert [(row.closed, row.energy, row.coverage_ms) for row in running.rows] == [(False, 40, 600_000)]
    assert [(row.closed, row.energy, row.coverage_ms) for row in follow(records, cuts=[9]).rows] == [
        (True, 60, QUARTER_MS)
    ]


def test_an_unconfirmed_meter_is_never_totalled() -> None:
    device = Device("gw1", "energy_import_total", "", DataType.UINT32, "kWh", 77)
    ledger = follow(
        [birth("stranger", device), *(frame("stranger", T0 + i * QUARTER_MS, i, device) for i in range(4))]
    )
    assert ledger == Ledger({}, {}, {}, [])


def test_a_meter_declared_by_a_gateway_that_is_not_its_own_is_not_totalled() -> None:
    device = Device("gw2", "energy_import_total", "", DataType.UINT32, "kWh", 77)
    ledger = follow(
        [birth("plain", device), *(frame("plain", T0 + i * QUARTER_MS, i, device) for i in range(4))]
    )
    assert not ledger.intervals


def test_a_node_without_aliases_is_read_by_name() -> None:
    ledger = follow([*births(), *readings("foreign", (0, 10.0), (QUARTER_MS, 25.0))])
    assert [(row.meter, row.energy) for row in ledger.rows] == [("foreign", 15)]


def test_a_metric_without_its_own_time_takes_the_time_of_the_payload() -> None:
    def timeless(t: int, raw: int) -> Record:
        return Record(
            "spBv1.0/p/DDATA/gw2/pv", encode(Payload((Metric(alias=2, value=raw),), timestamp=t)), 1
        )

    ledger = follow([*births(), timeless(T0, 5), timeless(T0 + QUARTER_MS, 9)])
    assert [row.energy for row in ledger.rows] == [4]


def test_an_interval_takes_the_month_of_its_own_zone() -> None:
    """The quarter before local midnight belongs to October, the next one to November, in any zone."""
    for zone in ("Asia/Shanghai", "Europe/Berlin"):
        registry = park(zone)
        edge = local_month("2026-10", registry.tz).end_ms
        records = [*births(), *readings("pv", (-QUARTER_MS, 0), (QUARTER_MS, 20), start=edge)]
        rows = follow(records, context(registry)).rows
        assert [month_of(row.start_ms, registry.tz) for row in rows] == ["2026-10", "2026-11"]


def test_latest_is_the_newest_reading_in_base_units_on_the_primary_side() -> None:
    ledger = follow([*births(), *readings("plain", (0, 100), (60_000, 102), (30_000, 101))], cuts=[9])
    row = ledger.latest["plain", "energy_import_total"]
    assert (row.t_ms, row.value, row.frame_received_ms) == (T0 + 60_000, 102 * 800.0, T0 + 60_050)


def test_a_new_scale_continues_the_same_total() -> None:
    finer = Device("gw2", "energy_generation_total", "pv_generation", DataType.UINT64, "kWh", 22, 1)
    records = [
        *births(),
        *readings("pv", (0, 1_000_000)),
        birth("pv", finer),
        frame("pv", T0 + QUARTER_MS, 101, finer),
    ]
    assert [row.energy for row in follow(records, cuts=[8]).rows] == [10_000]


def test_aliases_of_an_older_birth_are_void() -> None:
    renamed = Device("gw2", "energy_generation_total", "pv_generation", DataType.UINT64, "Wh", 22)
    records = [*births(), *readings("pv", (0, 5)), birth("pv", renamed), *readings("pv", (QUARTER_MS, 9))]
    assert not follow(records).intervals


def test_a_changed_ratio_refuses_and_names_the_cure() -> None:
    state = State()
    step(state, [*births(), *readings("plain", (0, 5))], context())
    changed = context(park(plain={"ct": "600/5"}))
    with pytest.raises(
        StateError, match=r"plain, energy_import_total.*ratio 80.*120.*move the ledger file away"
    ):
        step(state, [birth("plain"), *readings("plain", (QUARTER_MS, 9))], changed)


def test_a_total_that_the_registry_no_longer_has_rests() -> None:
    state = State()
    step(state, [*births(), *readings("plain", (0, 5))], context())
    without = context(park(plain={"roles": {}}))
    state.check(without.park)
    assert not step(state, readings("plain", (QUARTER_MS, 9)), without).intervals


@pytest.mark.parametrize(
    ("scale", "resolution"), [(19, None), (-19, None), (2**40, None), (0, 400), (18, 18)]
)
def test_a_birth_that_declares_an_absurd_scale_declares_nothing(scale: int, resolution: int | None) -> None:
    datatype = DataType.UINT64 if resolution is None else DataType.DOUBLE
    device = Device("gw2", "energy_generation_total", "pv_generation", datatype, "Wh", 2, scale, resolution)
    ledger = follow(
        [
            birth("pv", device),
            *(frame("pv", T0 + i * QUARTER_MS, datatype.real * i / i if i else 1.0, device) for i in (0, 1)),
        ]
    )
    assert not ledger.intervals


def test_records_that_are_no_sparkplug_disturb_nothing() -> None:
    noise = [
        Record("spBv1.0/p/DDATA/gw1/plain", b"\x12\x7f", 1), Record("no/topic", b"", 1), Record("spBv1.0/p/DDATA/gw1/plain", b"", 1),
        Record("spBv1.0/p/DBIRTH/gw1/plain", b"\xff", 1), Record("spBv1.0/p/NBIRTH/gw1", b"\xff", 1),
        Record("spBv1.0/p/DDATA/gw1/plain", encode(Payload((Metric(name="\udcff".encode("utf-8", "replace").decode(), value=1),))), 1),
    ]  # fmt: skip
    quiet = [*births(), *readings("plain", (0, 1), (QUARTER_MS, 9))]
    assert follow([*quiet[:-1], *noise, quiet[-1]]) == follow(quiet)
