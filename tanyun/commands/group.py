"""The `tanyun` command and its sub-commands."""

import click

from metering.i18n import LANGUAGES, _
from tanyun.commands import (
    backup,
    demo,
    doctor,
    edge,
    evidence,
    grafana,
    influx,
    month,
    roles,
    secrets,
    simulator,
    tables,
    warm,
)
from tanyun.commands.common import EPILOG
from tanyun.commands.text import Formatter
from tanyun.environment import VERSION

click.Context.formatter_class = Formatter


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=EPILOG,
    help=_("Tanyun (碳云): from the Modbus register to a verified month of energy and carbon.\n\n"
           "Start with `tanyun demo`. At a site: `tanyun edge run` on the gateway, `tanyun serve` on the server. "
           "`tanyun COMMAND --help` explains a command and shows an example."),
)  # fmt: skip
@click.version_option(VERSION, prog_name="tanyun")
@click.option(
    "--lang",
    type=click.Choice(LANGUAGES),
    help=_("Language of messages; that of the locale by default."),
    expose_value=False,
)
def root() -> None:
    """The group itself does nothing."""


for command in (
    demo.demo, edge.edge, roles.ingest, roles.stream, roles.api, roles.serve, month.month, month.report,
    evidence.evidence, tables.meters, doctor.doctor, warm.warm, simulator.simulator, secrets.broker,
    influx.influx, influx.projector, grafana.grafana, backup.backup, backup.restore,
):  # fmt: skip
    root.add_command(command)
