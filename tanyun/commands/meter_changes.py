"""`tanyun meters exchange | ratio`: another meter, or other transformers, from a moment on; declared afterwards, with a photo."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from metering.dated import moment_ms
from metering.i18n import _
from metering.reading_types import READING_TYPES
from metering.registry import Exchange, Meter, RatioChange, load_registry
from storage.attachments import AttachmentError, keep
from tanyun.commands.common import config_option, errors_as_sentences, fail
from tanyun.commands.text import example
from tanyun.config import load_server_config
from tanyun.people import record

_PHOTO = click.Path(path_type=Path, exists=True, dir_okay=False)
_MOMENTS = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d"]


class ShownTotal(click.ParamType[tuple[str, str]]):
    """`energy_import_total=1234.56`, or the number alone for a meter with one total."""

    name = "[TOTAL=]READING"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """(total or empty, reading as it was shown)."""
        total, _equals, shown = str(value).rpartition("=")
        try:
            right = Decimal(shown).is_finite() and (not total or total in READING_TYPES)
        except InvalidOperation:
            right = False
        if not right:
            text = _("{value}: give TOTAL=READING as the display shows it, e.g. energy_import_total=1234.56")
            self.fail(text.format(value=value), param, ctx)
        return total, shown


def _asked(function: Callable[..., None]) -> Callable[..., None]:
    """What both commands ask."""
    options = (
        click.argument("meter", metavar="METER"),
        click.option(
            "--at", type=click.DateTime(_MOMENTS), required=True, help=_("When, in the park's local time.")
        ),
        click.option("--reason", required=True, help=_("Why; it stays in the registry and the audit log.")),
        click.option("--photo", type=_PHOTO, help=_("Photo or scan that proves it; kept under its SHA-256.")),
        click.option("--dry-run", is_flag=True, help=_("Show the change, make none.")),
        click.option("--yes", is_flag=True, help=_("Do not ask.")),
        config_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command(
    "exchange",
    short_help=_("Declare that a meter was exchanged (换表), also long afterwards."),
    help=_("Declare that another meter took METER's place: when, what the old display showed last and the new one first, with a photo. "
           "The change of park.toml is shown first; comments and order of the file stay, and the whole registry is validated. "
           "The stream takes it up when it is restarted: it computes again from that moment on. Closed months stay as they are until "
           "`tanyun month restate`.")
         + example("tanyun meters exchange hj-line2 --at '2026-10-14 03:07' --closing 90231.44 --opening 0.12 --serial 20261014 "
                   "--reason 'display dead' --photo both.jpg"),
)  # fmt: skip
@_asked
@click.option(
    "--closing", type=ShownTotal(), multiple=True, required=True, help=_("The old meter's last display.")
)
@click.option(
    "--opening", type=ShownTotal(), multiple=True, required=True, help=_("The new meter's first display.")
)
@click.option("--serial", default="", help=_("The new meter's serial number."))
@click.option("--ct", help=_("The current transformers' ratio, where it changed too, e.g. 400/5."))
@click.option("--pt", help=_("The voltage transformers' ratio, where it changed too."))
def exchange(
    meter: str, at: datetime, closing: tuple[tuple[str, str], ...], opening: tuple[tuple[str, str], ...], serial: str,
    ct: str | None, pt: str | None, reason: str, photo: Path | None, dry_run: bool, yes: bool, config_file: Path,
) -> None:  # fmt: skip
    """Declare an exchange."""
    if photo is None:
        raise click.MissingParameter(param_hint="'--photo'", param_type="option")

    def entry(known: Meter, _zone: ZoneInfo) -> dict[str, Any]:
        from tanyun.sheets.dated import totals_of  # noqa: PLC0415  tomlkit is there on servers only

        roles = list(known.read_totals)
        return {
            "at": at, "closing": totals_of(closing, roles, "closing"), "opening": totals_of(opening, roles, "opening"),
            "serial": serial, "ct": ct, "pt": pt,
        }  # fmt: skip

    _declare(config_file, "exchange", meter, entry, reason, photo, write=not dry_run, ask=not yes)


@click.command(
    "ratio",
    short_help=_("Declare other transformers from a moment on, or put a wrong ratio right."),
    help=_("Declare METER's transformer ratio from a moment on. A ratio that was wrong from the beginning is put right by a moment "
           "before the first reading. The change of park.toml is shown first; comments and order of the file stay, and the whole registry "
           "is validated. The stream takes it up when it is restarted: it computes again from that moment on. Closed months stay as they "
           "are until `tanyun month restate --reason ct_corrected`.")
         + example("tanyun meters ratio hj-line2 --at 2026-05-01 --ct 400/5 --reason 'name plate read, was 300/5' --photo plate.jpg"),
)  # fmt: skip
@_asked
@click.option("--ct", required=True, help=_("The current transformers' ratio, e.g. 400/5."))
@click.option("--pt", help=_("The voltage transformers' ratio, where it changed too."))
def ratio(
    meter: str, at: datetime, ct: str, pt: str | None, reason: str, photo: Path | None, dry_run: bool, yes: bool,
    config_file: Path,
) -> None:  # fmt: skip
    """Declare a ratio."""

    def entry(known: Meter, zone: ZoneInfo) -> dict[str, Any]:
        kept = _pt_of(known, at, zone) if pt is None else pt
        return {"at": at, "ct": ct, "pt": None if str(kept) == "1" else str(kept)}

    _declare(config_file, "ratio", meter, entry, reason, photo, write=not dry_run, ask=not yes)


def _pt_of(meter: Meter, at: datetime, zone: ZoneInfo) -> Fraction:
    """The voltage transformers' ratio in force at a moment by what is declared so far."""
    dated: list[RatioChange | Exchange] = [*meter.ratio_changes, *meter.exchanges]
    before = [
        (moment_ms(change.at, zone), change.pt)
        for change in dated
        if change.pt is not None and moment_ms(change.at, zone) < moment_ms(at, zone)
    ]
    return max(before)[1] if before else meter.pt


