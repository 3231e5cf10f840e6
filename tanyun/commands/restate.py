"""`tanyun stream restate`: compute totals again from the journal, and see every line that differs."""

import time
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metering.i18n import _
from metering.intervals import Span, iso, to_ms
from metering.registry import Park
from tanyun.commands.common import (
    config_option,
    errors_as_sentences,
    fail,
    json_option,
    load_server,
    print_json,
    print_table,
    start_logging,
)
from tanyun.commands.text import example
from tanyun.config import ServerConfig
from tanyun.supervisor import EX_CONFIG

if TYPE_CHECKING:
    from stream.requests import Answer, Difference, Request

_SHOWN = 40
_ASK_S = 0.1


@click.command(
    "restate",
    short_help=_("Compute a range again from the journal."),
    help=_("Compute intervals again from the journal's frames, under the registry and factors of now. What differs becomes a new "
           "revision, with the reason; the old one stays. When nothing differs, the ledger is proved to be what the journal says. "
           "Closed months keep their documents: restate those with their own reason.")
         + example("tanyun stream restate --from 2026-10-01 --meter hj-main --reason ct_corrected"),
)  # fmt: skip
@click.option(
    "--from",
    "from_day",
    type=click.DateTime(["%Y-%m-%d"]),
    required=True,
    help=_("First local day to compute again."),
)
@click.option(
    "--to", "to_day", type=click.DateTime(["%Y-%m-%d"]), default=None,
    help=_("Last local day to show. Later intervals follow from earlier ones and are computed as well."),
)  # fmt: skip
@click.option("--meter", default=None, help=_("Only this meter; without it all."))
@click.option("--reason", required=True, help=_("Why, in a word; it stays with every new revision."))
@json_option
@config_option
def restate(
    config_file: Path,
    from_day: datetime,
    to_day: datetime | None,
    meter: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Restate."""
    from stream.requests import Request  # noqa: PLC0415  numpy is only needed here

    start_logging("WARNING")
    with errors_as_sentences():
        config, park = load_server(config_file)
        if meter is not None and park.meter(meter) is None:
            known = ", ".join(m.id for m in park.meters)
            fail(
                _("There is no meter {meter!r} in the registry. Known: {known}").format(
                    meter=meter, known=known
                ),
                EX_CONFIG,
            )
        span = _span(park, from_day.date(), to_day.date() if to_day is not None else None)
        answer = _ask(config, park, Request(span.start_ms, reason, meter))
    if answer.error is not None:
        fail(answer.error)
    shown = [d for d in answer.differences if d.start_ms < span.end_ms]
    if as_json:
        import msgspec  # noqa: PLC0415

        print_json({"totals": answer.totals, "later": len(answer.differences) - len(shown),
                    "differences": [msgspec.structs.asdict(d) for d in shown]})  # fmt: skip
        return
    _say(answer, shown, park)


def _span(park: Park, first: date, last: date | None) -> Span:
    start = to_ms(datetime.combine(first, datetime.min.time(), park.tz))
    if last is None:
        return Span(start, 1 << 62)
    if last < first:
        fail(_("--to {last} lies before --from {first}.").format(last=last, first=first), EX_CONFIG)
    return Span(start, to_ms(datetime.combine(last, datetime.max.time(), park.tz)) + 1)


def _ask(config: ServerConfig, park: Park, request: "Request") -> "Answer":
    """Have the running stream do it, or do it here when none runs."""
    from stream.requests import Requests  # noqa: PLC0415
    from stream.runner import only_one  # noqa: PLC0415

    requests = Requests(config.ledger)
    try:
        with only_one(config.ledger):
            return _alone(config, park, request)
    except BlockingIOError:
        pass
    click.echo(_("The running stream computes …"), err=True)
    name = requests.put(request)
    while (answer := requests.take(name)) is None:
        time.sleep(_ASK_S)
    return answer


def _alone(config: ServerConfig, park: Park, request: "Request") -> "Answer":
    from factors.policy import enterprise_policy  # noqa: PLC0415
    from factors.table import FactorTable  # noqa: PLC0415
    from stream.context import Context  # noqa: PLC0415
    from stream.policy import Policy  # noqa: PLC0415
    from stream.runner import Runner  # noqa: PLC0415

    today = datetime.now(park.tz).date()
    runner = Runner(
        config.journal,
        config.ledger,
        Context(park, Policy(FactorTable.load(), enterprise_policy(), park.tz, today)),
    )
    click.echo(_("No stream runs on this ledger: computing here …"), err=True)
    runner.rebuild()
    while runner.advance():
        pass
    answer = runner.carry_out(request)
    runner.close()
    return answer


def _say(answer: "Answer", shown: list["Difference"], park: Park) -> None:
    if not answer.differences:
        click.echo(_("{totals} totals computed again: no line differs.").format(totals=answer.totals))
        return
    head = [_("Meter"), _("Reading type"), _("Interval"), _("Revision"), _("Energy before"), _("after")]
    print_table(head, [_line(d, park) for d in shown[:_SHOWN]])
    text = _(
        "{totals} totals computed again: {count} intervals have a new revision ({more} not shown, see --json)."
    )
    more = len(answer.differences) - min(len(shown), _SHOWN)
    click.echo(text.format(totals=answer.totals, count=len(answer.differences), more=more))


def _line(d: "Difference", park: Park) -> list[str]:
    before = "—" if d.energy_before is None else str(d.energy_before)
    return [d.meter, d.reading_type, iso(d.start_ms, park.tz), str(d.revision), before, str(d.energy_after)]
