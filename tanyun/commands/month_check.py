"""`tanyun month check` and `tanyun month watch`: the checks on an open month, so that a fault is seen on its day (以日保月)."""

import json
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from metering.i18n import _, chosen
from metering.intervals import HOUR_MS, month_of, previous_month, to_local
from storage.daily_checks import DailyChecks, DailyRow
from storage.errors import StoreError
from tanyun.commands.common import (
    config_option,
    errors_as_sentences,
    fail,
    json_option,
    load_server,
    print_json,
    print_table,
    start_logging,
    stop_event,
)
from tanyun.commands.month import insist_on_month, sources
from tanyun.commands.text import example
from tanyun.config import ServerConfig
from tanyun.people import now_ms

if TYPE_CHECKING:
    from verification.document import MonthDocument

_LOG = logging.getLogger(__name__)
_LOOK_S = 60
"""How often the watch looks whether the next run is due."""
_EVERY_MS = HOUR_MS
"""A day's frames may come late, and an answer or a fact at any time; a run of 1,000 meters takes some 15 s of one core."""


@click.command(
    "check",
    short_help=_("Run all checks on a month as far as it has come."),
    help=_("Run every check on MONTH (YYYY-MM, the running one by default) up to the last midnight, without closing it. "
           "`tanyun serve` does it every hour and keeps each day's last result; --keep does the same by hand.")
         + example("tanyun month check", "tanyun month check 2026-11 --keep"),
)  # fmt: skip
@click.argument("wanted", metavar="MONTH", required=False)
@config_option
@click.option("--keep", is_flag=True, help=_("Keep the result as this day's run."))
@json_option
def check_command(wanted: str | None, config_file: Path, keep: bool, as_json: bool) -> None:
    """Check a month."""
    from verification.close import MonthNotBegunError  # noqa: PLC0415  a gateway has no use for it

    if wanted is not None:
        insist_on_month(wanted)
    with errors_as_sentences():
        try:
            _config, found = run_checks(config_file, wanted, keep=keep)
        except MonthNotBegunError as error:
            fail(str(error))
    if as_json:
        print_json([_plain(document) for document in found])
        return
    for document in found:
        click.echo(
            f"{document.scope.name or document.scope.id}  {document.month} … {document.end}  {document.outcome}"
        )
        told = [check for check in document.checks if check.outcome not in ("PASS", "NOT_DUE")]
        if told:
            print_table(
                ["", "", "", ""],
                [[c.id, c.outcome, c.value, chosen(c.detail_zh, c.detail_en)] for c in told],
            )


def _plain(document: "MonthDocument") -> dict[str, object]:
    return {
        "scope_kind": document.scope.kind, "scope_id": document.scope.id, "month": document.month, "until": document.end,
        "outcome": document.outcome, "checks": msgspec.to_builtins(document.checks),
    }  # fmt: skip


def run_checks(
    config_file: Path, wanted: str | None, *, keep: bool
) -> tuple[ServerConfig, "list[MonthDocument]"]:
    """Check a month now, the running one by default, and keep the result if asked to."""
    from verification.close import check_month  # noqa: PLC0415

    config, park = load_server(config_file)
    at_ms = now_ms()
    with sources(config_file) as found:
        documents = check_month(found, wanted or month_of(at_ms, park.tz), at_ms)
    if keep:
        day = to_local(at_ms, park.tz).date().isoformat()
        with DailyChecks(config.daily_checks) as store:
            store.put([_row(document, day, at_ms) for document in documents])
    return config, documents


def _row(document: "MonthDocument", day: str, at_ms: int) -> DailyRow:
    checks = json.dumps(msgspec.to_builtins(document.checks), ensure_ascii=False)
    scope = document.scope
    return DailyRow(
        document.month, scope.kind, scope.id, day, at_ms, document.end_ms, document.outcome, checks
    )


@click.command(
    "watch",
    short_help=_("Server role: keep checking the open month until stopped."),
    help=_("Check the running month, and the one before while it is not closed, every hour until stopped; each day's last run is kept. "
           "`tanyun serve` runs it.")
         + example("tanyun month watch --config server.toml"),
)  # fmt: skip
@config_option
def watch_command(config_file: Path) -> None:
    """Check daily."""
    start_logging()
    with errors_as_sentences():
        watch(config_file, stop_event())


def watch(config_file: Path, stop: threading.Event, look_s: float = _LOOK_S) -> None:
    """Run at start and then every hour; the last run of a day is kept. What cannot be judged yet is tried again."""
    config, _park = load_server(config_file)
    told = ""
    while not stop.is_set():
        if now_ms() - _last_ms(config) >= _EVERY_MS:
            said = _try(config_file)
            if said != told:  # The change is logged, not the state.
                _LOG.info("open_month_checked %s", said)
                told = said
        stop.wait(look_s)


def _last_ms(config: ServerConfig) -> int:
    if not config.daily_checks.exists():
        return 0
    with DailyChecks(config.daily_checks, writable=False) as store:
        return store.last_ms()


def _try(config_file: Path) -> str:
    """One run; in words for the log."""
    from verification.close import MonthNotBegunError  # noqa: PLC0415

    try:
        config, _documents = run_checks(config_file, None, keep=True)
        _before(config, config_file)
    except (FileNotFoundError, StoreError, MonthNotBegunError) as error:
        return f"waiting reason={error}"
    return "done"


def _before(config: ServerConfig, config_file: Path) -> None:
    """The month before, until it is closed."""
    from storage.months import MonthStore  # noqa: PLC0415

    _config, park = load_server(config_file)
    before = previous_month(month_of(now_ms(), park.tz))
    with MonthStore(config.months) as months:
        closed = bool(months.list(before))
    if not closed:
        run_checks(config_file, before, keep=True)
