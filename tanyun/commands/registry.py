"""`tanyun registry`: facts that a month needs beside readings; sheets in and out, history, nothing overwritten."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from factors.tariffs import unknown_calendars
from metering.i18n import _
from metering.registry import Park
from storage.audit import AuditLog, Event
from storage.facts.fact import Fact
from storage.facts.kinds import KINDS
from storage.facts.state import Facts
from storage.facts.tariff import TariffFact
from storage.registry import FactRow, RegistryReader, RegistryWriter, Revision
from tanyun.commands.common import (
    config_option,
    errors_as_sentences,
    fail,
    json_option,
    load_server,
    print_json,
    print_table,
)
from tanyun.commands.text import example
from tanyun.config import ServerConfig
from tanyun.people import now_ms, operating_user

_VALUE_WIDTH = 60


def facts_of(path: Path, at: int | None = None) -> tuple[Facts, Revision]:
    """What the registry holds; nothing while nobody has written to it."""
    if not path.exists():
        return Facts(), Revision(0, "")
    with RegistryReader(path) as reader:
        return reader.facts(at), reader.head(at)


class AuditedBy:
    """The audit log as the registry tells it: one entry per fact."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def record(self, *, actor: str, action: str, subject: str, detail: Mapping[str, object]) -> None:
        """Write down one change."""
        self._log.append(
            Event(actor=actor, action=action, target=subject, address="local", detail=detail), now_ms()
        )


def change(
    config: ServerConfig, why: str, facts: Sequence[Fact] = (), withdrawn: Sequence[Fact] = ()
) -> tuple[Revision, Revision]:
    """Write to the registry and the audit log; (the revision before, the one that holds now)."""
    with AuditLog(config.audit) as log, RegistryWriter(config.facts, AuditedBy(log)) as writer:
        before = writer.head()
        return before, writer.apply(facts, operating_user(), why, now_ms(), withdrawn)


@click.group(
    short_help=_("Facts that a month needs: enterprises, meters, bills, fuels, certificates."),
    help=_("The registry of facts with their history: enterprises, boundary formulas, meters, control plans, budgets, output, "
           "bills, fuels, green power and certificates. Start with `tanyun registry template`."),
)  # fmt: skip
def registry() -> None:
    """The group."""


@registry.command(
    "template",
    short_help=_("Write an empty workbook to fill in."),
    help=_("Write an empty workbook with a sheet for every kind of fact, or for those named. A file that is there is kept.")
         + example("tanyun registry template facts.xlsx", "tanyun registry template bills.xlsx --kind bill"),
)  # fmt: skip
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help=_("Only these sheets."))
def template(out: Path, kinds: tuple[str, ...]) -> None:
    """Write a template."""
    from storage.facts.sheets import export_workbook  # noqa: PLC0415  a gateway has no workbook library

    with errors_as_sentences():
        _write(out, export_workbook(Facts(), kinds or tuple(KINDS)))


def _write(out: Path, data: bytes) -> None:
    try:
        with out.open("xb") as file:
            file.write(data)
    except FileExistsError:
        fail(_("{file} is there already; name another file").format(file=out))
    click.echo(str(out))


@registry.command(
    "import",
    short_help=_("Take facts in from a workbook or CSV."),
    help=_("Take facts in from a workbook, a CSV file named after its kind (bill.csv), or a folder of them. All or nothing: every "
           "mistake is listed with sheet, row and column, and then nothing is stored. Facts that are there already change nothing.")
         + example('tanyun registry import facts.xlsx --why "October bills"', "tanyun registry import bill.csv --why bills --dry-run"),
)  # fmt: skip
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@config_option
@click.option("--why", required=True, help=_("Reason of the change; kept with every fact."))
@click.option("--dry-run", is_flag=True, help=_("Only check; store nothing."))
def import_command(file: Path, config_file: Path, why: str, dry_run: bool) -> None:
    """Import facts."""
    from storage.facts import sheets  # noqa: PLC0415

    with errors_as_sentences():
        config, park = load_server(config_file)
        known, _head = facts_of(config.facts)
        try:
            facts = sheets.parse(str(file), sheets.read(file), known, park)
        except sheets.RefusedError as error:
            fail(str(error))
        if unknown := unknown_calendars(fact.calendar for fact in facts if isinstance(fact, TariffFact)):
            text = _("there is no official calendar {name!r}; see `tanyun tariff show`")
            fail("\n".join(text.format(name=name) for name in unknown))
        if dry_run:
            click.echo(_("{count} facts are in order; nothing was stored").format(count=len(facts)))
            return
        before, after = change(config, why, facts)
    if after == before:
        click.echo(_("nothing new: revision {number} holds").format(number=after.number))
    else:
        click.echo(
            _("{count} facts read; the registry is at revision {number}").format(
                count=len(facts), number=after.number
            )
        )


