"""The state: put down and picked up without loss, refused when another version wrote it."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.segment import Record
from stream.state import State, StateError
from stream.step import step
from tests.stream.strategies import births, context, merged, park, readings, streams


def same(left: State, right: State) -> bool:
    parts = ("channels", "index")
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
    state, world = State(), context()
    first, other = ("plain", "energy_import_total"), ("pv", "energy_generation_total")
    assert [state.channel(key, world) for key in (first, other, first)] == [0, 1, 0]
    assert state.arrays.shape[0] == 2


@pytest.mark.parametrize(
    ("change", "since"),
    [
        ({"ct": "600/5"}, -1),
        ({"pt": "2"}, -1),
        ({"roles": {"energy_import_total": "sub_meter"}}, -1),
        ({"ratio_changes": [{"at": "2026-10-03T04:05:06+08:00", "ct": 100}]}, 1_790_971_506_000),
        ({"name": "another name"}, None),
    ],
)
def test_a_registry_that_says_something_else_names_the_total_and_since_when(
    change: dict[str, object], since: int | None
) -> None:
    state = State()
    step(state, [*births(), *readings("plain", (0, 5)), *readings("pv", (0, 5))], context())
    assert not state.declared_anew(context())
    found = state.declared_anew(context(park(plain=change)))
    assert found == ({} if since is None else {("plain", "energy_import_total"): since})
    assert not state.declared_anew(context(park(plain=change)))
