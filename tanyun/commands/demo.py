"""`tanyun demo`: the whole chain on this machine, from simulated meters to a verified month."""

import time
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from edge_agent.simulator.config import SimulatorConfigError
from edge_agent.simulator.csvload import LoadFileError
from metering.i18n import _
from metering.intervals import DEFAULT_ZONE, local_month, month_of, previous_month, to_ms
from tanyun.broker import BrokerError
from tanyun.commands.common import errors_as_sentences, fail, start_logging, stop_event
from tanyun.commands.text import example
from tanyun.supervisor import EX_CONFIG, ChildConfigError

_ZONE = ZoneInfo(DEFAULT_ZONE)


@click.command(
    short_help=_("Try everything: a simulated park, from Modbus to a verified month."),
    help=_("Run a simulated park: real Modbus/TCP meters, an MQTT broker, gateways, ingest, stream, API and page.\n\n"
           "It first lives through last month and up to now under an accelerated clock (about two minutes), closes last "
           "month, writes its reports (PDF, XLSX, JSON per enterprise and for the park), then goes on live. Started "
           "again, it continues with the data it has. Ctrl-C stops everything and keeps the data.")
         + example("tanyun demo", "tanyun demo --once --fresh --out reports", "tanyun demo --load steel.csv"),
)  # fmt: skip
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default="demo-data",
    show_default=True,
    help=_("Folder for all data, logs and configuration."),
)
@click.option(
    "--out", type=click.Path(path_type=Path), help=_("Folder for the reports; DATA/reports by default.")
)
@click.option("--once", is_flag=True, help=_("Stop when the reports are written, with exit code 0."))
@click.option("--fresh", is_flag=True, help=_("Start over: remove what an earlier demo left in DATA."))
@click.option(
    "--load",
    "load_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=_(
        "CSV of real metered data that drives one meter: kWh per 15 minutes, stamped with the interval's end."
    ),
)
@click.option(
    "--load-meter",
    help=_("The meter that the CSV drives; the one that the simulator's configuration names by default."),
)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    help=_("Begin on this day instead of the first of last month; a month begun later is not closed."),
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help=_("Port of page and API; 8000 or the next free one by default."),
)
@click.option(
    "--broker",
    type=click.Choice(["mosquitto", "amqtt"]),
    help=_("Which MQTT broker; Mosquitto by default where it is found, else amqtt."),
)
def demo(
    data: Path, out: Path | None, once: bool, fresh: bool, load_file: Path | None, load_meter: str | None,
    since: object, port: int | None, broker: str | None,
) -> None:  # fmt: skip
    """Run the demo."""
    from tanyun.demo.layout import DemoFolderError, Options, claim, prepare  # noqa: PLC0415
    from tanyun.demo.run import Course  # noqa: PLC0415

    started = time.perf_counter()
    start_logging("WARNING")
    stop = stop_event()
    with errors_as_sentences():
        try:
            claim(data, fresh=fresh)
            layout = prepare(Options(data, out, port, broker, load_file, load_meter, _start_ms(since)))
            Course(layout, stop).run(once=once)
        except (DemoFolderError, BrokerError, SimulatorConfigError, LoadFileError) as error:
            fail(str(error), EX_CONFIG)
        except ChildConfigError as error:
            fail(str(error), EX_CONFIG)
    if once:
        if stop.is_set():
            fail(_("Stopped before the reports were written."))
        click.echo(_("Done in {minutes:.1f} minutes.").format(minutes=(time.perf_counter() - started) / 60))


def _start_ms(since: object) -> int:
    """The first of last month, or the day asked for."""
    now_ms = time.time_ns() // 1_000_000
    if since is None:
        return local_month(previous_month(month_of(now_ms, _ZONE)), _ZONE).start_ms
    return to_ms(since.replace(tzinfo=_ZONE))  # type: ignore[attr-defined]
