"""Validation: is a total plausible after another one, and if it fell, why.

Every threshold here is ours unless a source is named; `docs/decisions/0004-vee-inside-the-step.md` gives the reasons.
"""

from metering.intervals import HOUR_MS
from stream.kernels import columns as c
from stream.kernels import inlined, kernel, part
from stream.kernels.intmath import mul_div_floor

MARGIN_TENTHS = 11
"""A rise is plausible up to 1.1 × rated power × time (check V05)."""
STEP_BACK_MS = HOUR_MS
"""A meter that lost its supply may come back with a total it saved up to an hour before."""
ENOUGH = 3
"""Consistent totals, the first that did not fit included, that settle what happened."""
TENTH, HUNDREDTH = 10, 100
"""Without a rated power: a roll-over rises by up to a tenth of the modulus; a reset starts within a hundredth."""


@inlined
def limit(elapsed_ms: int, power: int) -> int:
    """The largest plausible rise: floor(1.1 × power × time), power in base units per hour."""
    return mul_div_floor(power * MARGIN_TENTHS, elapsed_ms, 10 * HOUR_MS)


@inlined
def plausible(rise: int, elapsed_ms: int, power: int, grain: int) -> bool:
    """Whether −grain ≤ rise ≤ limit + grain; power 0 means unknown, which lets every rise pass.

    `grain` is one count in base units, rounded up: the last digit may be read either way.
    """
    if rise < -grain:
        return False
    return power == 0 or rise <= limit(elapsed_ms, power) + grain


@kernel
def classify(last: int, found: int, elapsed_ms: int, modulus: int, power: int, grain: int) -> tuple[int, int]:
    """(kind, what the position gains over the register) of a register that went from `last` to `found` and stayed there.

    Roll-over: counting on through the modulus is plausible. Step back: it fell by no more than it can have counted in
    `STEP_BACK_MS`; what it counts again from there is new energy. Reset: it can have counted to `found` from zero.
    Anything else, every implausible rise included, a person has to explain.
    """
    fall = last - found
    if fall > 0 and modulus > 0 and _rolled_over(last, fall, elapsed_ms, modulus, power, grain):
        return c.ROLLOVER, modulus
    if fall <= 0 or found < 0:
        return c.UNEXPLAINED, 0
    if power > 0 and fall <= limit(STEP_BACK_MS, power):
        return c.STEP_BACK, fall
    if plausible(found, elapsed_ms, power, grain) if power > 0 else found <= last // HUNDREDTH:
        return c.RESET, last
    return c.UNEXPLAINED, 0


@part
def _rolled_over(last: int, fall: int, elapsed_ms: int, modulus: int, power: int, grain: int) -> bool:
    """Also of a signed total, which goes from its largest value to its smallest."""
    rise = modulus - fall
    if last > modulus or rise < 0:
        return False
    return plausible(rise, elapsed_ms, power, grain) if power > 0 else rise <= modulus // TENTH
