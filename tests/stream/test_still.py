"""Frozen meters: worked examples, the naive twin, and what must not change what is marked and told."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering import frames
from metering.intervals import QUARTER_MS
from metering.quality import Quality
from metering.registry import Park, parse_registry
from metering.sparkplug import DataType, Metric, Payload, encode
from storage.segment import Record
from stream.kernels import still
from stream.state import State, StateError
from stream.step import step
from tests.naive_power import Integral
from tests.naive_still import Still
from tests.stream.strategies import T0, Ledger, context, follow, naive, uncompiled

REGISTERS: dict[str, list[tuple[str, DataType, str]]] = {
    "main": [
        ("energy_import_total", DataType.UINT32, "kWh"), ("energy_export_total", DataType.UINT32, "kWh"),
        ("power_active", DataType.INT32, "W"), ("voltage_l1", DataType.FLOAT, "V"),
    ],
    "solar": [("power_active", DataType.INT32, "W"), ("voltage_l1", DataType.FLOAT, "V")],
}  # fmt: skip
ROLES = {
    "main": {"energy_import_total": "grid_boundary", "energy_export_total": "export"},
    "solar": {"power_active": "pv_generation"},
}
Q = QUARTER_MS


def park() -> Park:
    return parse_registry(
        {
            "id": "p", "name": "p", "grid_scope": "CN-AH", "enterprises": [{"id": "e", "name": "e"}],
            "sites": [{"id": "s", "enterprise": "e", "name": "s"}], "gateways": [{"id": "gw", "site": "s"}],
            "meters": [{"id": name, "gateway": "gw", "roles": roles} for name, roles in ROLES.items()],
        }
    )  # fmt: skip


def alias(meter: str, name: str) -> int:
    return 10 * list(REGISTERS).index(meter) + [row[0] for row in REGISTERS[meter]].index(name) + 1


def births() -> list[Record]:
    out = []
    for meter, rows in REGISTERS.items():
        metrics = tuple(
            Metric(
                name=name, alias=alias(meter, name), datatype=datatype, is_null=True,
                properties={frames.PROPERTY_UNIT: unit, frames.PROPERTY_SCALE: 0},
            )
            for name, datatype, unit in rows
        )  # fmt: skip
        out.append(Record(f"spBv1.0/p/DBIRTH/gw/{meter}", encode(Payload(metrics, timestamp=1)), 1))
    return out


def frame(meter: str, t: int, values: Mapping[str, float]) -> Record:
    types = {name: datatype for name, datatype, _unit in REGISTERS[meter]}
    metrics = tuple(
        Metric(
            alias=alias(meter, name), timestamp=t, datatype=types[name],
            value=float(value) if types[name] is DataType.FLOAT else value,
        )
        for name, value in values.items()
    )  # fmt: skip
    return Record(f"spBv1.0/p/DDATA/gw/{meter}", encode(Payload(metrics, timestamp=t)), t + 50)


def main(quarter: float, total: int, power: int, voltage: float = 230.0) -> Record:
    """A whole frame of the main meter, so many quarters after T0."""
    values = {
        "energy_import_total": total,
        "energy_export_total": 0,
        "power_active": power,
        "voltage_l1": voltage,
    }
    return frame("main", T0 + int(quarter * Q), values)


def told(ledger: Ledger) -> set[tuple[object, ...]]:
    return {
        (e.meter, e.reading_type, e.kind, e.t_ms, e.detail.get("until_t_ms", 0), e.detail.get("readings", 0),
         tuple(sorted(e.detail.get("values", {}).items())))
        for e in ledger.events
        if e.kind in {"frozen", "frozen_ended"}
    }  # fmt: skip


def qualities(ledger: Ledger, reading_type: str = "energy_import_total") -> dict[int, int]:
    return {(r.start_ms - T0) // Q: r.quality for r in ledger.rows if r.reading_type == reading_type}


def assert_twin(fast: Ledger, records: Sequence[Record]) -> None:
    slow, still_ = naive(park()), Still()
    slow.feed(records)
    still_.feed(records)
    rows = slow.rows()
    for key, shown in slow.powers().items():
        rows |= Integral(key, shown).rows(slow)
    expected = {
        place: msgspec.structs.replace(row, quality=still_.marked(row)) for place, row in rows.items()
    }
    assert {(r.meter, r.reading_type, r.start_ms): r for r in fast.values} == expected
    totals = {(r.meter, r.reading_type) for r in fast.progress.values()}
    assert told(fast) == {(*key, *event) for key in totals for event in still_.events(key[0])}


def test_an_hour_of_the_same_values_under_load_is_a_frozen_meter() -> None:
    records = [main(i, 1000 + i, 5000 + i) for i in range(3)]
    records += [main(i, 1002, 5002) for i in range(3, 8)] + [
        main(i, 1050 + i, 6000 + i) for i in range(8, 12)
    ]
    ledger = follow([*births(), *records], context(park()))
    assert qualities(ledger) == dict.fromkeys(range(11), 0) | dict.fromkeys(range(3, 9), Quality.QUESTIONABLE)
    mine = [e for e in ledger.events if e.reading_type == "energy_import_total" and e.kind != "restated"]
    assert [(e.kind, (e.t_ms - T0) // Q) for e in mine] == [("frozen", 3), ("frozen_ended", 8)]
    assert mine[0].detail == {
        "until_t_ms": T0 + 7 * Q, "readings": 16,
        "values": {"energy_import_total": 1002, "energy_export_total": 0, "power_active": 5002, "voltage_l1": 230},
    }  # fmt: skip


def test_a_total_that_stands_still_at_no_load_is_not_frozen() -> None:
    """The voltage goes on moving."""
    ledger = follow([*births(), *(main(i, 1000, 0, 230 + i % 2 / 8) for i in range(12))], context(park()))
    assert not ledger.events
    assert set(qualities(ledger).values()) == {0}


def test_a_meter_whose_gauges_are_all_zero_is_not_frozen() -> None:
    ledger = follow([*births(), *(main(i, 1000, 0, 0.0) for i in range(12))], context(park()))
    assert not ledger.events


def test_a_live_power_that_moves_between_whole_frames_is_a_sign_of_life() -> None:
    whole = [main(i, 1000, 5000) for i in range(12)]
    live = [frame("main", T0 + i * Q + Q // 2, {"power_active": 5000 + i}) for i in range(12)]
    records = [record for pair in zip(whole, live, strict=True) for record in pair]
    assert not follow([*births(), *records], context(park())).events


def test_what_is_not_sent_again_repeats_nothing() -> None:
    """A node that reports by exception says a value once: silence is no evidence."""
    powers = [frame("main", T0 + i * Q, {"energy_import_total": 1000}) for i in range(12)]
    assert not follow([*births(), main(0, 1000, 5000), *powers[1:]], context(park())).events


def test_a_late_reading_that_moved_thaws_the_hour_around_it() -> None:
    records = [main(i, 1000, 5000) for i in range(11)]
    ledger = follow([*births(), *records], context(park()))
    assert [e.kind for e in ledger.events] == ["frozen"] * 2
    late = [*births(), *records, frame("main", T0 + 4 * Q + 1, {"voltage_l1": 231.0})]
    thawed = follow(late, context(park()), [len(late) - 1])
    assert [e.kind for e in thawed.events if e.kind != "restated"] == ["frozen"] * 2
    assert {(e.t_ms - T0) // Q for e in thawed.events if e.kind == "frozen"} == {6}
    assert_twin(thawed, late)


def test_a_restatement_because_of_a_frozen_meter_says_so() -> None:
    records = [*births(), *(main(i, 1000, 5000) for i in range(10))]
    ledger = follow(records, context(park()), range(len(records)))
    assert {e.detail["reason"] for e in ledger.events if e.kind == "restated"} == {"frozen"}


def test_a_watch_that_does_not_fit_is_refused_with_the_cure() -> None:
    state = State()
    state.watch.meters["m"] = 0
    with pytest.raises(StateError, match="move the ledger file away"):
        State.restore(state.snapshot())


@st.composite
def histories(draw: st.DrawFn, meter: str) -> list[Record]:
    """Frames of a meter that now moves and now stands still; late, twice, partly, or not at all."""
    now: dict[str, float] = {name: draw(st.integers(0, 3)) for name, _d, _u in REGISTERS[meter]}
    t, out = T0 + draw(st.sampled_from([0, 7, Q - 1, Q // 2])), []
    for _ in range(draw(st.integers(0, 4))):
        moves = draw(st.booleans())
        for _ in range(draw(st.integers(1, 7))):
            if moves:
                for name in now:
                    now[name] += draw(st.integers(0, 2))
            odd = draw(st.integers(0, 9))
            names = draw(st.sets(st.sampled_from(sorted(now)), min_size=1)) if odd == 0 else set(now)
            at = max(0, t - draw(st.sampled_from([1, Q // 3, Q, 2 * Q, 5 * Q]))) if odd == 1 else t
            shown = {name: now[name] + (draw(st.integers(0, 1)) if odd == 2 else 0) for name in sorted(names)}
            out += [frame(meter, at, shown)] * (2 if odd == 3 else 1)
            t += draw(st.sampled_from([Q, Q, Q, Q, Q // 3, Q + 11, 2 * Q, 6 * Q]) if odd < 6 else st.just(Q))
    return out


@st.composite
def streams(draw: st.DrawFn) -> list[Record]:
    parts = [draw(histories(meter)) for meter in REGISTERS]
    return [record for part in parts for record in part]


@settings(max_examples=60, deadline=None)
@given(streams(), st.lists(st.integers(0, 70), max_size=6), st.booleans())
def test_marks_and_events_equal_the_naive_twin_however_the_stream_is_cut(
    records: list[Record], cuts: list[int], restore: bool
) -> None:
    fast = follow([*births(), *records], context(park()), cuts, restore=restore)
    assert_twin(fast, [*births(), *records])


@settings(max_examples=50, deadline=None)
@given(streams(), st.randoms(use_true_random=False), st.lists(st.integers(0, 70), max_size=6))
def test_any_order_of_arrival_gives_the_same_marks_and_events(
    records: list[Record], random: Any, cuts: list[int]
) -> None:
    mixed = random.sample(records, len(records))
    assert_twin(follow([*births(), *mixed], context(park()), cuts), [*births(), *records])


@settings(max_examples=10, deadline=None)
@given(streams(), st.lists(st.integers(0, 70), max_size=3))
def test_compiled_equals_plain_python_bit_for_bit(records: list[Record], cuts: list[int]) -> None:
    compiled = follow([*births(), *records], context(park()), cuts)
    with uncompiled():
        assert follow([*births(), *records], context(park()), cuts) == compiled


def test_swaps_of_neighbouring_frames_within_a_lively_quarter_cost_nothing() -> None:
    polls = [main(i / 60, 1000 + i, 5000 + i, 230 + i / 8) for i in range(60)]
    polls[30], polls[31] = polls[31], polls[30]
    state, world = State(), context(park())
    from stream.step import step  # noqa: PLC0415

    for record in [*births(), *polls]:
        assert not step(state, [record], world).frozen
    assert state.watch.of_meters[0, still.CHANGES] > 0


def test_frames_that_overtake_each_other_ask_for_nothing_while_the_meter_moves() -> None:
    """Every frame of two hours comes after the next one of its meter, over quarter edges too: no meter can have frozen by that."""
    records = [main((i + 1) / 20, 1000 + i, 5000 + 7 * i, 230 + i % 5) for i in range(160)]
    swapped = records[:2] + [records[i ^ 1] for i in range(2, len(records))]
    state, world = State(), context(park())
    asked = step(state, [*births(), *swapped], world).late
    assert not asked
    assert_twin(follow([*births(), *swapped], world), [*births(), *swapped])
