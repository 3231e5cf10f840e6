"""`tanyun simulator`: the simulated park, as real Modbus/TCP servers."""

import asyncio
from datetime import datetime
from pathlib import Path

import click

from edge_agent.simulator.config import load_config
from edge_agent.simulator.meters import expected_totals
from edge_agent.simulator.server import run_simulator
from metering.i18n import _
from metering.intervals import DEFAULT_ZONE, to_ms
from tanyun.commands.common import errors_as_sentences, json_option, print_json, print_table, start_logging
from tanyun.commands.text import example


@click.group(
    short_help=_("Simulated meters for trying and testing."),
    help=_("Simulated meters: registers are a pure function of seed and time, so every run can be checked."),
)
def simulator() -> None:
    """The group."""


_config = click.option("-c", "--config", "config_file", type=click.Path(path_type=Path), default="simulator.toml", show_default=True,
                       help=_("The simulator's configuration (TOML)."))  # fmt: skip
_load = click.option(
    "--load",
    "load_file",
    type=click.Path(path_type=Path),
    help=_(
        "CSV of real metered data that drives one meter: kWh per 15 minutes, stamped with the interval's end."
    ),
)
_meter = click.option(
    "--load-meter",
    help=_("The meter that the CSV drives; the one that the simulator's configuration names by default."),
)


@simulator.command(
    "run",
    short_help=_("Serve the meters over Modbus/TCP until stopped."),
    help=_("Serve the meters over Modbus/TCP until stopped; with --start also the accelerated clock.")
         + example("tanyun simulator run --config simulator.toml"),
)  # fmt: skip
@_config
@_load
@_meter
@click.option(
    "--start",
    "start_ms",
    type=int,
    help=_("First tick of the accelerated clock, UTC ms on the 15-minute grid."),
)
@click.option(
    "--clock-port",
    type=int,
    default=0,
    show_default=True,
    help=_("Port of the clock server; 0 takes a free one."),
)
@click.option(
    "--state",
    "state_file",
    type=click.Path(path_type=Path),
    help=_("File in which the clock keeps its tick over a restart."),
)
def run(
    config_file: Path,
    load_file: Path | None,
    load_meter: str | None,
    start_ms: int | None,
    clock_port: int,
    state_file: Path | None,
) -> None:
    """Run the simulator."""
    start_logging()
    with errors_as_sentences():
        config = load_config(config_file)
        if load_file is not None:
            config = config.driven_by(load_file, load_meter)
        asyncio.run(run_simulator(config, start_ms=start_ms, clock_port=clock_port, state_file=state_file))


@simulator.command(
    "totals",
    short_help=_("Print what every total shows at a time."),
    help=_("Print what every total shows at a time, in base units (Wh, varh, L, kJ) on the primary side.")
         + example("tanyun simulator totals --at 2026-10-01"),
)  # fmt: skip
@_config
@_load
@_meter
@click.option(
    "--at", required=True, help=_("A time in ISO 8601; local time of Asia/Shanghai when it names no zone.")
)
@json_option
def totals(config_file: Path, load_file: Path | None, load_meter: str | None, at: str, as_json: bool) -> None:
    """Print expected totals."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    with errors_as_sentences():
        config = load_config(config_file)
        if load_file is not None:
            config = config.driven_by(load_file, load_meter)
        moment = datetime.fromisoformat(at)
        t_ms = to_ms(moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(DEFAULT_ZONE)))
        found = expected_totals(config, t_ms)
    if as_json:
        print_json(
            [
                {"meter": m, "reading_type": r, "t_ms": t_ms, "position": str(value)}
                for (m, r), value in found.items()
            ]
        )
    else:
        print_table(
            [_("meter"), _("reading type"), _("total")],
            [[m, r, str(value)] for (m, r), value in found.items()],
        )
