"""Integer arithmetic against Python's own integers."""

from typing import Any, cast

from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.kernels.intmath import mul_div_floor

BIG = st.one_of(st.integers(0, 1 << 62), st.integers(0, 1 << 33), st.integers((1 << 62) - 9, 1 << 62))
I64_MAX = (1 << 63) - 1


def signed(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


@settings(max_examples=200, deadline=None)
@given(BIG, BIG, BIG.filter(bool))
@example(1 << 62, 1 << 62, 1 << 62)
@example((1 << 62) - 1, (1 << 62) - 1, (1 << 62) - 3)
def test_a_product_over_a_third_is_exact_whenever_it_fits(a: int, b: int, c: int) -> None:
    exact = a * b // c
    assert mul_div_floor(a, b, c) == signed(exact), "modulo 2^64, and so equal when it fits"
    if exact <= I64_MAX:
        assert mul_div_floor(a, b, c) == exact


@settings(max_examples=200, deadline=None)
@given(BIG, BIG, BIG.filter(bool))
def test_compiled_and_plain_function_agree(a: int, b: int, c: int) -> None:
    exact, compiled = a * b // c, cast(Any, mul_div_floor)
    assert compiled.py_func(a, b, c) == exact
    if exact <= I64_MAX:
        assert compiled(a, b, c) == compiled.py_func(a, b, c)


@settings(max_examples=200, deadline=None)
@given(st.integers(-(1 << 62), -1), st.integers(0, 1 << 40), st.integers(1, 1 << 40))
def test_negative_positions_are_rounded_down_too(a: int, b: int, c: int) -> None:
    assert mul_div_floor(a, b, c) == signed(a * b // c)


def test_a_share_of_a_gigawatt_month_is_exact() -> None:
    energy_wh, month_ms = 744 * 10**9, 31 * 86_400_000
    assert mul_div_floor(energy_wh, month_ms - 1, month_ms) == energy_wh - 1 - energy_wh // month_ms