@registry.command(
    "export",
    short_help=_("Write the facts to a workbook or a folder of CSV."),
    help=_("Write the facts to a workbook (.xlsx), or to a folder as CSV files. What was exported can be imported again.")
         + example("tanyun registry export facts.xlsx", "tanyun registry export facts/ --revision 12"),
)  # fmt: skip
@click.argument("out", type=click.Path(path_type=Path))
@config_option
@click.option("--revision", type=int, help=_("The registry as it was at this revision."))
def export(out: Path, config_file: Path, revision: int | None) -> None:
    """Export facts."""
    from storage.facts.sheets import export_csv, export_workbook  # noqa: PLC0415

    with errors_as_sentences():
        config, _park = load_server(config_file)
        facts, _head = facts_of(config.facts, revision)
        if out.suffix.lower() == ".xlsx":
            _write(out, export_workbook(facts))
            return
        out.mkdir(parents=True, exist_ok=True)
        for name, kind in KINDS.items():
            _write(out / f"{name}.csv", export_csv(kind, facts.of(kind)))


@registry.command(
    "show",
    short_help=_("Show facts, or their history."),
    help=_("Show how many facts of each kind there are, the facts of a KIND, or with --history everything ever written of it.")
         + example("tanyun registry show", "tanyun registry show meter --subject jm-grid --history"),
)  # fmt: skip
@click.argument("kind", type=click.Choice(list(KINDS)), required=False)
@config_option
@click.option("--subject", help=_("Only of this enterprise, meter or scope."))
@click.option("--history", is_flag=True, help=_("Everything ever written: who, when and why."))
@json_option
def show(kind: str | None, config_file: Path, subject: str | None, history: bool, as_json: bool) -> None:
    """Show facts."""
    with errors_as_sentences():
        config, park = load_server(config_file)
        if kind is None:
            _overview(config.facts, as_json)
        elif history:
            _history(config.facts, kind, subject, park, as_json)
        else:
            _facts(config.facts, kind, subject, as_json)


def _overview(path: Path, as_json: bool) -> None:
    facts, head = facts_of(path)
    counts = {name: len(facts.of(kind)) for name, kind in KINDS.items()}
    if as_json:
        print_json({"revision": head.number, "digest": head.digest, "facts": counts})
        return
    click.echo(_("revision {number}  {digest}").format(number=head.number, digest=head.digest))
    print_table(
        [_("kind"), "", _("facts")], [[n, KINDS[n].LABEL[0], str(count)] for n, count in counts.items()]
    )


def _facts(path: Path, kind: str, subject: str | None, as_json: bool) -> None:
    facts, _head = facts_of(path)
    found = [fact.model_dump(mode="json") for fact in facts.of(KINDS[kind], subject)]
    if as_json:
        print_json(found)
        return
    for plain in found:
        click.echo("  ".join(f"{name}={value}" for name, value in plain.items() if value not in (None, "")))


def _history(path: Path, kind: str, subject: str | None, park: Park, as_json: bool) -> None:
    if not path.exists():
        return
    with RegistryReader(path) as reader:
        rows = reader.history(kind, subject)
    if as_json:
        names = FactRow.__struct_fields__
        print_json([{name: getattr(row, name) for name in names} for row in rows])
        return
    head = [_("revision"), _("time"), _("who"), _("why"), _("subject"), _("key"), _("valid from"), _("value")]
    print_table(head, [_line(row, park) for row in rows])


def _line(row: FactRow, park: Park) -> list[str]:
    at = datetime.fromtimestamp(row.at_ms / 1000, UTC).astimezone(park.tz).strftime("%Y-%m-%d %H:%M")
    value = _("withdrawn") if row.withdrawn else row.value[:_VALUE_WIDTH]
    return [str(row.revision), at, row.who, row.why, row.subject, row.key, row.valid_from or "—", value]


@registry.command(
    "withdraw",
    short_help=_("Withdraw a fact that should never have been."),
    help=_("Withdraw a fact. Its history stays; months closed with it stay as they are.")
         + example('tanyun registry withdraw bill jingmi 2026-10-001 --why "typed twice"'),
)  # fmt: skip
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("subject")
@click.argument("key", default="")
@config_option
@click.option(
    "--valid-from", default="", help=_("Which one, where several hold one after another (YYYY-MM-DD).")
)
@click.option("--why", required=True, help=_("Reason of the change; kept with every fact."))
def withdraw(kind: str, subject: str, key: str, config_file: Path, valid_from: str, why: str) -> None:
    """Withdraw a fact."""
    with errors_as_sentences():
        config, _park = load_server(config_file)
        facts, _head = facts_of(config.facts)
        found = [
            fact for fact in facts.of(KINDS[kind], subject)
            if fact.key == key and str(getattr(fact, "valid_from", "")).startswith(valid_from)
        ]  # fmt: skip
        if len(found) != 1:
            text = _("{count} facts fit; `tanyun registry show {kind} --subject {subject}` lists them")
            fail(text.format(count=len(found), kind=kind, subject=subject))
        _before, after = change(config, why, withdrawn=found)
    click.echo(_("withdrawn; the registry is at revision {number}").format(number=after.number))
