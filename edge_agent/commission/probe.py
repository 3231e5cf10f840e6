"""Probes a meter: reads it twice, holds it against physics, and names the likely mistake. The CT ratio needs a clamp besides."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import StrEnum

import msgspec

from edge_agent.bus import ReadFailed, Refused
from edge_agent.buses.stations import Station
from edge_agent.commission.alternatives import Evidence, Mistake, explain, judge_words
from edge_agent.commission.physics import NOMINAL_V, SECONDARY_V, Check, Expected, Outcome, Values
from edge_agent.commission.read import Reader, single, values_of
from edge_agent.plan import Block, plan
from edge_agent.profile import Limits, Profile
from metering.units import UNITS

_CLAMP_BAND = 0.05
"""Clamp meters are of class 2 to 3, and the load moves while one reads; neighbouring ratios are 20 % apart."""
_CLAMP_COUNTS = 20
"""Below this many counts the meter's own rounding is wider than the band."""
_ADDRESSES = 0x10000


class Verdict(StrEnum):
    """Whether the register map fits the meter."""

    FITS = "fits"
    DOES_NOT_FIT = "does_not_fit"
    NOT_JUDGED = "not_judged"


class RatioState(StrEnum):
    """What is known of the CT ratio."""

    UNPROVEN = "unproven"
    PROVEN = "proven"
    CONTRADICTED = "contradicted"


class Clamp(msgspec.Struct, frozen=True):
    """A clamp reading on the primary conductor, and the ratio that the installer believes in."""

    amperes: float
    phase: str = "l1"
    ct: float | None = None


class Ratio(msgspec.Struct, frozen=True):
    """The CT ratio after the probe; a meter alone can never prove it."""

    state: RatioState
    expected_a: float | None = None
    """What the conductor carries, by the meter and the ratio."""
    clamp_a: float | None = None
    suggested: float | None = None
    """The ratio that would make meter and clamp agree."""


class Probe(msgspec.Struct, frozen=True):
    """What a probe found."""

    verdict: Verdict
    checks: list[Check]
    mistakes: list[list[Mistake]]
    """Each a set of mistakes that explains what is broken; likeliest first."""
    ratio: Ratio
    values: dict[str, float]
    """Reading type → value in base units, as the meter shows it."""
    unread: list[str]
    """Reading types without a value."""

    @property
    def unexplained(self) -> bool:
        """Physics is broken and no usual mistake repairs it."""
        return not self.mistakes and _verdict(self.checks) is Verdict.DOES_NOT_FIT


class Timing(msgspec.Struct, frozen=True):
    """How the probe waits; a test moves time by hand."""

    seconds: float = 10.0
    """Between the two readings."""
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic


def expected_voltages(profile: Profile, nominal_v: float | None = None, pt: float = 1.0) -> Expected:
    """The phase voltages that this meter may show: as told, behind a voltage transformer, or of the low-voltage grid."""
    if nominal_v is not None:
        return Expected((nominal_v,))
    if pt != 1:
        return Expected(tuple(u * pt if profile.ratio_applied_in_meter else u for u in SECONDARY_V))
    return Expected(NOMINAL_V)


async def probe_meter(
    bus: Reader,
    station: Station,
    profile: Profile,
    expected: Expected,
    timing: Timing,
    clamp: Clamp | None = None,
) -> Probe:
    """Read twice and judge; where physics is broken, read again with a margin and try the likely mistakes."""
    registers = profile.registers
    blocks = plan(registers, profile.limits)
    evidence = await _evidence(bus, station, [(block, *single(block)) for block in blocks], timing)
    checks = judge_words(registers, evidence, expected)
    mistakes: list[list[Mistake]] = []
    if _verdict(checks) is Verdict.DOES_NOT_FIT:
        windows = [window for block in blocks for window in _windows(block, profile.limits)]
        mistakes = explain(registers, await _evidence(bus, station, windows, timing), expected)
    values = values_of(registers, evidence.after)
    ratio = _ratio(profile, values, clamp)
    verdict = Verdict.DOES_NOT_FIT if ratio.state is RatioState.CONTRADICTED else _verdict(checks)
    unread = [register.reading_type for register in registers if register.reading_type not in values]
    return Probe(verdict, checks, mistakes, ratio, values, unread)


