"""`tanyun export`: figures of a closed month in the form that another system takes."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from metering.i18n import _
from storage.months import MonthRow, MonthStore, report_stem
from tanyun.commands.common import (
    config_option,
    errors_as_sentences,
    fail,
    json_option,
    load_server,
    print_json,
)
from tanyun.commands.text import example

if TYPE_CHECKING:
    from verification.national.items import Upload

FORMATS = ("json", "csv")


@click.group(
    short_help=_("A closed month in the form that another system takes."),
    help=_("A closed month in the form that another system takes."),
)
def export() -> None:
    """The group."""


@export.command(
    "national",
    short_help=_("Daily and monthly items for the national online-monitoring system."),
    help=_("Daily and monthly items of a closed month for the national online-monitoring system of key energy users "
           "(重点用能单位能耗在线监测系统), by its public field names, one file per enterprise.\n\n"
           "Codes come from your own list (--codes): the system's code tables and its encryption are not public, so nothing "
           "is sent. A figure that is not known makes no item and is named. Exit code 1 when one is missing.")
         + example("tanyun export national --month 2026-10 --codes national.toml --format csv"),
)  # fmt: skip
@config_option
@click.option("--month", "wanted", required=True, metavar="YYYY-MM", help=_("The closed month."))
@click.option(
    "--codes",
    "codes_file",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=_("TOML list of items: figure, code, unit; see docs/national-monitoring.md."),
)
@click.option("--enterprise", help=_("Only this enterprise."))
@click.option("--format", "kind", type=click.Choice(FORMATS), default="json", show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help=_("Folder; `national` within the reports by default."),
)
@json_option
def national(
    config_file: Path,
    wanted: str,
    codes_file: Path,
    enterprise: str | None,
    kind: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Write items."""
    from verification.national.adaptors import ADAPTORS  # noqa: PLC0415  a gateway has no use for it
    from verification.national.items import UnitError  # noqa: PLC0415

    with errors_as_sentences():
        config, _park = load_server(config_file)
        folder = out or config.reports / "national"
        try:
            found = [(row, _upload(row, codes_file)) for row in _rows(config.months, wanted, enterprise)]
        except UnitError as error:
            fail(f"{codes_file}: {error}")
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{report_stem(row)}_national.{kind}" for row, _found in found]
        for path, (_row, upload) in zip(paths, found, strict=True):
            path.write_bytes(ADAPTORS[kind].write(upload))
    _tell(paths, [upload for _row, upload in found], as_json=as_json)


def _rows(months_file: Path, wanted: str, enterprise: str | None) -> list[MonthRow]:
    with MonthStore(months_file, writable=False) as months:
        stored = [row for row in months.list(wanted) if row.scope_kind == "enterprise"]
    if not stored:
        fail(_("{month} is not closed yet: run `tanyun month close {month}` first").format(month=wanted))
    newest = {row.scope_id: row for row in stored}
    if enterprise is not None and enterprise not in newest:
        text = _("{scope} has no closed {month}; there are: {known}")
        fail(text.format(scope=enterprise, month=wanted, known=", ".join(newest)), 2)
    return [row for name, row in newest.items() if enterprise in {None, name}]


def _upload(row: MonthRow, codes_file: Path) -> "Upload":
    from verification.document import parse  # noqa: PLC0415
    from verification.national.items import load_rules, upload  # noqa: PLC0415

    return upload(parse(row.document), load_rules(codes_file).item)


def _tell(paths: list[Path], uploads: list["Upload"], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {"path": str(p), "items": len(u.envelope.data), "missing": u.missing, "warnings": u.warnings}
                for p, u in zip(paths, uploads, strict=True)
            ]
        )
    else:
        for path, upload in zip(paths, uploads, strict=True):
            click.echo(_("{path}: {count} items").format(path=path, count=len(upload.envelope.data)))
            for name in upload.missing:
                click.echo(_("  no figure, no item: {name}").format(name=name))
            for warning in upload.warnings:
                click.echo(f"  {warning}")
    if any(upload.missing for upload in uploads):
        raise SystemExit(1)
