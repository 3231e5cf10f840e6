"""Meters whose registers repeat, as readings come in: who has to be looked at closely. Its plain twin is `tests/naive_still.py`.

Quarter hours are judged when they are over. A *change* is a reading that differs, bit for bit, from the one before of its
register, if that is no older than `LOOK_BACK` quarters. A quarter is *still* when no register changes in it while a gauge repeats
a value that is not zero; `ENOUGH` still quarters in a row are a frozen meter. `stream.still` finds out exactly which quarters
are; what stands here only has to notice every reading that can matter to that, and may ask once too often.
"""

import numpy as np
from numpy.typing import NDArray

from metering.intervals import QUARTER_MS
from stream.kernels import inlined, part

I64 = NDArray[np.int64]

LOOK_BACK = 4
"""Quarters: a value that is older says nothing about standing still."""
ENOUGH = 4
"""Still quarters in a row. With what they repeat that is an hour and five readings, as a gateway publishes by default (ours)."""

# A meter: the running quarter, the least changes that it and the one before surely have, whether a gauge repeated in
# them, still quarters in a row before the running one (no more than `ENOUGH` are counted), end of the last marked quarter.
NOW, CHANGES, LIVE, CHANGES_BEFORE, LIVE_BEFORE, STILL, MARKED = range(7)
METER_COLUMNS = 7
# A register: its meter's row, the time and the bits of its newest reading, and a time between which and the newest none lies.
OWNER, T, BITS, BEFORE = range(4)
REGISTER_COLUMNS = 4
NEVER = -1


@inlined
def observe(at: int, t: int, bits: int, repeats: bool, registers: I64, meters: I64, again: I64) -> None:
    """Take up a reading of a register, in any order; again[m] becomes the earliest quarter of meter m to be looked at closely.

    `bits` are those of its value; `repeats`: equal to the one before it would repeat a value that is not zero, of a gauge.
    The newest reading of a register that had one in the running quarter goes a short way.
    """
    owner, before = registers[at, OWNER], registers[at, T]
    start = meters[owner, NOW] * QUARTER_MS
    if start <= before < t < start + QUARTER_MS:
        if bits != registers[at, BITS]:
            meters[owner, CHANGES] += 1
            registers[at, BITS] = bits
        elif repeats:
            meters[owner, LIVE] = 1
        registers[at, BEFORE], registers[at, T] = before, t
    else:
        out_of_the_usual(registers[at], meters[owner], t, bits, repeats, owner, again)


@part
def out_of_the_usual(r: I64, m: I64, t: int, bits: int, repeats: bool, owner: int, again: I64) -> None:
    """A reading that begins a quarter, or is not the newest one of its register, or has none before it."""
    quarter = t // QUARTER_MS
    if m[NOW] == NEVER:
        m[NOW] = quarter
    over = m[NOW]
    if quarter > over and turn(m, quarter):
        ask(again, owner, over)
    # What comes into a marked quarter afterwards is evidence, even where it changes no mark.
    if not taken(r, m, t, bits, repeats) or quarter < m[MARKED]:
        ask(again, owner, quarter)


@part
def ask(again: I64, owner: int, quarter: int) -> None:
    """Remember the earliest."""
    if again[owner] == NEVER or quarter < again[owner]:
        again[owner] = quarter


@part
def turn(m: I64, quarter: int) -> bool:
    """The running quarter is over, another begins; whether one that is over is marked for it."""
    over, before = m[NOW], m[STILL]
    still = m[CHANGES] == 0 and m[LIVE] > 0
    m[STILL] = min(before + 1, ENOUGH) if still else 0
    marked: bool = m[STILL] >= ENOUGH or before >= ENOUGH
    if marked:
        m[MARKED] = over + 1
    follows = quarter == over + 1
    if not follows:
        if m[STILL] >= ENOUGH:
            m[MARKED] = over + 2
        m[STILL] = 0
    m[CHANGES_BEFORE], m[LIVE_BEFORE] = (m[CHANGES], m[LIVE]) if follows else (0, 0)
    m[NOW], m[CHANGES], m[LIVE] = quarter, 0, 0
    return marked


@part
def taken(r: I64, m: I64, t: int, bits: int, repeats: bool) -> bool:
    """Take a reading into its register and quarter; False when that quarter, or one after it, may be another than was thought."""
    quarter, before, known = t // QUARTER_MS, r[T], r[BITS]
    if before != NEVER and t < before:
        next_to_it = t > r[BEFORE]
        r[BEFORE] = max(r[BEFORE], t)
        if next_to_it and bits != known:
            return beside_a_change(m, quarter)
        return absorbed(m, quarter, before // QUARTER_MS)
    if t == before and bits <= known:
        r[BEFORE] = t if bits != known else r[BEFORE]
        return bits == known or contradicted(m, quarter)
    r[T], r[BITS], r[BEFORE] = t, bits, before
    if before == NEVER or before // QUARTER_MS < quarter - LOOK_BACK:
        return True
    return counted(m, quarter, bits != known, repeats)


@part
def counted(m: I64, quarter: int, changes: bool, repeats: bool) -> bool:
    """Count the newest reading of a register, as a change or as a gauge that repeats; False as in `taken`."""
    if quarter == m[NOW]:
        if changes:
            m[CHANGES] += 1
        elif repeats:
            m[LIVE] = 1
        return True
    if quarter != m[NOW] - 1:
        return False
    if changes:
        m[CHANGES_BEFORE] += 1
    settled: bool = m[CHANGES_BEFORE] > (1 if changes else 0) or (
        not changes and (m[LIVE_BEFORE] > 0 or not repeats)
    )
    return settled


@part
def contradicted(m: I64, quarter: int) -> bool:
    """A smaller value beside its register's newest one: whatever was before, their quarter has a change now."""
    if quarter == m[NOW]:
        m[CHANGES] = max(m[CHANGES], 1)
        return True
    known: bool = quarter == m[NOW] - 1 and m[CHANGES_BEFORE] > 0
    return known


@part
def beside_a_change(m: I64, quarter: int) -> bool:
    """Whether a reading just before its register's newest one, and different from it, leaves every quarter moving that was.

    The newest one is a change now, whatever it was, so no quarter has fewer; that of the reading itself may have more.
    """
    settled: bool = quarter == m[NOW] or (quarter == m[NOW] - 1 and m[CHANGES_BEFORE] > 0)
    return settled


@part
def absorbed(m: I64, quarter: int, newest: int) -> bool:
    """Whether a reading before its register's newest one, which lies in quarter `newest`, leaves every quarter moving that was.

    It may take one change away from where the register changed next, at most.
    """
    if quarter < m[NOW] - 1:
        return False
    if quarter == m[NOW] - 1:
        if m[CHANGES_BEFORE] < 2:
            return False
        m[CHANGES_BEFORE] -= 1
    if newest == m[NOW]:
        if m[CHANGES] < 2:
            return False
        m[CHANGES] -= 1
    return True
