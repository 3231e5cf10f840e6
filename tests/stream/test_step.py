"""The step against its naive twin, and what must not change a final row: cuts, interleaving, duplicates, restarts, compilation."""

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factors.policy import Pinned
from metering.intervals import QUARTER_MS, local_month, month_of, to_local
from metering.sparkplug import DataType, Metric, Payload, encode
from storage.segment import Record
from stream.state import State
from stream.step import step
from tests.naive import Naive
from tests.stream.strategies import (
    DEVICES,
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
NUMBERS = "position", "adjustment", "until_t_ms"
CUTS = st.lists(st.integers(0, 90), max_size=5)


def one_after_the_other(parts: list[list[Record]]) -> list[Record]:
    return births() + [record for part in parts for record in part]


def told(ledger: Ledger) -> list[tuple[object, ...]]:
    return sorted(
        (e.kind, e.meter, e.reading_type, e.t_ms, *(e.detail.get(name, 0) for name in NUMBERS))
        for e in ledger.events
        if e.kind != "restated"
    )


@st.composite
def changes(draw: st.DrawFn) -> dict[str, dict[str, object]]:
    """What the registry declares about the meters besides their first ratios: exchanges, and other transformers."""
    out: dict[str, dict[str, object]] = {}
    for name, device in DEVICES.items():
        moments = draw(st.lists(st.integers(0, 40 * QUARTER_MS), max_size=3, unique=True))
        dated: dict[str, object] = {"ratio_changes": [], "exchanges": []}
        for after in moments:
            at = to_local(T0 + after, ZoneInfo("UTC"))
            ct = draw(st.sampled_from(["80", "120", "7/3", "400/5"]))
            if draw(st.booleans()):
                dated["ratio_changes"].append({"at": at, "ct": ct})  # type: ignore[attr-defined]
                continue
            shown = [str(Decimal(draw(st.integers(0, 10**7))) / 1000) for _ in range(2)]
            swap: dict[str, object] = {
                "at": at,
                "closing": {device.reading_type: shown[0]},
                "opening": {device.reading_type: shown[1]},
            }
            dated["exchanges"].append(swap | ({"ct": ct} if draw(st.booleans()) else {}))  # type: ignore[attr-defined]
        out[name] = dated
    return out


def assert_twins(fast: Ledger, slow: Naive) -> None:
    judged = slow.judged()
    assert {(r.meter, r.reading_type, r.start_ms): r for r in fast.values} == slow.rows()
    assert told(fast) == sorted({tuple(event) for event in slow.events})
    assert {key: (row.t_ms, row.position, row.pending) for key, row in fast.progress.items()} == {
        key: (judge.good[-1].t, judge.good[-1].position, bool(judge.candidates))
        for key, judge in judged.items()
    }


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
    assert_twins(fast, slow)


@settings(max_examples=50, deadline=None)
@given(streams(), changes(), CUTS)
def test_exchanges_and_other_ratios_equal_the_naive_twin(
    parts: list[list[Record]], changed: dict[str, dict[str, object]], cuts: list[int]
) -> None:
    registry = park("Asia/Shanghai", **changed)
    records = one_after_the_other(parts)
    slow, fast = naive(registry), follow(records, context(registry), cuts)
    slow.feed(records)
    assert_twins(fast, slow)


@settings(max_examples=50, deadline=None)
@given(streams(size=25), changes())
def test_interval_energies_sum_to_the_last_register_minus_the_first_and_the_adjustments(
    parts: list[list[Record]], changed: dict[str, dict[str, object]]
) -> None:
    registry = park("Asia/Shanghai", **changed)
    records = one_after_the_other(parts)
    slow, fast = naive(registry), follow(records, context(registry))
    slow.feed(records)
    for key, judge in slow.judged().items():
        rows = [row for row in fast.rows if (row.meter, row.reading_type) == key]
        events = [e for e in fast.events if (e.meter, e.reading_type) == key]
        adjusted = sum(e.detail.get("adjustment", 0) for e in events)
        assert adjusted == judge.offset
        assert sum(row.energy for row in rows) == judge.good[-1].position - judge.good[0].position
        assert all(before.closing == after.opening for before, after in pairwise(rows))


@settings(max_examples=50, deadline=None)
@given(streams(), changes(), st.randoms(use_true_random=False), CUTS, st.booleans())
def test_no_order_of_delivery_cut_or_restart_changes_the_ledger(
    parts: list[list[Record]],
    changed: dict[str, dict[str, object]],
    chance: Random,
    cuts: list[int],
    restore: bool,
) -> None:
    world = context(park("Asia/Shanghai", **changed))
    frames = [record for part in parts for record in part]
    noisy = frames + [record for record in frames if chance.random() < 0.2]
    chance.shuffle(noisy)
    whole = follow(births() + frames, world)
    again = follow(births() + noisy, world, [cut * 2 for cut in cuts], restore=restore)
    assert again.values == whole.values
    assert again.progress == whole.progress
    assert told(again) == told(whole)


@settings(max_examples=30, deadline=None)
@given(streams(), ORDER, CUTS)
def test_interleaving_of_meters_changes_no_row_and_no_newest_reading(
    parts: list[list[Record]], order: list[int], cuts: list[int]
) -> None:
    whole = follow(one_after_the_other(parts))
    again = follow(births() + merged(parts, order), cuts=cuts)
    assert again.values == whole.values
    assert again.latest == whole.latest


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


def test_a_missing_factor_is_an_event_once_a_month_however_the_stream_is_cut() -> None:
    world = context(policy=Pinned("there-is-none"))
    records = [
        *births(),
        *readings("plain", *((i * QUARTER_MS, i) for i in range(1, 9))),
        *readings("heat", (0, 0), (QUARTER_MS, 9)),
    ]
    whole, state = step(State(), records, world).events, State()
    found = [(e.kind, e.meter, e.t_ms, e.detail["month"]) for e in whole]
    months = ("2026-10", "2026-11")
    assert found == [("missing_factor", "plain", local_month(m, world.park.tz).start_ms, m) for m in months]
    cut = [event for record in records for event in step(state, [record], world).events]
    assert {(e.t_ms, e.kind, str(e.detail)) for e in cut} == {(e.t_ms, e.kind, str(e.detail)) for e in whole}


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
    assert ledger == Ledger.empty()


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
    assert (row.t_ms, row.value, row.received_ms) == (T0 + 60_000, 102 * 800.0, T0 + 60_050)


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


def test_a_total_that_the_registry_no_longer_has_rests() -> None:
    state = State()
    step(state, [*births(), *readings("plain", (0, 5))], context())
    without = context(park(plain={"roles": {}}))
    assert not state.declared_anew(without)
    assert not step(state, readings("plain", (QUARTER_MS, 9)), without).intervals


def test_a_roll_over_keeps_every_count_once_three_totals_agree() -> None:
    quarters = [(i * QUARTER_MS, raw) for i, raw in enumerate([9_990, 9_996, 3, 8, 14])]
    ledger = follow([*births(), *readings("pv", *quarters)])
    assert [row.energy for row in ledger.rows] == [6, 7, 5, 6]
    assert [(e.kind, e.detail.get("adjustment", 0)) for e in ledger.events] == [
        ("pending_fall", 0),
        ("rollover", 10_000),
    ]
    assert {row.quality for row in ledger.rows} == {0}


def test_a_reset_counts_from_zero_and_is_questionable() -> None:
    quarters = [(i * QUARTER_MS, raw) for i, raw in enumerate([500_000, 500_100, 40, 90, 150])]
    ledger = follow([*births(), *readings("plain", *quarters)])
    assert [row.energy for row in ledger.rows] == [100 * 800, 40 * 800, 50 * 800, 60 * 800]
    assert [row.quality for row in ledger.rows] == [0, 3, 0, 0]
    assert ledger.kinds == ["pending_fall", "reset"]


def test_a_step_back_after_a_power_loss_counts_on_from_there() -> None:
    quarters = [(i * QUARTER_MS, raw) for i, raw in enumerate([500_000, 500_100, 500_050, 500_090, 500_150])]
    ledger = follow([*births(), *readings("plain", *quarters)])
    assert [row.energy for row in ledger.rows] == [100 * 800, 0, 40 * 800, 60 * 800]
    assert ledger.kinds == ["pending_fall", "step_back"]


def test_what_no_rule_explains_waits_for_a_person() -> None:
    quarters = [
        (i * QUARTER_MS, raw) for i, raw in enumerate([500_000, 500_100, 250_000, 250_010, 250_020, 250_030])
    ]
    ledger = follow([*births(), *readings("plain", *quarters)])
    assert ledger.kinds == ["pending_fall", "unexplained"]
    assert [row.energy for row in ledger.rows] == [100 * 800]
    assert ledger.progress["plain", "energy_import_total"].pending


def test_an_exchange_declared_afterwards_explains_it_to_the_last_count() -> None:
    quarters = [
        (i * QUARTER_MS, raw) for i, raw in enumerate([500_000, 500_100, 250_000, 250_010, 250_020, 250_030])
    ]
    swap = {
        "at": to_local(T0 + QUARTER_MS + QUARTER_MS // 2, ZoneInfo("UTC")),
        "closing": {"energy_import_total": "5001.40"},
        "opening": {"energy_import_total": "2499.90"},
    }
    ledger = follow([*births(), *readings("plain", *quarters)], context(park(plain={"exchanges": [swap]})))
    assert [row.energy for row in ledger.rows] == [100 * 800, (40 + 10) * 800, 8000, 8000, 8000]
    assert [(e.kind, e.detail["adjustment"]) for e in ledger.events] == [
        ("exchange", (500_140 - 249_990) * 800)
    ]


def test_a_ratio_change_cuts_the_energy_at_its_moment() -> None:
    change = {"at": to_local(T0 + QUARTER_MS // 3, ZoneInfo("UTC")), "ct": "120"}
    records = [*births(), *readings("plain", (0, 500_000), (QUARTER_MS, 500_090), (2 * QUARTER_MS, 500_120))]
    ledger = follow(records, context(park(plain={"ratio_changes": [change]})))
    assert [row.energy for row in ledger.rows] == [30 * 800 + 60 * 1200, 30 * 1200]
    assert ledger.kinds == ["ratio_change"]


def test_a_float_that_lost_its_last_digit_costs_no_energy_and_is_told_once() -> None:
    quarters = [(i * QUARTER_MS, raw) for i, raw in enumerate([10.0, 11.0, 10.99, 10.99, 12.0])]
    ledger = follow([*births(), *readings("float", *quarters)])
    assert [row.energy for row in ledger.rows] == [1000, 0, 0, 1000]
    assert ledger.kinds == ["last_digit"]


def test_of_two_values_of_one_time_the_smaller_counts_whichever_came_first() -> None:
    for first, second in ((7, 9), (9, 7)):
        records = [
            *births(),
            *readings("pv", (0, 1), (QUARTER_MS, first), (QUARTER_MS, second), (2 * QUARTER_MS, 12)),
        ]
        ledger = follow(records)
        assert [(row.energy, row.quality) for row in ledger.rows] == [(6, 0), (5, 3)]
        assert [kind for kind in ledger.kinds if kind != "restated"] == ["conflicting_reading"]


def test_a_late_reading_restates_exactly_the_intervals_it_touches() -> None:
    gap = [(0, 0), (4 * QUARTER_MS, 400), (5 * QUARTER_MS, 500)]
    records = [*births(), *readings("pv", *gap), *readings("pv", (2 * QUARTER_MS, 100))]
    ledger = follow(records, cuts=[len(records) - 1])
    assert [(row.energy, row.revision) for row in ledger.rows] == [
        (50, 2),
        (50, 2),
        (150, 2),
        (150, 2),
        (100, 1),
    ]
    (event,) = ledger.events
    assert (event.kind, event.detail["intervals"]) == ("restated", 4)
    assert (event.detail["energy_before"], event.detail["energy_after"]) == (400, 400)


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
