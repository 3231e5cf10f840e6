"""`tanyun month status|send|answer|return|approve|submit|restate`: the life of a closed month, on the command line."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metering.i18n import _
from metering.intervals import iso, next_month, to_local
from storage.lifecycle import OvertakenError, Subject
from storage.months import MonthRow
from tanyun.commands.common import (
    config_option,
    errors_as_sentences,
    fail,
    json_option,
    load_server,
    print_json,
    print_table,
)
from tanyun.commands.month import close, month
from tanyun.commands.text import example
from tanyun.config import ServerConfig
from tanyun.desk import RESTATEMENT, MonthDesk, desk_of, subject_of
from tanyun.people import operating_user, record

if TYPE_CHECKING:
    from verification.restate import Restatement

ROLE = "operator"
EX_USAGE = 2


def _now() -> int:
    return time.time_ns() // 1_000_000


@month.command(
    "status",
    short_help=_("Where the months stand, and what is due."),
    help=_("Every closed month: its status, findings without an answer, and the next deadline.")
         + example("tanyun month status", "tanyun month status 2026-10"),
)  # fmt: skip
@click.argument("wanted", metavar="[MONTH]", required=False)
@config_option
@json_option
def status(wanted: str | None, config_file: Path, as_json: bool) -> None:
    """Show the board."""
    with errors_as_sentences():
        config, park = load_server(config_file)
        today = to_local(_now(), park.tz).date().isoformat()
        board = [s for s in desk_of(config, _now).board(today) if wanted in {None, s.month}]
    if as_json:
        print_json([{name: getattr(s, name) for name in s.__struct_fields__} for s in board])
        return
    rows = [
        [
            s.month,
            s.scope_id,
            f"r{s.revision}",
            s.outcome,
            s.status,
            f"{s.unanswered}/{s.findings}",
            s.due,
            str(s.days_left or ""),
        ]
        for s in board
    ]
    head = [
        _("month"),
        _("scope"),
        _("revision"),
        _("outcome"),
        _("status"),
        _("unanswered"),
        _("due"),
        _("days left"),
    ]
    print_table(head, rows)


def _life_command(action: str, short: str, more: str, *, reason: bool = False, check: bool = False) -> None:
    """Adds `tanyun month ACTION MONTH SCOPE`."""

    @click.argument("wanted", metavar="MONTH")
    @click.argument("scope")
    @config_option
    @click.option("--reason", default="", required=reason, help=_("Why; kept with the month."))
    @click.option("--check", default="", required=check, help=_("The finding, e.g. V06."))
    @click.option(
        "--file",
        "path",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help=_("A file that goes with it: PDF, PNG, JPEG or XLSX."),
    )
    @click.option("--revision", type=int, help=_("The newest by default."))
    def command(
        wanted: str,
        scope: str,
        config_file: Path,
        reason: str,
        check: str,
        path: Path | None,
        revision: int | None,
    ) -> None:
        _act(config_file, action, (wanted, scope, revision), reason, check, path)

    words = example(
        f"tanyun month {action} 2026-10 hengjing"
        + (' --reason "…"' if reason else "")
        + (" --check V06" if check else "")
    )
    month.command(action, short_help=short, help=f"{short}\n\n{more}" + words)(command)


def _act(
    config_file: Path,
    action: str,
    which: tuple[str, str, int | None],
    reason: str,
    check: str,
    path: Path | None,
) -> None:
    from api.desk import Refused  # noqa: PLC0415

    with errors_as_sentences():
        config, park = load_server(config_file)
        desk = desk_of(config, _now)
        subject = subject_of(_row(desk, *which))
        try:
            digest = desk.keep(path.read_bytes()) if path else ""
            done = desk.act(
                subject, action, actor=operating_user(), role=ROLE, reason=reason, check=check, file_sha256=digest,
                file_name=path.name if path else "",
            )  # fmt: skip
        except Refused as error:
            record(
                config.audit,
                f"month.{action}",
                _named(subject),
                outcome="refused",
                reasons=list(error.reasons),
            )
            fail("\n".join(error.reasons))
        except (OvertakenError, ValueError) as error:
            fail(str(error))
        record(config.audit, f"month.{action}", _named(subject), reason=reason, check=check, file=digest)
    click.echo(f"{_named(subject)}  {done.status}  {iso(done.at_ms, park.tz)}")


def _row(desk: MonthDesk, wanted: str, scope: str, revision: int | None) -> MonthRow:
    rows = [
        row
        for row in desk.rows()
        if (row.month, row.scope_id) == (wanted, scope) and revision in {None, row.revision}
    ]
    if not rows:
        fail(_("{scope} has no closed {month}").format(scope=scope, month=wanted), EX_USAGE)
    return rows[-1]


def _named(subject: Subject) -> str:
    return f"{subject.month}/{subject.scope_kind}/{subject.scope_id} r{subject.revision}"


_life_command(
    "send", _("Hand a closed month over for review."), _("From then on it can be approved or returned.")
)
_life_command(
    "answer",
    _("Answer a finding of a month."),
    _("Whoever answers has prepared the month."),
    reason=True,
    check=True,
)
_life_command("return", _("Return a month to who prepared it."), _("With the reason."), reason=True)
_life_command(
    "approve",
    _("Approve a month: it is verified."),
    _(
        "Four eyes: whoever prepared it cannot. A FAIL, a pending event or a finding without an answer is in the way."
    ),
)
_life_command(
    "attach", _("Attach the stamped scan of a verified month."), _("The file is kept under its SHA-256.")
)
_life_command(
    "submit", _("Mark a verified month as submitted."), _("Its receipts are in `tanyun delivery status`.")
)


@month.command(
    "restate",
    short_help=_("Close months again for one cause, with one summary."),
    help=_("Close the months --from … --to again for one cause, and sum up what differs, line by line.\n\n"
           "Every month whose figures differ gets a new revision with the reason; the old one stays as it is. Factors stay "
           "those of the first close unless the reason is factor_notice. One approval covers them all: "
           "`tanyun month approve-restatement CAUSE`, by somebody else.\n\n"
           "Reasons: ct_corrected, late_data, meter_exchange, late_certificate, factor_notice, registry_corrected, other.")
         + example('tanyun month restate --from 2026-05 --to 2026-09 --reason ct_corrected --note "hj-line2 400/5, was 300/5"'),
)  # fmt: skip
@click.option("--from", "first", required=True, metavar="MONTH", help=_("The first month."))
@click.option("--to", "last", required=True, metavar="MONTH", help=_("The last month."))
@click.option("--reason", "code", required=True, help=_("The reason's code."))
@click.option("--note", required=True, help=_("What happened; printed in the reports."))
@config_option
@json_option
def restate(first: str, last: str, code: str, note: str, config_file: Path, as_json: bool) -> None:
    """Restate months."""
    from verification.restate import CODES, canonical, reason, restatement  # noqa: PLC0415

    if code not in CODES:
        fail(
            _("{code!r} is no reason; there are: {codes}").format(code=code, codes=", ".join(CODES)), EX_USAGE
        )
    with errors_as_sentences():
        config, _park = load_server(config_file)
        pairs = [
            pair
            for name in _months(first, last)
            for pair in _again(config_file, config, name, code, reason(code, note))
        ]
        if not pairs:
            fail(
                _("no figure of {first} to {last} differs: nothing was restated").format(
                    first=first, last=last
                )
            )
        found = restatement(code, note, pairs)
        _hand_over(config, found, _now())
        path = config.reports / f"restatement_{found.cause}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(canonical(found))
        record(
            config.audit,
            "month.restate",
            found.cause,
            code=code,
            note=note,
            months=[m.month for m in found.months],
        )
    if as_json:
        print_json(
            {
                "cause": found.cause,
                "summary": str(path),
                "months": [[m.month, m.scope_id, m.new_revision, len(m.changes)] for m in found.months],
            }
        )
        return
    rows = [
        [
            m.month,
            m.scope_id,
            f"r{m.old_revision} → r{m.new_revision}",
            str(len(m.changes)),
            m.figures[-1].difference or "—",
        ]
        for m in found.months
    ]
    print_table([_("month"), _("scope"), _("revision"), _("lines that differ"), "Δ µg CO2"], rows)
    click.echo(_("cause {cause}; summary: {path}").format(cause=found.cause, path=path))


def _hand_over(config: ServerConfig, found: "Restatement", now_ms: int) -> None:
    """A restatement is ready to be approved as soon as it is made."""
    from verification.lifecycle import Action, Wish  # noqa: PLC0415

    subjects = [Subject(m.month, m.scope_kind, m.scope_id, m.new_revision) for m in found.months]
    wish = Wish(Action.SEND, operating_user(), ROLE, now_ms, f"{RESTATEMENT}{found.cause}")
    desk_of(config, lambda: now_ms).act_on(subjects, wish)


def _months(first: str, last: str) -> list[str]:
    found, at = [], first
    while at <= last:
        found.append(at)
        at = next_month(at)
    return found


def _again(
    config_file: Path, config: ServerConfig, wanted: str, code: str, why: str
) -> list[tuple[MonthRow, MonthRow]]:
    """Close a month again; (old, new) of every scope whose figures differ."""
    from verification.close import MonthNotReadyError  # noqa: PLC0415

    rows = [row for row in desk_of(config, _now).rows() if row.month == wanted]
    before = {(row.scope_kind, row.scope_id): row for row in rows}
    if not rows:
        fail(_("{month} is not closed yet: run `tanyun month close {month}` first").format(month=wanted))
    first_close = min(row.closed_at_ms for row in rows)
    try:
        after = close(config_file, wanted, why, True, None if code == "factor_notice" else first_close)
    except MonthNotReadyError as error:
        fail(str(error))
    return [
        (before[key], row)
        for row in after
        if (key := (row.scope_kind, row.scope_id)) in before and row.digest != before[key].digest
    ]


@month.command(
    "approve-restatement",
    short_help=_("Approve every month of a restatement at once."),
    help=_("Approve every month of the restatement CAUSE: all or none. Four eyes: whoever restated them cannot.")
         + example("tanyun month approve-restatement 3f2a90c1d4e5b678"),
)  # fmt: skip
@click.argument("cause")
@config_option
def approve_restatement(cause: str, config_file: Path) -> None:
    """Approve a restatement."""
    import msgspec  # noqa: PLC0415

    from api.desk import Refused  # noqa: PLC0415
    from verification.lifecycle import Action, Wish  # noqa: PLC0415
    from verification.restate import Restatement  # noqa: PLC0415

    with errors_as_sentences():
        config, _park = load_server(config_file)
        path = config.reports / f"restatement_{cause}.json"
        found = msgspec.json.decode(path.read_bytes(), type=Restatement)
        if found.cause != cause:
            fail(_("{path} is not the summary that {cause} names").format(path=path, cause=cause))
        subjects = [Subject(m.month, m.scope_kind, m.scope_id, m.new_revision) for m in found.months]
        wish = Wish(Action.APPROVE, operating_user(), ROLE, _now(), f"{RESTATEMENT}{cause}")
        try:
            desk_of(config, _now).act_on(subjects, wish)
        except (Refused, OvertakenError) as error:
            fail(str(error))
        record(config.audit, "month.approve", f"restatement {cause}", months=[s.month for s in subjects])
    click.echo(_("{count} months verified").format(count=len(subjects)))
