"""Block reads: every register once, within limits, and never more reads than the best of all partitions."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.plan import Block, plan, select
from edge_agent.profile import Forbidden, Limits, Register, bundled_profiles, load_profile

TYPES = {1: "uint16", 2: "uint32", 4: "uint64"}


def register(addr: int, width: int = 1, fc: int = 3) -> Register:
    row = {"reading_type": "power_active", "addr": addr, "fc": fc, "type": TYPES[width], "unit": "W"}
    return Register.model_validate({**row, "source": ("S1",), "confidence": "A"})


@st.composite
def registers_and_limits(draw: st.DrawFn, most: int) -> tuple[list[Register], Limits]:
    """Registers that do not overlap, and limits whose forbidden areas lie between them."""
    registers: list[Register] = []
    forbidden: list[Forbidden] = []
    for fc in (3, 4):
        addr = 0
        for gap, width, forbid in draw(
            st.lists(
                st.tuples(st.integers(0, 12), st.sampled_from([1, 2, 4]), st.booleans()), max_size=most // 2
            )
        ):
            if forbid and gap:
                first = addr + draw(st.integers(0, gap - 1))
                forbidden.append(Forbidden(fc=fc, first=first, last=draw(st.integers(first, addr + gap - 1))))
            registers.append(register(addr + gap, width, fc))
            addr += gap + width
    limits = Limits(
        max_registers=draw(st.integers(4, 20)), gap=draw(st.integers(0, 12)), forbidden=tuple(forbidden)
    )
    return draw(st.permutations(registers)), limits


def may_be_one_read(group: list[Register], limits: Limits) -> bool:
    """Word by word: one function code, short enough, no forbidden word, no long stretch of unwanted words."""
    fcs = {item.fc for item in group}
    first, end = min(item.addr for item in group), max(item.end for item in group)
    if len(fcs) > 1 or end - first > limits.max_registers:
        return False
    wanted = {addr for item in group for addr in range(item.addr, item.end)}
    unwanted = 0
    for addr in range(first, end):
        unwanted = 0 if addr in wanted else unwanted + 1
        if unwanted > limits.gap or any(a.fc in fcs and a.first <= addr <= a.last for a in limits.forbidden):
            return False
    return True


def partitions(items: list[Register]) -> Iterator[list[list[Register]]]:
    if not items:
        yield []
        return
    head, *rest = items
    for smaller in partitions(rest):
        yield [[head], *smaller]
        for at, group in enumerate(smaller):
            yield [*smaller[:at], [head, *group], *smaller[at + 1 :]]


def fewest_reads(registers: list[Register], limits: Limits) -> int:
    """The slow, obvious twin: the smallest of all partitions into allowed reads."""
    allowed = (p for p in partitions(registers) if all(may_be_one_read(group, limits) for group in p))
    return min(len(partition) for partition in allowed)


@given(case=registers_and_limits(most=30))
def test_each_register_is_read_once_and_whole_within_the_limits(case: tuple[list[Register], Limits]) -> None:
    registers, limits = case
    blocks = plan(registers, limits)
    placed = [item for block in blocks for item, _offset in block.registers]
    assert sorted(placed, key=lambda r: (r.fc, r.addr)) == sorted(registers, key=lambda r: (r.fc, r.addr))
    for block in blocks:
        group = [item for item, _offset in block.registers]
        assert may_be_one_read(group, limits)
        assert (block.addr, block.count) == (group[0].addr, group[-1].end - group[0].addr)
        for item, offset in block.registers:
            assert item.fc == block.fc
            assert item.addr == block.addr + offset
            assert 0 <= offset <= block.count - item.width


@given(case=registers_and_limits(most=6))
@settings(max_examples=150, deadline=None)
def test_no_partition_needs_fewer_reads(case: tuple[list[Register], Limits]) -> None:
    registers, limits = case
    assert len(plan(registers, limits)) == fewest_reads(registers, limits)


def test_function_codes_are_never_mixed() -> None:
    blocks = plan([register(0, fc=3), register(1, fc=4)], Limits())
    assert [(block.fc, block.addr, block.count) for block in blocks] == [(3, 0, 1), (4, 1, 1)]


def test_a_gap_as_long_as_worth_reading_is_read_over() -> None:
    assert len(plan([register(0), register(9)], Limits(gap=8))) == 1
    assert len(plan([register(0), register(10)], Limits(gap=8))) == 2


def test_a_read_is_exactly_as_long_as_the_limit_and_no_longer() -> None:
    assert len(plan([register(0), register(3)], Limits(max_registers=4))) == 1
    assert len(plan([register(0), register(3, 2)], Limits(max_registers=4))) == 2


def test_a_forbidden_area_splits_only_its_own_function_code() -> None:
    limits = Limits(forbidden=(Forbidden(fc=3, first=2, last=2),))
    assert len(plan([register(0), register(4)], limits)) == 2
    assert len(plan([register(0, fc=4), register(4, fc=4)], limits)) == 1


def test_a_register_wider_than_one_read_is_refused() -> None:
    with pytest.raises(ValueError, match="wider than one read"):
        plan([register(0, 4)], Limits(max_registers=3))


def test_a_block_hands_each_register_its_own_words() -> None:
    first, second = register(10), register(13, 2)
    block = Block(3, 10, 5, ((first, 0), (second, 3)))
    assert list(block.split([1, 2, 3, 4, 5])) == [(first, [1]), (second, [4, 5])]


def test_no_registers_need_no_read() -> None:
    assert plan([], Limits()) == ()


@pytest.mark.parametrize("name", bundled_profiles())
def test_a_bundled_profile_is_read_in_few_blocks(name: str) -> None:
    profile = load_profile(name)
    assert profile.protocol == "dlt645" or len(plan(profile.registers, profile.limits)) <= 5


def test_none_selects_every_register() -> None:
    profile = load_profile("abb_b23")
    assert select(profile, None) == profile.registers


def test_named_reading_types_come_in_profile_order() -> None:
    profile = load_profile("abb_b23")
    names = ["energy_export_total", "power_active"]
    assert [item.reading_type for item in select(profile, names)] == ["power_active", "energy_export_total"]


def test_every_reading_type_that_a_profile_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="abb_b23 has no flow, heat_total"):
        select(load_profile("abb_b23"), ["heat_total", "power_active", "flow"])
