"""What reads many fields at once and writes many metrics at once does what the one by one does."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.assemble import Assembler
from edge_agent.births import DeviceAliases
from edge_agent.block_values import BlockValues
from edge_agent.buses.line import Line
from edge_agent.plan import block_of
from edge_agent.profile_model import Register, fields_of
from edge_agent.reader import Heard
from edge_agent.readings_body import readings_body
from edge_agent.registers import decode
from edge_agent.wiretypes import WIRE
from metering.sparkplug import DATATYPE_BY_NAME, DataType, Metric, encode_metrics
from tests.edge_agent.test_registers import register

T = 1_793_462_400_000
NAMES = ("voltage_l1", "voltage_l2", "voltage_l3", "current_l1", "current_l2", "power_active", "frequency")
PATTERNS: dict[str, list[object]] = {
    "float": [0x7FC00000, 0x80000000, {"value": 0, "mask": 0xFFFF}],
    "int": [0x8000, 0xFFFF, 0x7FFFFFFF, {"value": 0x7F00, "mask": 0xFF00}],
}


@st.composite
def fields(draw: st.DrawFn) -> list[Register]:
    """Some fields in a row: of any type and order, some beside each other, some with gaps, some over each other."""
    found, addr = [], 0
    for name in NAMES[: draw(st.integers(1, len(NAMES)))]:
        type_ = draw(st.sampled_from([*WIRE, *["uint16", "int32", "float32", "uint64"] * 8]))
        patterns = PATTERNS["float" if type_.startswith("float") else "int"]
        more: dict[str, object] = {"invalid": draw(st.lists(st.sampled_from(patterns), max_size=2))}
        if draw(st.integers(0, 3)) == 0:
            more["word_order"] = "low_first"
        found.append(register(type_, reading_type=name, addr=addr, **more))
        addr = max(0, addr + WIRE[type_].width + draw(st.sampled_from([0, 0, 0, 1, 5, -1])))
    return sorted(found, key=lambda item: item.addr)


@given(fields(), st.data())
@settings(max_examples=300, deadline=None)
def test_a_block_says_the_same_as_each_of_its_fields(wanted: list[Register], data: st.DataObject) -> None:
    block = block_of(wanted)
    edge = st.sampled_from([0, 1, 0x7F00, 0x7FC0, 0x7F80, 0x8000, 0xFFFF, 0x7FFF])
    words = data.draw(
        st.lists(st.one_of(edge, st.integers(0, 0xFFFF)), min_size=block.count, max_size=block.count)
    )
    values = BlockValues(block, wanted)
    expected = {id(field): decode(field, own) for field, own in block.split(words)}
    found = {id(field): raw for field, raw in zip(values.fields, values.values(words), strict=True)}
    assert {key: repr(raw) for key, raw in found.items()} == {key: repr(raw) for key, raw in expected.items()}


def test_words_that_are_not_the_whole_block_are_no_values() -> None:
    item = register("uint16")
    with pytest.raises(ValueError, match="a block of 1 registers is not 2 words"):
        BlockValues(block_of([item]), [item]).values([1, 2])


@given(fields(), st.data())
@settings(max_examples=100, deadline=None)
def test_readings_come_in_the_registers_order_however_they_were_read(
    wanted: list[Register], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(fields_of(wanted)))
    heard = [Heard(block_of([field]), [i + 1] * field.width, T + i) for i, field in enumerate(order)]
    expected = [
        (item, one.t_ms, raw)
        for item in wanted
        for one in heard
        if one.block.fields[0][0] == item and (raw := decode(item, one.words)) is not None
    ]
    assert Assembler(wanted).readings(heard) == expected


@given(st.sampled_from(sorted(WIRE)), st.data())
@settings(max_examples=300, deadline=None)
def test_a_body_is_what_the_plain_encoder_writes(type_: str, data: st.DataObject) -> None:
    item = register(type_)
    words = data.draw(st.lists(st.integers(0, 0xFFFF), min_size=item.width, max_size=item.width))
    raw = decode(item, words)
    alias, t_ms = data.draw(st.integers(1, 1 << 20)), data.draw(st.integers(0, 1 << 42))
    if raw is None:
        return
    for value in (raw, int(raw), float(raw)):  # The last two: not as the datatype has it.
        metrics = [
            Metric(alias=alias, timestamp=t_ms, datatype=DATATYPE_BY_NAME[item.datatype], value=value),
            Metric(alias=7, timestamp=t_ms + 1, datatype=DataType.STRING, value="0012"),
        ]
        aliases = DeviceAliases(1, 2, {item.name: alias}, 7)
        assert readings_body(aliases, [(item, t_ms, value)], (t_ms + 1, "0012")) == encode_metrics(
            metrics, with_datatype=False
        )


def test_one_timer_serves_waits_of_every_length() -> None:
    """A wait ends at its own time, whether the one before asked for a later or an earlier one."""

    async def waits() -> None:
        line, loop = Line(), asyncio.get_running_loop()

        async def wait(seconds: float, *, answer: bool) -> Any:
            if answer:
                loop.call_soon(line.data_received, b"x")
            begun_s = loop.time()
            heard = await line.listen(begun_s + seconds)
            assert heard is answer
            return loop.time() - begun_s

        assert await wait(5, answer=True) < 2.5
        assert 0.04 <= await wait(0.05, answer=False) < 2.5  # Shorter than the timer that still stands.
        assert await wait(0.05, answer=True) < 2.5
        assert await wait(0.2, answer=False) >= 0.19  # Longer.
        loop.call_later(0.02, line.connection_lost, None)
        assert await line.listen(loop.time() + 5)

    asyncio.run(waits())
