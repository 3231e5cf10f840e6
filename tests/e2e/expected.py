"""What the ledger of a simulated park must hold, from the simulator's own formula."""

from pathlib import Path

from edge_agent.simulator.config import SimulatorConfig, load_config
from edge_agent.simulator.meters import build_meters
from metering.intervals import QUARTER_MS
from metering.registry import load_registry
from storage.ledger import IntervalRow, LedgerReader

Key = tuple[str, str]


def simulator_of(data: Path, load_file: Path | None = None) -> SimulatorConfig:
    """The simulator that a demo in `data` runs."""
    config = load_config(data / "simulator.toml")
    return config if load_file is None else config.driven_by(load_file)


def ledger_rows(data: Path) -> dict[Key, list[IntervalRow]]:
    """Every interval of every total with a role."""
    park = load_registry(data / "park.toml")
    with LedgerReader(data / "ledger.db") as ledger:
        return {
            (meter.id, kind): ledger.intervals(meter.id, kind, 0, 1 << 60)
            for meter in park.meters
            for kind in meter.roles
        }


def assert_as_if_undisturbed(data: Path, config: SimulatorConfig, start_ms: int, end_ms: int) -> int:
    """Every interval in [start, end) is there once, measured in full, and counts what the registers did; how many."""
    meters = build_meters(config)
    checked = 0
    for (meter, kind), found in ledger_rows(data).items():
        rows = [row for row in found if row.closed and start_ms <= row.start_ms < end_ms]
        assert [row.start_ms for row in rows] == list(range(start_ms, end_ms, QUARTER_MS)), (meter, kind)
        position = meters[meter].totals(start_ms)[kind]
        for row in rows:
            closing = meters[meter].totals(row.end_ms)[kind]
            assert (row.opening, row.closing) == (position, closing), (meter, kind, row)
            assert (row.coverage_ms, row.edge_read, row.quality) == (QUARTER_MS, True, 0), (meter, kind, row)
            position = closing
        checked += len(rows)
    return checked
