"""`tanyun meters`: what is metered, and how far each total has been accounted."""

from pathlib import Path

import click

from metering.i18n import _
from metering.intervals import iso
from metering.registry import Park
from metering.roles import ROLE_LABELS
from storage.ledger import LedgerReader, ProgressRow
from tanyun.commands.common import (
    config_option,
    errors_as_sentences,
    json_option,
    load_server,
    print_json,
    print_table,
)
from tanyun.commands.text import example


@click.group(
    invoke_without_command=True,
    short_help=_("List the meters; take a commissioned one into the registry."),
    help=_("List the meters of the park with the role of each total, the latest total in base units (Wh, varh, L, kJ) "
           "and the time up to which it is accounted. The commands below take commissioning sheets.")
         + example("tanyun meters --config server.toml", "tanyun meters --json", "tanyun meters add tx-main.json"),
)  # fmt: skip
@config_option
@json_option
@click.pass_context
def meters(context: click.Context, config_file: Path, as_json: bool) -> None:
    """List meters, unless one of the commands is called."""
    if context.invoked_subcommand is None:
        _list(config_file, as_json)


def _list(config_file: Path, as_json: bool) -> None:
    with errors_as_sentences():
        config, park = load_server(config_file)
        progress: dict[tuple[str, str], ProgressRow] = {}
        if config.ledger.exists():
            with LedgerReader(config.ledger) as ledger:
                progress = {(row.meter, row.reading_type): row for row in ledger.progress()}
    rows = [
        _row(park, meter.id, kind, progress.get((meter.id, kind)))
        for meter in park.meters
        for kind in meter.roles
    ]
    if as_json:
        print_json(rows)
        return
    head = [
        _("meter"),
        _("enterprise"),
        _("role"),
        _("reading type"),
        _("total"),
        _("accounted until"),
        _("state"),
    ]
    print_table(head, [[str(cell) for cell in row.values()] for row in rows])


def _row(park: Park, meter_id: str, kind: str, progress: ProgressRow | None) -> dict[str, str]:
    meter = park.meter(meter_id)
    assert meter is not None  # noqa: S101  the caller walks the registry
    state = _("never read") if progress is None else _("pending event") if progress.pending else _("in order")
    return {
        "meter": meter_id,
        "enterprise": park.enterprise_of(meter),
        "role": " ".join(ROLE_LABELS[meter.roles[kind]]),
        "reading_type": kind,
        "position": str(progress.position) if progress else "-",
        "accounted_until": iso(progress.t_ms, park.tz) if progress else "-",
        "state": state,
    }
