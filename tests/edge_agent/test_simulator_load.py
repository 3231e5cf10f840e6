"""Loads are pure, never fall, and add up exactly to their slots."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.simulator import shapes
from edge_agent.simulator.load import (
    ANCHOR_MS,
    LOCAL_OFFSET_MS,
    NO_LOAD,
    SLOT_MS,
    CalendarLoad,
    CyclicLoad,
    Load,
    SumLoad,
    combine,
    net_export,
    net_import,
    share,
    slot_of,
)

FACTORY = shapes.factory("s", "a", 400_000)
OFFICE = shapes.office("s", "b", 90_000)
PV = shapes.pv("s", "c", 500_000)
ODD = CalendarLoad(
    lambda first, count: [(slot * slot) % 7_919 * 1_000_003 for slot in range(first, first + count)]
)
LOADS: list[Load] = [FACTORY, OFFICE, PV, ODD, SumLoad((FACTORY, ODD)), combine(net_import, ODD, PV)]
NETS = [(load, combine(net_import, load, PV), combine(net_export, load, PV)) for load in (FACTORY, ODD)]
YEARS_MS = 4 * 366 * 86_400_000
times = st.integers(ANCHOR_MS, ANCHOR_MS + YEARS_MS)


def slowly(load: Load, t_ms: int) -> int:
    """The slow twin: every slot since the anchor, one by one."""
    first, (last, passed) = slot_of(ANCHOR_MS)[0], slot_of(t_ms)
    return sum(load.slots(first, last - first)) + load.slots(last, 1)[0] * passed // SLOT_MS


@given(st.sampled_from(LOADS), times)
def test_a_position_is_the_sum_of_its_slots(load: Load, t_ms: int) -> None:
    assert load.position(t_ms) == slowly(load, t_ms)


@given(st.sampled_from(LOADS), times, st.integers(0, 40 * 86_400_000))
def test_a_position_never_falls(load: Load, t_ms: int, later_ms: int) -> None:
    assert load.position(t_ms) <= load.position(t_ms + later_ms)


@given(st.integers(0, 200_000), st.integers(0, 300), st.sampled_from(LOADS))
def test_slots_do_not_depend_on_the_stretch_they_are_asked_in(first: int, count: int, load: Load) -> None:
    assert load.slots(first, count) == [load.slots(first + at, 1)[0] for at in range(count)]


@given(times)
def test_a_sum_is_the_sum_of_its_parts_at_every_millisecond(t_ms: int) -> None:
    assert SumLoad((FACTORY, PV, ODD)).position(t_ms) == sum(
        load.position(t_ms) for load in (FACTORY, PV, ODD)
    )


@given(times.map(lambda t_ms: t_ms - t_ms % SLOT_MS), st.sampled_from(NETS))
def test_import_less_export_is_load_less_pv_and_a_slot_has_only_one(
    t_ms: int, nets: tuple[Load, Load, Load]
) -> None:
    load, imported, exported = nets
    assert imported.position(t_ms) - exported.position(t_ms) == load.position(t_ms) - PV.position(t_ms)
    slot = slot_of(t_ms)[0]
    assert 0 in (imported.slots(slot, 1)[0], exported.slots(slot, 1)[0])


def test_every_load_stands_at_zero_on_the_anchor() -> None:
    assert [load.position(ANCHOR_MS) for load in [*LOADS, NO_LOAD]] == [0] * (len(LOADS) + 1)


def test_a_load_combined_of_cycles_stays_a_cycle() -> None:
    net = combine(net_import, SumLoad((FACTORY, OFFICE, NO_LOAD)), PV)
    assert isinstance(net, CyclicLoad)
    assert len(net.cycle) == 28 * 96
    assert isinstance(combine(share(20), ODD), CalendarLoad)


def test_the_sun_does_not_shine_at_local_night_and_offices_rest_at_weekends() -> None:
    midnight = slot_of(ANCHOR_MS + 86_400_000 - LOCAL_OFFSET_MS)[0]  # Tuesday, 0:00 local
    assert PV.slots(midnight, 24) == [0] * 24
    assert sum(PV.slots(midnight + 24, 50)) > 0
    week = [sum(OFFICE.slots(midnight - 96 + 96 * day, 96)) for day in range(7)]
    assert max(week[5:]) < min(week[:5]) / 2


def test_another_seed_or_meter_gives_another_load() -> None:
    cycles = {tuple(shapes.factory(seed, name, 400_000).cycle) for seed in "ab" for name in "xy"}
    assert len(cycles) == 4
