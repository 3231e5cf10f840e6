"""Shapes: the 28-day cycles of simulated factories, offices and PV plants, drawn from sha256 and nothing else."""

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from edge_agent.simulator.load import DAY_SLOTS, SLOT_MS, CyclicLoad

CYCLE_DAYS: Final = 28
_WEEK: Final = 7
_SATURDAY: Final = 5
_SUNDAY: Final = 6
_BYTE: Final = 256

_FACTORY_DAY: Final = ((0, 260), (28, 420), (32, 820), (48, 540), (52, 850), (70, 610), (72, 660), (88, 300))
"""(slot, permille of rated power): from that slot of the day on. The dip at 48 is lunch; 72 begins the evening shift."""
_FACTORY_ONE_SHIFT: Final = ((0, 240), (28, 420), (32, 860), (48, 560), (52, 880), (70, 430), (74, 250))
_OFFICE_DAY: Final = ((0, 140), (30, 330), (34, 620), (48, 520), (54, 650), (70, 480), (76, 300), (82, 170))
_WEEKEND_PERMILLE: Final = {"factory": (640, 340), "office": (380, 260)}
"""Saturday and Sunday, as thousandths of the weekday's power."""
_SUNRISE: Final = 24
_SUNSET: Final = 74
_SKIES: Final = ((960, 20), (880, 60), (640, 280), (420, 240), (210, 90))
"""(mean, scatter) in permille of clear-sky power: clear, hazy, broken cloud, cloudy, overcast."""


def factory(seed: str, meter: str, rated_w: int) -> CyclicLoad:
    """One or two shifts on weekdays, a shorter Saturday, a resting Sunday."""
    shifts = (_FACTORY_DAY, _FACTORY_ONE_SHIFT)[_draw(seed, meter, "shifts")[0] % 2]
    return _cycle(rated_w, lambda day: _working_day(shifts, "factory", _draw(seed, meter, f"day {day}"), day))


def office(seed: str, meter: str, rated_w: int) -> CyclicLoad:
    """Office hours with a ramp, a lunch dip and quiet weekends."""
    return _cycle(
        rated_w, lambda day: _working_day(_OFFICE_DAY, "office", _draw(seed, meter, f"day {day}"), day)
    )


def pv(seed: str, meter: str, rated_w: int) -> CyclicLoad:
    """A daylight bell from 6:00 to 18:30 under the day's sky, which is the same for every plant of the park."""
    return _cycle(
        rated_w, lambda day: _solar_day(_draw(seed, "sky", f"{day}")[0], _draw(seed, meter, f"day {day}"))
    )


def _cycle(rated_w: int, permilles: Callable[[int], list[int]]) -> CyclicLoad:
    """Whole watts per slot, hence whole W·ms at every millisecond."""
    return CyclicLoad(
        [rated_w * permille // 1000 * SLOT_MS for day in range(CYCLE_DAYS) for permille in permilles(day)]
    )


def _draw(seed: str, name: str, what: str) -> bytes:
    """One byte per slot of a day."""
    return b"".join(sha256(f"{seed}\n{name}\n{what}\n{part}".encode()).digest() for part in range(3))


def _working_day(steps: tuple[tuple[int, int], ...], kind: str, noise: bytes, day: int) -> list[int]:
    saturday, sunday = _WEEKEND_PERMILLE[kind]
    weekend = {_SATURDAY: saturday, _SUNDAY: sunday}.get(day % _WEEK, 1000)
    level = [next(permille for slot, permille in reversed(steps) if slot <= at) for at in range(DAY_SLOTS)]
    return [
        permille * weekend * (940 + 120 * byte // _BYTE) // 1_000_000
        for permille, byte in zip(level, noise, strict=True)
    ]


def _solar_day(sky: int, noise: bytes) -> list[int]:
    mean, scatter = _SKIES[sky % len(_SKIES)]
    daylight = _SUNSET - _SUNRISE
    bells = [
        4 * max(at - _SUNRISE, 0) * max(_SUNSET - at, 0) * 1000 // daylight**2 for at in range(DAY_SLOTS)
    ]
    return [
        bell * (mean - scatter + 2 * scatter * byte // _BYTE) // 1000
        for bell, byte in zip(bells, noise, strict=True)
    ]
