"""`tanyun month close` and `tanyun report`: freeze a month, print it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metering.i18n import _
from storage.months import MonthRow, MonthStore
from tanyun.commands.common import (
    config_option,
    errors_as_sentences,
    fail,
    json_option,
    load_server,
    print_json,
    print_table,
)
from tanyun.commands.registry import facts_of
from tanyun.commands.text import example

if TYPE_CHECKING:
    from verification.close import Sources


@click.group(
    short_help=_("Verify a calendar month and freeze it."),
    help=_(
        "Monthly verification: check a calendar month and freeze its figures. `tanyun report` prints them."
    ),
)
def month() -> None:
    """The group."""


@contextmanager
def sources(config_file: Path) -> Iterator["Sources"]:
    """Everything that a month comes from, opened for one command."""
    from factors.fuel import FuelTable  # noqa: PLC0415  a gateway has no use for it
    from factors.table import FactorTable  # noqa: PLC0415
    from storage.journal import JournalReader  # noqa: PLC0415
    from storage.ledger import LedgerReader  # noqa: PLC0415
    from verification.close import Sources  # noqa: PLC0415
    from verification.lines import RegistryState  # noqa: PLC0415

    config, park = load_server(config_file)
    facts, head = facts_of(config.facts)
    with (
        LedgerReader(config.ledger) as ledger,
        JournalReader(config.journal) as journal,
        MonthStore(config.months) as months,
    ):
        yield Sources(
            park, ledger, journal, months, FactorTable.load(), FuelTable.load(), facts,
            RegistryState(revision=head.number, digest=head.digest),
        )  # fmt: skip


def close(config_file: Path, wanted: str, reason: str | None, allow_incomplete: bool) -> list[MonthRow]:
    """Close a month and store its revisions."""
    from verification.close import close_month  # noqa: PLC0415

    with sources(config_file) as found:
        return close_month(found, wanted, _now_ms(), reason, allow_incomplete=allow_incomplete)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@month.command(
    "close",
    short_help=_("Check a month, prove it against the raw frames, freeze it."),
    help=_("Close MONTH (YYYY-MM): check it, prove every total against the raw frames, freeze it as a revision.\n\n"
           "Closing again with the same figures changes nothing. Other figures need --reason and make a new revision; "
           "the old one stays as it is. Then print it with `tanyun report MONTH`.")
         + example("tanyun month close 2026-10", 'tanyun month close 2026-10 --reason "CT of hj-line2 corrected"'),
)  # fmt: skip
@click.argument("wanted", metavar="MONTH")
@config_option
@click.option("--reason", help=_("Why the figures of a closed month change; printed in the report."))
@click.option(
    "--allow-incomplete",
    is_flag=True,
    help=_("Close although readings are missing; the outcome is INSUFFICIENT_DATA."),
)
@json_option
def close_command(
    wanted: str, config_file: Path, reason: str | None, allow_incomplete: bool, as_json: bool
) -> None:
    """Close a month."""
    from verification.close import MonthClosedError, MonthNotReadyError  # noqa: PLC0415

    with errors_as_sentences():
        try:
            rows = close(config_file, wanted, reason, allow_incomplete)
        except (MonthNotReadyError, MonthClosedError) as error:
            fail(str(error))
        except ValueError:
            fail(_("{month!r} is not a month: write YYYY-MM, e.g. 2026-10").format(month=wanted), 2)
    if as_json:
        print_json([_summary(row) for row in rows])
    else:
        head = [_("scope"), _("month"), _("revision"), _("outcome"), "SHA-256"]
        print_table(
            head, [[row.scope_id, row.month, str(row.revision), row.outcome, row.digest[:16]] for row in rows]
        )


def _summary(row: MonthRow) -> dict[str, object]:
    names = ("scope_kind", "scope_id", "month", "revision", "outcome", "closed_at_ms", "reason", "digest")
    return {name: getattr(row, name) for name in names}


def write_all(config_file: Path, wanted: str, out: Path | None) -> list[Path]:
    """The reports of the newest revision of every scope of a month."""
    from verification.formats import write_reports  # noqa: PLC0415

    config, _park = load_server(config_file)
    with MonthStore(config.months, writable=False) as months:
        newest = {(row.scope_kind, row.scope_id): row for row in months.list(wanted)}
    return [path for row in newest.values() for path in write_reports(row, out or config.reports)]


@click.command(
    short_help=_("Write the PDF, XLSX and JSON reports of a closed month."),
    help=_("Write the reports of a closed MONTH (YYYY-MM): PDF, XLSX and JSON per enterprise and for the park.\n\n"
           "The newest revision is written. The same revision always gives the same bytes; a report that is there "
           "with other content is never overwritten.")
         + example("tanyun report 2026-10 --out reports"),
)  # fmt: skip
@click.argument("wanted", metavar="MONTH")
@config_option
@click.option(
    "--out", type=click.Path(path_type=Path), help=_("Folder; the configuration's `reports` by default.")
)
@json_option
def report(wanted: str, config_file: Path, out: Path | None, as_json: bool) -> None:
    """Write reports."""
    from verification.formats import ReportExistsError  # noqa: PLC0415

    with errors_as_sentences():
        try:
            paths = write_all(config_file, wanted, out)
        except ReportExistsError as error:
            fail(str(error))
    if not paths:
        fail(_("{month} is not closed yet: run `tanyun month close {month}` first").format(month=wanted))
    if as_json:
        print_json([str(path) for path in paths])
    else:
        for path in paths:
            click.echo(str(path))
