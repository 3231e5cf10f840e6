"""`tanyun meters add | sheet`: a commissioning sheet into the registry, and onto paper."""

import hashlib
from pathlib import Path

import click
import msgspec

from edge_agent.commission.sheet import Sheet, SheetError, decode_sheet, ratio_statement
from metering.i18n import _
from tanyun.commands.common import config_option, errors_as_sentences, fail
from tanyun.commands.edge_commission import RoleOf
from tanyun.commands.text import example
from tanyun.config import load_server_config

_SHEET = click.Path(path_type=Path, exists=True, dir_okay=False)


def _read(file: Path) -> tuple[Sheet, str]:
    """The sheet, and the SHA-256 of its file."""
    data = file.read_bytes()
    try:
        return decode_sheet(data), hashlib.sha256(data).hexdigest()
    except SheetError as error:
        fail(_("{file} is no commissioning sheet: {error}").format(file=file, error=error))


@click.command(
    "add",
    short_help=_("Take a commissioned meter into the registry."),
    help=_("Take the meter of a commissioning sheet into the registry (park.toml). The change is shown first; comments and order of "
           "the file stay, the whole registry is validated, and the file is replaced at once. A meter that is there already is "
           "refused, unless --merge, which takes over profile, serial number and the proof of its ratio.\n\n"
           "Refused: a sheet whose map does not fit, whose ratio is contradicted, or without a role. "
           "Restart the server's roles afterwards.")
         + example("tanyun meters add tx-main.json --config server.toml", "tanyun meters add tx-main.json --dry-run"),
)  # fmt: skip
@click.argument("file", metavar="SHEET", type=_SHEET)
@click.option(
    "--role", "roles", type=RoleOf(), multiple=True, help=_("Role of a total, instead of the sheet's.")
)
@click.option("--parent", help=_("The meter upstream of this one, instead of the sheet's."))
@click.option("--name", help=_("The meter's name in reports, instead of the sheet's."))
@click.option("--merge", is_flag=True, help=_("The meter is there already: take over what the visit found."))
@click.option("--dry-run", is_flag=True, help=_("Show the change, make none."))
@click.option("--yes", is_flag=True, help=_("Do not ask."))
@config_option
def add(
    file: Path, roles: tuple[tuple[str, str], ...], parent: str | None, name: str | None,
    merge: bool, dry_run: bool, yes: bool, config_file: Path,
) -> None:  # fmt: skip
    """Add a meter."""
    from tanyun.sheets import entry  # noqa: PLC0415  tomlkit is there on servers only

    sheet, digest = _read(file)
    given = {"roles": dict(roles), "parent": parent, "name": name}
    wanted = msgspec.structs.replace(sheet.wanted, **{key: value for key, value in given.items() if value})
    sheet = msgspec.structs.replace(sheet, wanted=wanted)
    with errors_as_sentences():
        registry = load_server_config(config_file).registry
        before = registry.read_text(encoding="utf-8")
        try:
            after = entry.with_meter(before, sheet, digest, merge=merge)
            entry.checked(registry, after)
            click.echo(entry.difference(registry, before, after), nl=False)
            if before == after:
                click.echo(_("nothing changes"))
            elif dry_run or not (yes or click.confirm(_("Write this?"))):
                click.echo(_("nothing was written"))
            else:
                entry.replace(registry, before, after)
                click.echo(_("{file} was written: restart ingest and stream").format(file=registry))
        except entry.EntryError as error:
            fail(str(error))
    click.echo(f"{sheet.meter}: {ratio_statement(sheet.proof)}")


@click.command(
    "sheet",
    short_help=_("Print a commissioning sheet as a PDF."),
    help=_("Print a commissioning sheet as a PDF, in Chinese and English. It carries the digest of the JSON file that it was made of.")
         + example("tanyun meters sheet tx-main.json --output tx-main.pdf"),
)  # fmt: skip
@click.argument("file", metavar="SHEET", type=_SHEET)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help=_("The PDF; beside the sheet unless given.")
)
def sheet(file: Path, output: Path | None) -> None:
    """Print a sheet."""
    from tanyun.sheets.pdf import render  # noqa: PLC0415  typst is there on servers only

    _read(file)
    target = output or file.with_suffix(".pdf")
    with errors_as_sentences():
        target.write_bytes(render(file.read_bytes()))
    click.echo(str(target))