def _verdict(checks: Iterable[Check]) -> Verdict:
    outcomes = {check.outcome for check in checks}
    if Outcome.BROKEN in outcomes:
        return Verdict.DOES_NOT_FIT
    return Verdict.FITS if Outcome.HELD in outcomes else Verdict.NOT_JUDGED


async def _evidence(
    bus: Reader, station: Station, windows: Sequence[Sequence[Block]], timing: Timing
) -> Evidence:
    """Two readings. A window is read at once, or in the parts that follow it; ReadFailed when the unit is silent."""
    before, first_s, readable = await _read(bus, station, windows, timing)
    await timing.pause(timing.seconds)
    after, last_s, _blocks = await _read(bus, station, [(block,) for block in readable], timing, again=True)
    # Each word has its own time; all blocks are read in the same order, so the spans are nearly equal.
    return Evidence(before, after, last_s - first_s)


async def _read(
    bus: Reader, station: Station, windows: Sequence[Sequence[Block]], timing: Timing, *, again: bool = False
) -> tuple[dict[tuple[int, int], int], float, list[Block]]:
    """The words, the middle of the time it took, and what could be read. What answered once must do so again."""
    words: dict[tuple[int, int], int] = {}
    readable: list[Block] = []
    start_s = timing.clock()
    for whole, *parts in windows:
        error = await _take(bus, station, whole, words)
        if error is None:
            readable.append(whole)
            continue
        if again or not (words or isinstance(error, Refused)):
            raise error
        readable += [part for part in parts if await _take(bus, station, part, words) is None]
    return words, (start_s + timing.clock()) / 2, readable


async def _take(
    bus: Reader, station: Station, block: Block, words: dict[tuple[int, int], int]
) -> ReadFailed | None:
    try:
        read = await bus.read(station, block)
    except ReadFailed as error:
        return error
    words.update({(block.fc, block.addr + offset): word for offset, word in enumerate(read)})
    return None


def _windows(block: Block, limits: Limits) -> list[list[Block]]:
    """The block with one register on either side; where that is refused, each register alone and as its neighbours see it."""
    first, end = max(block.addr - 1, 0), min(block.addr + block.count + 1, _ADDRESSES)
    whole = Block(block.fc, first, end - first, ())
    near = [
        Block(block.fc, register.addr + shift, register.width, ())
        for register, _offset in block.registers
        for shift in (0, -1, 1)
    ]
    parts = [part for part in near if _allowed(part, limits)]
    return [[whole, block, *parts]] if _allowed(whole, limits) else [[block], *([part] for part in parts)]


def _allowed(block: Block, limits: Limits) -> bool:
    end = block.addr + block.count
    inside = block.addr >= 0 and end <= _ADDRESSES and block.count <= limits.max_registers
    return inside and not any(
        area.fc == block.fc and block.addr <= area.last and area.first < end for area in limits.forbidden
    )


def _ratio(profile: Profile, values: Values, clamp: Clamp | None) -> Ratio:
    if clamp is None:
        return Ratio(RatioState.UNPROVEN)
    name = f"current_{clamp.phase}"
    register = next((item for item in profile.registers if item.reading_type == name), None)
    shown = abs(values.get(name, 0.0))
    if register is None or not shown or clamp.amperes <= 0:
        return Ratio(RatioState.UNPROVEN, clamp_a=clamp.amperes)
    count_a = float(UNITS[register.unit].factor) * 10.0**register.scale
    if not register.type.startswith("float") and shown < _CLAMP_COUNTS * count_a:
        return Ratio(RatioState.UNPROVEN, clamp_a=clamp.amperes)
    suggested = clamp.amperes / shown
    ct = 1.0 if profile.ratio_applied_in_meter else clamp.ct
    if ct is None:
        return Ratio(RatioState.UNPROVEN, clamp_a=clamp.amperes, suggested=suggested)
    agrees = abs(shown * ct - clamp.amperes) <= _CLAMP_BAND * clamp.amperes
    state = RatioState.PROVEN if agrees else RatioState.CONTRADICTED
    return Ratio(state, shown * ct, clamp.amperes, suggested)
