"""The `tanyun` command and its sub-commands."""

import click

from metering.i18n import LANGUAGES, _
from tanyun.commands import (
    backup,
    delivery,
    demo,
    doctor,
    edge,
    enrol,
    evidence,
    evidence_head,
    export,
    gateway_push,
    gateway_resend,
    grafana,
    influx,
    journal,
    meter_changes,
    month,
    month_check,
    month_life,
    people,
    profile,
    registry,
    report,
    roles,
    secrets,
    sheets,
    simulator,
    substitution,
    tables,
    tariff,
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


SUBCOMMANDS = (evidence_head.head, month_life.status)
"""Commands of groups that live in files of their own; importing the file adds them."""

for command in (
    demo.demo, edge.edge, roles.ingest, journal.journal, roles.stream, roles.api, roles.serve, month.month, report.report,
    report.seal_key, registry.registry, tariff.tariff, delivery.delivery, export.export,
    evidence.evidence, tables.meters, enrol.gateway, doctor.doctor, warm.warm, simulator.simulator, secrets.broker, profile.profile,
    influx.influx, influx.projector, grafana.grafana, backup.backup, backup.restore, people.user, people.key, people.audit,
):  # fmt: skip
    root.add_command(command)
for command in (sheets.add, sheets.sheet, meter_changes.exchange, meter_changes.ratio):
    tables.meters.add_command(command)
for command in (
    month_check.check_command,
    month_check.watch_command,
    substitution.substitute,
    substitution.approve_substitution,
):
    month.month.add_command(command)
for command in (gateway_push.keygen, gateway_push.push, gateway_push.state, gateway_resend.resend):
    enrol.gateway.add_command(command)
