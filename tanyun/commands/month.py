"""`tanyun month close`: freeze a month."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metering.i18n import _
from metering.intervals import previous_month
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


def close(
    config_file: Path,
    wanted: str,
    reason: str | None,
    allow_incomplete: bool,
    factors_as_of_ms: int | None = None,
) -> list[MonthRow]:
    """Close a month, store its revisions, and note in their life who did."""
    from tanyun.desk import note_closed  # noqa: PLC0415
    from tanyun.people import operating_user  # noqa: PLC0415
    from verification.close import close_month  # noqa: PLC0415

    now_ms = _now_ms()
    with sources(config_file) as found:
        rows = close_month(
            found,
            wanted,
            now_ms,
            reason,
            allow_incomplete=allow_incomplete,
            factors_as_of_ms=factors_as_of_ms,
        )
    note_closed(load_server(config_file)[0], rows, operating_user(), now_ms)
    return rows


def insist_on_month(text: str) -> None:
    """Leave with a sentence when a text is no month."""
    try:
        previous_month(text)
    except ValueError:
        fail(_("{month!r} is not a month: write YYYY-MM, e.g. 2026-10").format(month=text), 2)


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

    insist_on_month(wanted)
    with errors_as_sentences():
        try:
            rows = close(config_file, wanted, reason, allow_incomplete)
        except (MonthNotReadyError, MonthClosedError) as error:
            fail(str(error))
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
