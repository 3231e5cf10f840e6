"""The month again from frames alone: plain codec, Python integers and fractions, each total judged in time order.

Shares nothing with `stream/`: it follows design decisions 5 to 7 and decision record 0004 as written, and is held against
the stored intervals. Memory holds a few small columns per total and some frames per meter.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress

from metering.intervals import Span
from metering.protobuf_wire import DecodeError
from metering.sparkplug import Value, decode
from metering.topics import MessageType, parse_topic
from storage.segment import unpack_all
from verification.evidence import lean
from verification.evidence.births import Declared, Key, MeterFacts, Power, declarations
from verification.evidence.judge import Begins, Unit
from verification.evidence.powers import PowerTotal
from verification.evidence.stack import Stack
from verification.evidence.total import Reading, Told, Total
from verification.evidence.track import Column

_HEAD_SIZE = 14
"""Of a record: time int64, length of topic uint16, length of payload uint32 (storage/segment.py)."""
_PILE = 512
"""Frames of a meter that are kept to be read at once: a thousand meters' are 70 MB. Ours."""

Where = tuple[int, int]
"""Segment, and record within it."""
NOWHERE: Where = (0, 0)
"""Of a record whose place nobody asks for; segments count from 1."""
Known = Mapping[int | str, Declared | Power]
"""The totals that the birth in force declares, by alias, or by name where it gives none."""


class Reader:
    """Decodes records in journal order, so that births come before their data; hands every reading of a total on."""

    def __init__(
        self, meters: Mapping[str, MeterFacts], take: Callable[[Key, Where, Reading, Unit], None]
    ) -> None:
        self._meters, self._take_reading = meters, take
        self._declared: dict[str, Known] = {}
        self._routes: dict[bytes, tuple[MessageType | None, str]] = {}
        self.frames = 0

    def feed(self, where: Where, record: bytes) -> None:
        """A record; those that are neither a birth nor data of a meter in the registry mean nothing here."""
        end = _HEAD_SIZE + record[8] + (record[9] << 8)
        route = self._routes.get(record[_HEAD_SIZE:end])
        if route is None:
            (item,) = unpack_all(record)
            route = self._routes[record[_HEAD_SIZE:end]] = self._route(item.topic)
        kind, meter = route
        if kind is MessageType.DDATA:
            self._data(where, meter, record[end:])
        elif kind is MessageType.DBIRTH:
            with suppress(DecodeError):
                metrics = decode(record[end:]).metrics
                self._born(meter, dict(declarations(meter, self._meters[meter], metrics)))

    def _route(self, topic: str) -> tuple[MessageType | None, str]:
        """What a topic's records mean here, and whose they are."""
        found = parse_topic(topic)
        facts = self._meters.get(found.meter) if found is not None else None
        if found is None or facts is None or facts.gateway != found.gateway:
            return None, ""
        return found.type, found.meter

    def _born(self, meter: str, known: Known) -> None:
        self._declared[meter] = known

    def _data(self, where: Where, meter: str, payload: bytes) -> None:
        known = self._declared.get(meter, {})
        usual = lean.read(payload, known)
        if usual is not None:
            self.frames += 1
            t_ms, found = usual
            for alias, timestamp, value in found:
                self._take(where, known[alias], t_ms if timestamp is None else timestamp, value)
            return
        with suppress(DecodeError):
            whole = decode(payload)
            self.frames += 1
            for metric in whole.metrics:
                declared = known.get(metric.alias if metric.alias is not None else metric.name or "")
                if declared is not None:
                    time = whole.timestamp if metric.timestamp is None else metric.timestamp
                    self._take(where, declared, time, metric.value)

    def _take(self, where: Where, declared: Declared | Power, t_ms: int | None, value: Value) -> None:
        reading = declared.read(value, t_ms)
        if reading is not None:
            self._take_reading(declared.key, where, reading, declared.unit)


class PileReader(Reader):
    """Reads frames of a meter many at once, in no order; those that are cited, one by one. `end` when all are fed."""

    def __init__(
        self,
        meters: Mapping[str, MeterFacts],
        take: Callable[[Key, Where, Reading, Unit], None],
        take_all: Callable[[Key, Column, Column, Unit], None],
        cited: Container[Where],
    ) -> None:
        super().__init__(meters, take)
        self._take_all, self._cited = take_all, cited
        self._piles: dict[str, list[bytes]] = {}
        """Frames of a meter since its birth, not read yet."""
        self._stacks: dict[str, Stack] = {}

    def end(self) -> None:
        """Read what is still there."""
        for meter in self._piles:
            self._clear(meter)

    def _born(self, meter: str, known: Known) -> None:
        if meter in self._piles:
            self._clear(meter)
        super()._born(meter, known)
        self._piles[meter], self._stacks[meter] = [], Stack(known)

    def _data(self, where: Where, meter: str, payload: bytes) -> None:
        pile = self._piles.get(meter)
        if pile is None or where in self._cited:
            super()._data(where, meter, payload)
            return
        pile.append(payload)
        if len(pile) == _PILE:
            self._clear(meter)

    def _clear(self, meter: str) -> None:
        """Read a meter's pile."""
        pile, known = self._piles[meter], self._declared[meter]
        found, left = self._stacks[meter].read(pile)
        self.frames += len(pile) - len(left)
        for alias, times, values in found:
            declared = known[alias]
            registers, counting = declared.column(values, times)
            self._take_all(declared.key, times[counting], registers[counting], declared.unit)
        for place in left:
            super()._data(NOWHERE, meter, pile[place])
        pile.clear()


class Replay:
    """Feed it a pack's records in journal order, `end`, and ask its totals."""

    def __init__(
        self,
        span: Span,
        meters: Mapping[str, MeterFacts],
        opening: Mapping[Key, Begins],
        cited: Iterable[tuple[Key, Where]] = (),
    ) -> None:
        self.totals = {
            (meter, kind): (PowerTotal if facts.dated[kind].gap_ms else Total)(
                span, facts.dated[kind], opening.get((meter, kind))
            )
            for meter, facts in meters.items()
            for kind in facts.roles
        }
        self.cited: dict[tuple[Key, Where], Reading | None] = dict.fromkeys(cited)
        """Readings that are to be kept, by where they stand."""
        places = frozenset(place for _key, place in self.cited)
        self._reader = PileReader(meters, self._take, self._take_all, places)
        self.feed, self.end = self._reader.feed, self._reader.end

    @property
    def frames(self) -> int:
        """How many data frames of known meters were read."""
        return self._reader.frames

    def join(
        self, told: Mapping[Key, Told], cited: Mapping[tuple[Key, Where], Reading | None], frames: int
    ) -> None:
        """Take over what another process replayed."""
        self.totals |= {key: Total.of(known) for key, known in told.items()}
        self.cited |= {place: reading for place, reading in cited.items() if reading is not None}
        self._reader.frames += frames

    def _take(self, key: Key, where: Where, reading: Reading, unit: Unit) -> None:
        if (key, where) in self.cited:
            self.cited[key, where] = reading
        self.totals[key].feed(reading, unit)

    def _take_all(self, key: Key, times: Column, registers: Column, unit: Unit) -> None:
        self.totals[key].feed_all(times, registers, unit)
