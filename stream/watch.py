"""What the stream remembers of meters to tell a frozen one: the newest value of every register, the running quarter."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.batch import Readings, Table
from stream.context import Key, Registry
from stream.kernels import still as k

I64 = NDArray[np.int64]


class WatchData(msgspec.Struct):
    """A watch, put down."""

    meters: list[str] = []
    registers: list[tuple[str, str]] = []
    tables: tuple[bytes, bytes] = (b"", b"")


class Watch:
    """Meters and their registers. A register is a reading type of a meter, whatever alias it has."""

    def __init__(self) -> None:
        self.meters: dict[str, int] = {}
        self.registers: dict[Key, int] = {}
        self.of_meters: I64 = np.zeros((0, k.METER_COLUMNS), np.int64)
        self.of_registers: I64 = np.zeros((0, k.REGISTER_COLUMNS), np.int64)
        self._known: tuple[Table, I64] | None = None

    def rows(self, table: Table, context: Registry) -> I64:
        """The register of each binding, -1 for none; worked out once for as long as the table is the same."""
        if self._known is None or self._known[0] is not table:
            rows = np.array([self._register(key, context) for key in table.keys], np.int64)
            self._make_room()
            self._known = table, rows
        return self._known[1]

    def asked(self, again: I64) -> dict[str, int]:
        """Meter → the quarter from which on it has to be looked at closely, of those for which there is one in `again`."""
        asked = np.flatnonzero(again != k.NEVER).tolist()
        names = list(self.meters) if asked else []
        return {names[at]: int(again[at]) for at in asked}

    def marked(self, meter: str) -> int:
        """End of the last quarter of a meter that is marked."""
        at = self.meters.get(meter)
        return 0 if at is None else int(self.of_meters[at, k.MARKED])

    @property
    def newest_mark(self) -> int:
        """Of all meters."""
        return int(self.of_meters[:, k.MARKED].max(initial=0))

    def take_in(self, other: "Watch") -> None:
        """Take over the meters of another one; none may be in both."""
        meters, registers = len(self.meters), len(self.registers)
        self.meters |= {name: meters + i for name, i in other.meters.items()}
        self.registers |= {key: registers + row if row >= 0 else row for key, row in other.registers.items()}
        moved = other.of_registers.copy()
        moved[:, k.OWNER] += meters
        self.of_meters = np.vstack([self.of_meters, other.of_meters])
        self.of_registers = np.vstack([self.of_registers, moved])
        self._known = None

    def settle(self, meter: str, quarters: Sequence[int], newest: Mapping[str, tuple[int, int]]) -> None:
        """Take over what a close look has found: a meter's row, its last column only to rise; (t, bits) of its registers."""
        at = self.meters.get(meter)
        if at is None:
            return
        quarters = [*quarters[:-1], max(quarters[-1], int(self.of_meters[at, k.MARKED]))]
        self.of_meters[at] = quarters
        for name, (t_ms, bits) in newest.items():
            row = self.registers.get((meter, name))
            if row is not None:
                self.of_registers[row] = at, t_ms, bits, t_ms

    def _register(self, key: Key, context: Registry) -> int:
        known = self.registers.get(key)
        if known is not None:
            return known
        meter = context.meters.get(key[0])
        if meter is None or not meter.roles:
            return -1
        if key[0] not in self.meters:
            self.meters[key[0]] = len(self.meters)
        row = self.registers[key] = len(self.registers)
        return row

    def _make_room(self) -> None:
        """Rows for the meters and registers that are new."""
        meters = np.zeros((len(self.meters) - len(self.of_meters), k.METER_COLUMNS), np.int64)
        meters[:, k.NOW] = k.NEVER
        self.of_meters = np.vstack([self.of_meters, meters]) if len(meters) else self.of_meters
        new = list(self.registers)[len(self.of_registers) :]
        if new:
            rows = [[self.meters[meter], k.NEVER, 0, k.NEVER] for meter, _name in new]
            self.of_registers = np.vstack([self.of_registers, np.array(rows, np.int64)])

    def stored(self) -> WatchData:
        """As it is put down."""
        tables = (self.of_meters.tobytes(), self.of_registers.tobytes())
        return WatchData(list(self.meters), list(self.registers), tables)

    @classmethod
    def restored(cls, data: WatchData) -> "Watch":
        """As it was put down; ValueError when its tables do not fit its names."""
        watch = cls()
        watch.meters = {name: i for i, name in enumerate(data.meters)}
        watch.registers = {key: i for i, key in enumerate(data.registers)}
        shapes = (len(data.meters), k.METER_COLUMNS), (len(data.registers), k.REGISTER_COLUMNS)
        watch.of_meters, watch.of_registers = (
            np.frombuffer(table, np.int64).reshape(shape).copy()
            for table, shape in zip(data.tables, shapes, strict=True)
        )
        return watch


def bits_of(columns: Readings) -> I64:
    """Each raw value as 64 bits that are equal when it is."""
    bits: I64 = np.where(columns.table.is_float[columns.which], columns.real.view(np.int64), columns.raw)
    return bits
