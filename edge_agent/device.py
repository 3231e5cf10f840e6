"""A meter as this gateway reads it: what it is, what it said last, and under which declaration its readings travel."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from edge_agent.assemble import Assembler, Reading
from edge_agent.births import DeviceAliases, declaration, device_aliases
from edge_agent.breaker import Breaker
from edge_agent.buses.errors import ReadFailed, Refused
from edge_agent.buses.stations import Station
from edge_agent.config import PolledMeter
from edge_agent.health import DeviceHealth
from edge_agent.identify import identify, needs_identifying
from edge_agent.lessons import Lessons, read_lessons
from edge_agent.outbox import Draft, Outbox, OutboxError
from edge_agent.plan import Block, plan, select
from edge_agent.profile import Family, Profile, Register
from edge_agent.reader import BlockBus, Reader
from edge_agent.readings_body import readings_body
from edge_agent.serial_number import serial_text
from metering import frames

log = logging.getLogger("tanyun.edge")

FROZEN_EVERY_S: Final = 6 * 3600.0
"""Between two reads of the totals that the meter froze itself (ours: they change once a month)."""
_FROZEN_AGAIN_S: Final = 600.0
"""Instead, when none of them was answered."""
GAP_S: Final = 120.0
"""Nobody exchanges a meter in less (ours). Polls that are farther apart than this are gaps themselves."""
_SERIAL_TRIES: Final = 3
"""Some meters are silent about registers that they do not have; each try costs the others a time-out."""


class Device(msgspec.Struct):
    """A meter, the reads that it takes, and its newest readings."""

    meter: PolledMeter
    profile: Profile | Family
    """As configured: a family until the meter has said which of its variants it is."""
    outbox: Outbox
    registers: tuple[Register, ...] = ()
    """With the scale and unit of their newest readings."""
    by_name: dict[str, Register] = {}
    reader: Reader | None = None
    """None until the meter is identified."""
    aliases: DeviceAliases = DeviceAliases(0, 0, {})
    declaration: int = 0
    latest: dict[str, tuple[int, int | float | str]] = {}
    """Metric → (time, raw value) of its newest read, for births."""
    breaker: Breaker = msgspec.field(default_factory=Breaker)
    failing: bool = False
    health: DeviceHealth = msgspec.field(default_factory=DeviceHealth)
    identity: Profile | None = None
    """The map that the meter answers, once it is known."""
    serial: str | None = None
    told: set[str] = set()
    """What needs no saying again."""
    news: bool = False
    """The serial number was read, and has not travelled since."""
    serial_tries: int = 0
    """Tries left to read it. Since the last answer there was a time without one: another meter may hang on the line."""
    heard_s: float = float("-inf")
    """Monotonic time of the last answer."""
    assembler: Assembler = msgspec.field(default_factory=lambda: Assembler(()))
    frozen: tuple[Reader, Assembler] | None = None
    frozen_s: float = float("-inf")
    declared: dict[tuple[Register, ...], tuple[DeviceAliases, int]] = {}
    lessons: Lessons = Lessons("", None, ())
    """As they are kept."""
    taught: str | None = None
    """Serial number of the meter that the lessons came from, until this one has said its own."""

    @property
    def station(self) -> Station:
        """Who is asked on the bus."""
        return self.meter.station

    async def read(
        self, bus: BlockBus, now_ms: Callable[[], int], *, probe: bool = False
    ) -> tuple[list[Reading], ReadFailed | None]:
        """What the meter says now, and the last error. After a gap its serial number is read, too."""
        try:
            await self._identified(bus, probe=probe)
        except ReadFailed as unknown:
            return [], unknown
        if self.reader is None:
            return [], None
        heard, error = await self.reader.read(bus, now_ms, probe=probe)
        readings = self.assembler.readings(heard)
        if not heard:
            self.heard_s = float("-inf")
            return [], error
        if time.monotonic() > self.heard_s + GAP_S:
            self.serial_tries = _SERIAL_TRIES
        self.heard_s = time.monotonic()
        if self.serial_tries:
            await self._read_serial(bus)
        readings += await self._read_frozen(bus, now_ms)
        self._learn()
        return readings, error

    def draft(self, readings: Sequence[Reading]) -> Draft:
        """The frame of a poll. Takes a new declaration where a scale, a unit or the map has changed."""
        newest_ms, renewed = 0, False
        for register, t_ms, raw in readings:
            name = register.name
            self.latest[name] = (t_ms, raw)
            newest_ms = max(newest_ms, t_ms)
            renewed = renewed or self.by_name.get(name) is not register
        if renewed or not self.declaration:
            said = {register.name: register for register, _t_ms, _raw in readings}
            self.declare(tuple(said.get(register.name, register) for register in self.registers))
        serial = None
        if self.news and self.serial is not None:
            serial = self.latest[frames.SERIAL] = (newest_ms, self.serial)
            self.news = False
        return Draft(self.declaration, newest_ms, readings_body(self.aliases, readings, serial))

    async def _identified(self, bus: BlockBus, *, probe: bool) -> None:
        if self.reader is None:
            self.adopt(await identify(bus, self.station, self.profile, tries=1 if probe else None))

    def adopt(self, profile: Profile) -> None:
        """Plan and declare by this map."""
        registers = select(profile, self.meter.read)
        self.reader = Reader(self.meter.id, self.station, plan(registers, profile.limits))
        self.assembler = Assembler(registers)
        frozen = Reader(self.meter.id, self.station, plan(profile.frozen, profile.limits))
        self.frozen = (frozen, Assembler(profile.frozen)) if profile.frozen else None
        self.identity = profile
        self.declare((*registers, *profile.frozen))
        self._recall()

    def declare(self, registers: tuple[Register, ...]) -> None:
        """Let the readings of these registers travel under their declaration, made when it is new."""
        if self.registers is registers and self.declaration:
            return
        if registers not in self.declared:
            profile = self.identity
            serial = profile is not None and profile.serial is not None
            aliases = device_aliases(
                self.outbox, self.meter.id, profile or self.profile, registers, serial=serial
            )
            birth = declaration(aliases, profile or self.profile, registers)
            self.declared[registers] = aliases, self.outbox.declare(self.meter.id, birth)
        self.registers, self.by_name = registers, {register.name: register for register in registers}
        self.aliases, self.declaration = self.declared[registers]

    @property
    def readers(self) -> list[Reader]:
        """Of the running values, then of the frozen totals."""
        return [reader for reader in (self.reader, self.frozen and self.frozen[0]) if reader is not None]

    def _recall(self) -> None:
        """Take up what an agent before this one learned of this meter under this map."""
        known = read_lessons(self.outbox.remembered(self.meter.id))
        self.lessons = self._lessons()
        if known is None or known.profile != self.lessons.profile or len(known.readers) != len(self.readers):
            return
        if None not in (known.serial, self.serial) and known.serial != self.serial:
            return
        for reader, lesson in zip(self.readers, known.readers, strict=True):
            reader.recall(lesson)
        self.lessons, self.taught = self._lessons(known.serial), known.serial

    def _lessons(self, serial: str | None = None) -> Lessons:
        profile = self.identity
        name = "" if profile is None else f"{profile.name}@{profile.revision}"
        return Lessons(name, serial or self.serial, tuple(reader.lesson for reader in self.readers))

    def _learn(self) -> None:
        """Keep what has been learned since. A disk that takes nothing costs no reading: it is learned again after a restart."""
        learned = self._lessons(self.taught if self.serial is None else None)
        if learned == self.lessons:
            return
        kept_before = any(lesson.refused for lesson in self.lessons.readers)
        self.lessons = learned
        if kept_before or any(lesson.refused for lesson in learned.readers):
            with suppress(OutboxError):
                self.outbox.remember(self.meter.id, learned.text())

    async def _read_serial(self, bus: BlockBus) -> None:
        self.serial_tries -= 1
        serial = self.identity.serial if self.identity is not None else None
        if serial is None:
            return
        try:
            words = await bus.read(self.station, Block(serial.fc, serial.addr, serial.width, ()), tries=1)
        except ReadFailed as error:
            if isinstance(error, Refused) or not self.serial_tries:
                self._say_once(f"serial_unread meter={self.meter.id} error={error}")
                self.serial_tries = 0
            return
        self.serial_tries = 0
        said = serial_text(serial, words)
        if said is not None:
            self._take_serial(said)

    def _say_once(self, text: str) -> None:
        if text not in self.told:
            log.warning(text)
        self.told.add(text)

    def _take_serial(self, serial: str) -> None:
        if self.serial is not None and serial != self.serial:
            log.warning("meter_exchanged meter=%s old=%s new=%s", self.meter.id, self.serial, serial)
            if needs_identifying(self.profile):
                self.reader = None  # What this one is, it shall say itself before its next reading.
        if serial != (self.serial or self.taught or serial):
            for reader in self.readers:
                reader.forget()
        self.serial, self.taught, self.news = serial, None, True

    async def _read_frozen(self, bus: BlockBus, now_ms: Callable[[], int]) -> list[Reading]:
        if self.frozen is None or time.monotonic() < self.frozen_s + FROZEN_EVERY_S:
            return []
        reader, assembler = self.frozen
        heard, _error = await reader.read(bus, now_ms, probe=True)
        self.frozen_s = time.monotonic() - (0 if heard else FROZEN_EVERY_S - _FROZEN_AGAIN_S)
        return assembler.readings(heard)


def make_device(meter: PolledMeter, profile: Profile | Family, outbox: Outbox) -> Device:
    """A device with its reads planned and its metrics declared; one that must say itself what it is declares no readings yet."""
    device = Device(meter, profile, outbox)
    if isinstance(profile, Profile) and not needs_identifying(profile):
        device.adopt(profile)
    else:
        device.declare(())
    return device
