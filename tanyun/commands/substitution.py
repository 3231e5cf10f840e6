"""`tanyun month substitute`, `approve-substitution`: energy for a time that no meter accounts for, by two people."""

from datetime import datetime
from pathlib import Path
from typing import get_args

import click
from pydantic import ValidationError

from metering.i18n import _
from metering.mistakes import sentence
from storage.attachments import AttachmentError, keep
from storage.facts.fact import Fact
from storage.facts.judge import mistakes
from storage.facts.substitution import ApprovalFact, Method, SubstitutionFact
from storage.registry import fact_digest
from tanyun.commands.common import config_option, errors_as_sentences, fail, load_server
from tanyun.commands.registry import change, facts_of
from tanyun.commands.text import example
from tanyun.people import operating_user

_TIME = click.DateTime(["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d"])
_TYPE = click.option(
    "--type", "reading_type", default="energy_import_total", show_default=True, help=_("Which total.")
)
_FROM = click.option(
    "--from", "start", type=_TIME, required=True, help=_("Begin, local time on a quarter hour.")
)


@click.command(
    "substitute",
    short_help=_("Write down energy for a time that no meter accounts for (数据替代)."),
    help=_("Write down energy for a time that no meter accounts for, with method, reason and evidence. It counts as written down when "
           "somebody else has approved it; report and evidence pack show measured, substituted and reported energy, each its own line. "
           "Time that a later register reading covers is never substituted: the ledger has its energy, exactly.")
         + example("tanyun month substitute hj-line2 --from '2026-10-28 09:00' --to 2026-11-01 --energy 812.5 --method check_meter "
                   "--reason 'meter burnt; check meter of the transformer room' --evidence check.jpg"),
)  # fmt: skip
@click.argument("meter")
@_FROM
@click.option("--to", "end", type=_TIME, required=True, help=_("End, local time on a quarter hour."))
@click.option("--energy", required=True, help=_("How much, in --unit."))
@click.option("--unit", type=click.Choice(["kWh", "m3", "GJ"]), default="kWh", show_default=True)
@click.option("--method", type=click.Choice(get_args(Method)), required=True, help=_("By the stated order."))
@click.option("--reason", required=True, help=_("Why, and why the methods before it do not apply."))
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help=_("The file that proves it; kept by its SHA-256."),
)
@_TYPE
@config_option
def substitute(
    meter: str, start: datetime, end: datetime, energy: str, unit: str, method: str, reason: str, evidence: Path,
    reading_type: str, config_file: Path,
) -> None:  # fmt: skip
    """Write a substitution down."""
    with errors_as_sentences():
        config, _park = load_server(config_file)
        try:
            digest = keep(config.attachments, evidence.read_bytes())
            fact = SubstitutionFact.model_validate(
                {
                    "meter": meter, "reading_type": reading_type, "start": start, "end": end, "energy": energy, "unit": unit,
                    "method": method, "reason": reason, "evidence_sha256": digest,
                }
            )  # fmt: skip
        except AttachmentError as error:
            fail(str(error))
        except ValidationError as error:
            fail("\n".join(sentence(one) for one in error.errors()))
        _store(config_file, fact, reason)
    click.echo(_("written down; somebody else has to approve it: tanyun month approve-substitution"))


@click.command(
    "approve-substitution",
    short_help=_("Approve a substitution that somebody else wrote down."),
    help=_("Approve the substitution of METER that begins at --from, in exactly its present wording. Four eyes: who wrote it cannot. "
           "A change of it afterwards needs another approval.")
         + example("tanyun month approve-substitution hj-line2 --from '2026-10-28 09:00'"),
)  # fmt: skip
@click.argument("meter")
@_FROM
@_TYPE
@config_option
def approve_substitution(meter: str, start: datetime, reading_type: str, config_file: Path) -> None:
    """Approve a substitution."""
    with errors_as_sentences():
        config, _park = load_server(config_file)
        known = facts_of(config.facts)[0].of(SubstitutionFact, meter)
        found = next((f for f in known if (f.start, f.reading_type) == (start, reading_type)), None)
        if found is None:
            text = _("{meter} has no substitution from {start}; there are: {known}")
            starts = ", ".join(f"{f.start:%Y-%m-%d %H:%M} {f.reading_type}" for f in known) or "—"
            fail(text.format(meter=meter, start=start, known=starts))
        if found.by == operating_user():
            fail(
                _("{actor} wrote this substitution and cannot approve it (four eyes)").format(actor=found.by)
            )
        approval = ApprovalFact(
            meter=meter, reading_type=reading_type, start=start, substitution_sha256=fact_digest(found)
        )
        _store(config_file, approval, found.reason)
    click.echo(_("approved: {energy} {unit} by {method}").format(
        energy=found.energy, unit=found.unit, method=found.method
    ))  # fmt: skip


def _store(config_file: Path, fact: Fact, why: str) -> None:
    config, park = load_server(config_file)
    if wrong := mistakes([fact], facts_of(config.facts)[0], park):
        fail("\n".join(told for _place, told in wrong))
    change(config, why, [fact])
