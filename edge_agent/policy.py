"""What of a poll is published: totals at every quarter hour, in between the live power where it has moved. Pure."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec
from pydantic import AfterValidator, Field

from edge_agent.assemble import Reading
from metering.config import Strict
from metering.i18n import _
from metering.intervals import QUARTER_MS
from metering.reading_types import READING_TYPES, Kind

_DAY_MS: Final = 86_400_000
_TOTALS: Final = frozenset(name for name, type_ in READING_TYPES.items() if type_.kind is Kind.TOTAL)


def _gauges(names: tuple[str, ...]) -> tuple[str, ...]:
    wrong = [
        name for name in names if name not in READING_TYPES or READING_TYPES[name].kind is not Kind.GAUGE
    ]
    if wrong:
        raise ValueError(_("not a gauge: {names}").format(names=", ".join(wrong)))
    return names


class PublishSettings(Strict):
    """What is published how often, and what it may cost."""

    totals_every_s: int = Field(default=900, ge=1, le=3600)
    """Everything that a meter says, at multiples of this. At most `poll_interval_s`: with every poll."""
    live: Annotated[tuple[str, ...], AfterValidator(_gauges)] = ("power_active",)
    """In between, where one of these has moved: these alone."""
    live_every_s: int = Field(default=60, ge=1, le=3600)
    """At most so often for each meter."""
    live_band_percent: float = Field(default=5.0, ge=0, le=100)
    """Movement that is passed over, in per cent of the largest value since the agent started."""
    monthly_mb: float = Field(default=100.0, ge=0, le=1_000_000)
    """10^6 bytes on the wire in a UTC month; 0: no limit. Live readings and what is sent again stay below it."""


class _Told(msgspec.Struct):
    """What was published of a meter."""

    totals: int = -1
    """Which multiple of `totals_every_s` the last whole frame was for."""
    quarter: int = -1
    live_ms: int = -_DAY_MS
    values: dict[str, float] = {}
    peaks: dict[str, float] = {}
    has_totals: bool = False
    rare: dict[str, Reading] = {}
    """What is not read at every poll (totals that the meter froze) waits for the next whole frame."""


class Chosen(msgspec.Struct, frozen=True):
    """The readings of one frame."""

    readings: list[Reading]
    keep: bool
    """Whether the ring may give it up only at last."""


class Policy:
    """Chooses, meter by meter, poll by poll."""

    def __init__(self, settings: PublishSettings) -> None:
        self._settings = settings
        self._told: dict[str, _Told] = {}

    def choose(
        self, meter: str, readings: Sequence[Reading], t_ms: int, *, may_live: bool = True
    ) -> Chosen | None:
        """What of a meter's readings becomes a frame of the poll at `t_ms`; None when nothing does.

        A poll in which the totals did not answer does not count as theirs: the next one is tried.
        """
        told = self._told.setdefault(meter, _Told())
        wanted, live, totals = self._settings.live, dict[str, float](), False
        for reading in readings:
            register = reading[0]
            name = register.reading_type
            if register.months_ago:
                told.rare[register.name] = reading
            if name in wanted:
                live[name] = float(reading[2])
            totals = totals or name in _TOTALS
        told.has_totals = told.has_totals or totals
        for name, value in live.items():
            told.peaks[name] = max(told.peaks.get(name, 0.0), abs(value))
        due = t_ms // (self._settings.totals_every_s * 1000)
        if due != told.totals and totals == told.has_totals:
            told.totals = due
            told.values.update(live)
            return Chosen(_with_rare(told, readings), keep=_first_of_quarter(told, t_ms))
        if not may_live or not self._moved(told, live, t_ms):
            return None
        told.live_ms = t_ms
        told.values.update(live)
        chosen = [reading for reading in readings if reading[0].reading_type in self._settings.live]
        return Chosen(chosen, keep=False)

    def _moved(self, told: _Told, live: Mapping[str, float], t_ms: int) -> bool:
        if t_ms - told.live_ms < self._settings.live_every_s * 1000 and t_ms >= told.live_ms:
            return False
        if not told.has_totals:
            return bool(
                live
            )  # its energy is integrated from what is sent, so a value that stands still is said as well
        share = self._settings.live_band_percent / 100
        return any(
            name not in told.values or abs(value - told.values[name]) > share * told.peaks[name]
            for name, value in live.items()
        )


def _first_of_quarter(told: _Told, t_ms: int) -> bool:
    quarter, told.quarter = told.quarter, t_ms // QUARTER_MS
    return quarter != told.quarter


def _with_rare(told: _Told, readings: Sequence[Reading]) -> list[Reading]:
    if not told.rare:
        return list(readings)
    said = {register.name for register, _t_ms, _raw in readings}
    rare = [reading for name, reading in told.rare.items() if name not in said]
    told.rare.clear()
    return [*rare, *readings]
