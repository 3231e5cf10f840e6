"""The slow, obvious twin of `stream/still.py`: every reading of a meter, in time order, register by register."""

import struct
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from metering.protobuf_wire import DecodeError
from metering.reading_types import READING_TYPES, Kind
from metering.sparkplug import Metric, decode
from metering.topics import MessageType, parse_topic
from storage.ledger import IntervalRow
from storage.segment import Record
from tests.naive import QUARTER

LOOK_BACK = 4
ENOUGH = 4


class Frozen(NamedTuple):
    """An event of a meter."""

    kind: str
    t: int
    until: int
    readings: int
    values: tuple[tuple[str, float], ...]


class Still:
    """Feed it records in any order; ask a meter's marked quarters and events."""

    def __init__(self) -> None:
        self.names: dict[tuple[str, int], str] = {}
        self.said: dict[str, dict[str, set[tuple[int, int, float]]]] = defaultdict(lambda: defaultdict(set))

    def feed(self, records: Iterable[Record]) -> None:
        for record in records:
            topic = parse_topic(record.topic)
            try:
                payload = decode(record.payload)
            except DecodeError:
                continue
            assert topic is not None
            for metric in payload.metrics:
                if topic.type is MessageType.DBIRTH:
                    self.names[topic.meter, metric.alias or 0] = metric.name or ""
                else:
                    self._take(topic.meter, metric)

    def _take(self, meter: str, metric: Metric) -> None:
        value, t = metric.value, metric.timestamp
        assert isinstance(value, int | float)
        assert t is not None
        bits = value if isinstance(value, int) else struct.unpack("<q", struct.pack("<d", value))[0]
        self.said[meter][self.names[meter, metric.alias or 0]].add((t, bits, float(value)))

    def runs(self, meter: str) -> tuple[list[list[int]], int]:
        """(frozen quarters, run by run; the running quarter)."""
        moving, live, now = set(), set(), 0
        for name, readings in self.said[meter].items():
            before: tuple[int, int, float] | None = None
            for reading in sorted(readings):
                quarter = reading[0] // QUARTER
                now = max(now, quarter)
                if before is not None and before[0] // QUARTER >= quarter - LOOK_BACK:
                    if before[1] != reading[1]:
                        moving.add(quarter)
                    elif READING_TYPES[name].kind is Kind.GAUGE and reading[2] != 0:
                        live.add(quarter)
                before = reading
        runs: list[list[int]] = []
        for quarter in sorted(live - moving - {now}):
            if runs and runs[-1][-1] == quarter - 1:
                runs[-1].append(quarter)
            else:
                runs.append([quarter])
        return [run for run in runs if len(run) >= ENOUGH], now

    def marks(self, meter: str) -> set[int]:
        """Quarters whose energy is in question: the frozen ones, and the one after."""
        runs, now = self.runs(meter)
        return {q for run in runs for q in [*run, run[-1] + 1] if q < now}

    def events(self, meter: str) -> set[Frozen]:
        runs, now = self.runs(meter)
        out = set()
        for run in runs:
            until = (run[0] + ENOUGH) * QUARTER
            within = [
                (name, value)
                for name, readings in self.said[meter].items()
                for t, _bits, value in readings
                if run[0] * QUARTER <= t < until
            ]
            values = tuple(sorted(dict(within).items()))
            out.add(Frozen("frozen", run[0] * QUARTER, until, len(within), values))
            if run[-1] + 1 < now:
                out.add(Frozen("frozen_ended", (run[-1] + 1) * QUARTER, 0, 0, ()))
        return out

    def marked(self, row: IntervalRow) -> int:
        """The quality of a row."""
        return max(row.quality, 3) if row.start_ms // QUARTER in self.marks(row.meter) else row.quality