def _declare(
    config_file: Path, kind: str, meter: str, entry: Callable[[Meter, ZoneInfo], dict[str, Any]], reason: str, photo: Path | None, *,
    write: bool, ask: bool,
) -> None:  # fmt: skip
    """Show the change of the registry; when it is wanted, keep the photo, replace the file and write the audit log."""
    from tanyun.sheets import dated  # noqa: PLC0415  tomlkit is there on servers only
    from tanyun.sheets.entry import EntryError, checked, difference, replace  # noqa: PLC0415

    with errors_as_sentences():
        config = load_server_config(config_file)
        before, data = config.registry.read_text(encoding="utf-8"), photo.read_bytes() if photo else b""
        digest = hashlib.sha256(data).hexdigest() if photo else ""
        park = load_registry(config.registry)
        known = park.meter(meter)
        said = f"{reason} (photo sha256:{digest})" if digest else reason
        put = dated.with_exchange if kind == "exchange" else dated.with_ratio
        try:
            fields = {**(entry(known, park.tz) if known else {}), "reason": said}
            after = put(before, meter, fields)
            checked(config.registry, after)
            click.echo(difference(config.registry, before, after), nl=False)
            if not write or (ask and not click.confirm(_("Write this?"))):
                click.echo(_("nothing was written"))
                return
            if photo:
                keep(config.attachments, data)
            replace(config.registry, before, after)
        except (EntryError, AttachmentError) as error:
            fail(str(error))
        told = {**{key: value for key, value in fields.items() if value}, "at": fields["at"].isoformat()}
        record(config.audit, f"meter.{kind}", meter, photo_sha256=digest, **told)
    text = _("{file} was written: restart ingest and stream, they compute again from {at} on")
    click.echo(text.format(file=config.registry, at=fields["at"]))
