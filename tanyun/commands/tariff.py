"""`tanyun tariff`: the official time-of-use calendars, and whether one of your own is whole."""

from datetime import date
from pathlib import Path

import click

from factors.table import FactorDataError
from factors.tariffs import holidays, official, read_tariffs
from metering.i18n import _
from metering.periods import CODES, PERIOD_LABELS, DayKind, Period, Periods, PeriodsError, parse_periods
from metering.tariff import Tariff
from tanyun.commands.common import errors_as_sentences, fail, json_option, print_json, print_table
from tanyun.commands.text import example

_ENDING = ".toml"


@click.group(
    short_help=_("Time-of-use calendars (尖峰平谷深谷): show the official ones, check your own."),
    help=_("Time-of-use calendars (尖峰平谷深谷). The official ones are data with notice and source; which one an enterprise or a meter "
           "follows is a fact of the registry, kind `tariff` (`tanyun registry template --kind tariff`)."),
)  # fmt: skip
def tariff() -> None:
    """The group."""


@tariff.command(
    "show",
    short_help=_("Show the official calendars, or one of them."),
    help=_("List the official calendars, or show CALENDAR: its notice, source and periods. With --day, what that day is and its "
           "periods hour by hour.")
         + example("tanyun tariff show", "tanyun tariff show cn-ah-2025-302 --day 2026-10-10"),
)  # fmt: skip
@click.argument("calendar", required=False)
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help=_("Show the periods of this day."))
@json_option
def show(calendar: str | None, day: object, as_json: bool) -> None:
    """Show calendars."""
    known = official()
    if calendar is None:
        _list(list(known.values()), as_json=as_json)
        return
    if calendar not in known:
        fail(_("there is no official calendar {name!r}; see `tanyun tariff show`").format(name=calendar))
    if as_json:
        print_json(_plain(known[calendar]))
        return
    _print(known[calendar])
    if day is not None:
        _print_day(known[calendar], date.fromisoformat(str(day)[:10]))


def _list(found: list[Tariff], *, as_json: bool) -> None:
    if as_json:
        print_json([_plain(item) for item in found])
        return
    rows = [[t.id, t.region, t.notice, str(t.valid_from or "—"), t.verified, t.name_zh] for t in found]
    print_table([_("calendar"), _("region"), _("notice"), _("valid from"), _("verified"), _("name")], rows)


def _plain(item: Tariff) -> dict[str, object]:
    return {
        "id": item.id, "name_zh": item.name_zh, "name_en": item.name_en, "region": item.region, "notice": item.notice,
        "valid_from": item.valid_from and item.valid_from.isoformat(), "valid_to": item.valid_to and item.valid_to.isoformat(),
        "holiday_days": item.holiday_days, "source": item.source, "verified": item.verified, "note": item.note,
        "periods": item.periods.text,
    }  # fmt: skip


def _print(item: Tariff) -> None:
    click.echo(f"{item.id}  {item.name_zh}  {item.name_en}")
    click.echo(f"{item.notice}  {item.valid_from or '—'} …  {item.verified}: {item.source}")
    if item.note:
        click.echo(item.note)
    click.echo(item.periods.text)


def _print_day(item: Tariff, day: date) -> None:
    kind = holidays().day_kind(day, item.holiday_days)
    click.echo(f"\n{day} {kind}")
    if item.periods.by_day and not holidays().known(day.year):
        click.echo(
            _(
                "the State Council's notice for {year} is not in the data: holidays count as days like others"
            ).format(year=day.year)
        )
    if not item.holds(day):
        click.echo(_("the notice is not in force on that day"))
        return
    _print_hours(item.periods.day(day.month, [kind]))


def _print_hours(codes: bytes) -> None:
    for hour in range(24):
        words = [PERIOD_LABELS[Period(CODES[code] or "")] for code in codes[hour * 4 : hour * 4 + 4]]
        shown = dict.fromkeys(f"{zh} {en}" for zh, en in words)
        click.echo(f"{hour:02}:00  {' / '.join(shown)}")


@tariff.command(
    "check",
    short_help=_("Check a calendar of your own."),
    help=_("Check FILE: lines of periods as the registry's sheet takes them, or a TOML file of calendars with notice and source as ours. "
           "Every mistake is named: hours in no period or in two, months without a line, boundaries off the quarter hour.")
         + example("tanyun tariff check periods.txt", "tanyun tariff check calendars.toml"),
)  # fmt: skip
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def check(file: Path) -> None:
    """Check a file."""
    with errors_as_sentences():
        text = file.read_text(encoding="utf-8-sig")
        try:
            found = (
                [(t.id, t.periods) for t in read_tariffs(text, file.name).values()]
                if file.suffix.lower() == _ENDING
                else [(file.name, parse_periods(text))]
            )
        except FactorDataError as error:
            fail("\n".join(error.mistakes))
        except PeriodsError as error:
            fail("\n  ".join([_("{file} has mistakes:").format(file=file), *error.mistakes]))
    for name, periods in found:
        click.echo(_("{name}: whole; every quarter hour belongs to one period").format(name=name))
        _print_hours_of_kinds(periods)


def _print_hours_of_kinds(periods: Periods) -> None:
    """Hours per period on a working day, by month: what a typing mistake shows in."""
    rows = []
    for month in range(1, 13):
        day = periods.day(month, [DayKind.WORKDAY])
        hours = [f"{day.count(code) / 4:g}" for code in range(1, len(CODES))]
        rows.append([str(month), *hours])
    print_table([_("month"), *(f"{zh} {en}" for zh, en in PERIOD_LABELS.values())], rows)
