"""What births declare, joined for a batch: the same whatever else is in the park, and no dearer when all of it reconnects."""

from collections.abc import Iterator, Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from metering.registry import Park, parse_registry
from storage.segment import Record
from stream.batch import Aliases, Birth, Data, Joined, runs, take_birth
from stream.binding import Binding
from stream.kernels import records as r
from stream.watch import appended
from tests.stream.strategies import DEVICES, birth, frame, park

GATEWAYS = [f"g{i}" for i in range(60)]


def said(records: Sequence[Record], aliases: Aliases, known: Park) -> Iterator[tuple[Data, Joined]]:
    """Every run of data messages with the bindings that are joined for it."""
    for run in runs(records):
        if isinstance(run, Birth):
            take_birth(aliases, run, known)
        else:
            yield run, aliases.joined_for(run.block)


def spans(data: Data, joined: Joined) -> list[list[Binding]]:
    """The bindings of each message's gateway."""
    number = joined.gateway(data.block.topics)[data.block.places[r.CODE]].tolist()
    return [joined.table.bindings[joined.first[i] : joined.first[i + 1]] for i in number]


MESSAGES = st.lists(
    st.one_of(st.builds(birth, st.sampled_from([*DEVICES])), st.builds(frame, st.sampled_from([*DEVICES]), st.just(5), st.just(1)))
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(MESSAGES)
def test_each_message_finds_what_its_gateway_has_declared_by_then(records: list[Record]) -> None:
    aliases = Aliases()
    for data, joined in said(records, aliases, park()):
        known = {name: [declared[alias] for alias in sorted(declared)] for name, declared in aliases.items()}
        wanted = [known.get(record.topic.split("/")[3], []) for record in data.block]
        assert spans(data, joined) == wanted


def large_park() -> Park:
    """A gateway with one meter, many times."""
    return parse_registry(
        {
            "id": "p", "name": "p", "zone": "Asia/Shanghai", "grid_scope": "CN-AH", "enterprises": [{"id": "e", "name": "e"}],
            "sites": [{"id": "s", "enterprise": "e", "name": "s"}], "gateways": [{"id": name, "site": "s"} for name in GATEWAYS],
            "meters": [{"id": name, "gateway": name, "roles": {"energy_import_total": "sub_meter"}} for name in GATEWAYS],
        }
    )  # fmt: skip


def test_a_park_that_reconnects_joins_each_gateways_bindings_once() -> None:
    records = []
    for name in GATEWAYS:
        mine = birth("plain"), frame("plain", 5, 1)
        records += [replace(x, topic=x.topic.replace("/gw1/plain", f"/{name}/{name}")) for x in mine]
    joined = [len(found.table.bindings) for _data, found in said(records, Aliases(), large_park())]
    assert joined == [1] * len(GATEWAYS)


def test_the_same_birth_again_leaves_what_was_joined() -> None:
    aliases, known = Aliases(), park()
    records = [
        birth("plain"),
        birth("tiny"),
        frame("plain", 5, 1),
        birth("plain"),
        frame("plain", 6, 1),
        frame("tiny", 6, 1),
    ]
    _first, (_data, joined) = said(records, aliases, known)
    assert joined is aliases.joined
    ((_data, again),) = said([birth("plain"), frame("plain", 7, 1)], aliases, known)
    assert again is joined


@given(st.lists(st.integers(0, 5), max_size=30))
def test_rows_appended_bit_by_bit_are_the_rows(sizes: list[int]) -> None:
    table, twin = np.zeros((0, 3), np.int64), np.zeros((0, 3), np.int64)
    for i, size in enumerate(sizes):
        rows = np.full((size, 3), i, np.int64)
        table, twin = appended(table, rows), np.vstack([twin, rows])
    assert (table == twin).all()
    assert table.shape == twin.shape
