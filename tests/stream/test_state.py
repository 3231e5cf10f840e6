"""The state: put down and picked up without loss, refused when another version wrote it."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.segment import Record
from stream.binding import Binding
from stream.state import State, StateError
from stream.step import step
from tests.stream.strategies import births, context, merged, park, readings, streams


def same(left: State, right: State) -> bool:
    parts = ("channels", "index", "aliases")
    return all(getattr(left, part) == getattr(right, part) for part in parts) and np.array_equal(
        left.arrays, right.arrays
    )


@settings(max_examples=30, deadline=None)
@given(streams(size=5))
def test_a_state_picked_up_is_the_one_put_down(parts: list[list[Record]]) -> None:
    state = State()
    step(state, [*births(), *merged(parts, [0, 3, 1])], context())
    again = State.restore(state.snapshot())
    assert same(again, state)
    assert again.snapshot() == state.snapshot()
    assert again.arrays.flags.writeable


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_bytes_that_are_no_state_are_refused_with_a_cure(data: bytes) -> None:
    with pytest.raises(StateError, match="move the ledger file away"):
        State.restore(data)


@pytest.mark.parametrize("change", [{"schema": 1}, {"columns": 9}, {"arrays": b"1234567"}, {"arrays": b""}])
def test_a_state_of_another_shape_is_refused_with_a_cure(change: dict[str, object]) -> None:
    state = State()
    step(state, [*births(), *readings("plain", (0, 5))], context())
    stored = msgspec.msgpack.decode(state.snapshot())
    with pytest.raises(StateError, match="move the ledger file away"):
        State.restore(msgspec.msgpack.encode(stored | change))


def test_a_total_has_one_row_for_ever() -> None:
    state = State()
    first = Binding("total", "m", "energy_import_total", 7, 10, 1)
    other = Binding("total", "m", "energy_export_total", 7, 10, 1)
    assert [state.channel(b, "grid_boundary") for b in (first, other, first)] == [0, 1, 0]
    assert state.arrays.shape[0] == 2


def test_another_unit_or_scale_keeps_the_row_and_another_ratio_is_refused() -> None:
    state = State()
    state.channel(Binding("total", "m", "energy_import_total", 7, 10, 1, "80"), "grid_boundary")
    assert state.channel(Binding("total", "m", "energy_import_total", 8, 1, 1000, "80"), "grid_boundary") == 0
    with pytest.raises(StateError, match=r"meter m, energy_import_total.*80.*120.*rebuilt from the journal"):
        state.channel(Binding("total", "m", "energy_import_total", 7, 10, 1, "120"), "grid_boundary")


@pytest.mark.parametrize(
    "change", [{"ct": "600/5"}, {"pt": "2"}, {"roles": {"energy_import_total": "sub_meter"}}]
)
def test_a_registry_that_contradicts_the_ledger_is_found_before_the_next_frame(
    change: dict[str, object],
) -> None:
    state = State()
    step(state, [*births(), *readings("plain", (0, 5))], context())
    state.check(park())
    with pytest.raises(StateError, match="plain, energy_import_total"):
        state.check(park(plain=change))
