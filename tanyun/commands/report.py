"""`tanyun report`: print a closed month; `tanyun seal-key`: the key of the 防篡改 signature."""

import datetime as dt
from pathlib import Path

import click

from metering.i18n import _
from storage.months import MonthStore
from tanyun.commands.common import (
    config_option,
    errors_as_sentences,
    fail,
    json_option,
    load_server,
    print_json,
)
from tanyun.commands.text import example


def write_all(config_file: Path, wanted: str, out: Path | None) -> list[Path]:
    """The reports of the newest revision of every scope of a month."""
    from verification.formats import write_reports  # noqa: PLC0415  a gateway has no use for it

    config, _park = load_server(config_file)
    with MonthStore(config.months, writable=False) as months:
        newest = {(row.scope_kind, row.scope_id): row for row in months.list(wanted)}
    return [path for row in newest.values() for path in write_reports(row, out or config.reports)]


def _seal(paths: list[Path], key_file: Path, password_file: Path | None) -> list[Path]:
    """A signed copy beside every PDF: `<name>.sealed.pdf`. One that is there stays: a signature carries its time."""
    from verification.formats.seal import load_signer, seal  # noqa: PLC0415

    signer = load_signer(key_file, _password(password_file))
    sealed = []
    for path in (path for path in paths if path.suffix == ".pdf"):
        copy = path.with_suffix(".sealed.pdf")
        if not copy.exists() or not copy.read_bytes().startswith(path.read_bytes()):
            copy.write_bytes(seal(path.read_bytes(), signer))
        sealed.append(copy)
    return sealed


def _password(file: Path | None) -> bytes:
    return b"" if file is None else file.read_text(encoding="utf-8").strip().encode()


@click.command(
    short_help=_("Write the reports of a closed month: PDF, XLSX, CSV, JSON."),
    help=_("Write the reports of a closed MONTH (YYYY-MM): PDF, XLSX, CSV and JSON per enterprise and for the park.\n\n"
           "The newest revision is written. The same revision always gives the same bytes; a report that is there "
           "with other content is never overwritten. --seal adds a copy of each PDF with a signature that makes "
           "tampering evident; it is no electronic seal.")
         + example("tanyun report 2026-10 --out reports", "tanyun report 2026-10 --seal data/seal.p12 --seal-password data/seal.password"),
)  # fmt: skip
@click.argument("wanted", metavar="MONTH")
@config_option
@click.option(
    "--out", type=click.Path(path_type=Path), help=_("Folder; the configuration's `reports` by default.")
)
@click.option(
    "--seal",
    "key_file",
    type=click.Path(path_type=Path),
    help=_("PKCS#12 file of the key that signs the PDFs."),
)
@click.option(
    "--seal-password", "password_file", type=click.Path(path_type=Path), help=_("File with its password.")
)
@json_option
def report(
    wanted: str,
    config_file: Path,
    out: Path | None,
    key_file: Path | None,
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Write reports."""
    from verification.formats import ReportExistsError  # noqa: PLC0415
    from verification.formats.seal import SealError  # noqa: PLC0415

    with errors_as_sentences():
        try:
            paths = write_all(config_file, wanted, out)
            if key_file is not None:
                paths += _seal(paths, key_file, password_file)
        except (ReportExistsError, SealError) as error:
            fail(str(error))
    if not paths:
        fail(_("{month} is not closed yet: run `tanyun month close {month}` first").format(month=wanted))
    if as_json:
        print_json([str(path) for path in paths])
    else:
        for path in paths:
            click.echo(str(path))


@click.command(
    "seal-key",
    short_help=_("Make the key that signs the PDFs of reports."),
    help=_("Make a P-256 key with a self-signed certificate in FILE (PKCS#12), protected by a password.\n\n"
           "A certificate of a certification authority takes its place where there is one: `tanyun report --seal` "
           "reads any PKCS#12 file. Nothing is ever overwritten.")
         + example("tanyun seal-key data/seal.p12 --password data/seal.password --name 示范高新区"),
)  # fmt: skip
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--password",
    "password_file",
    type=click.Path(path_type=Path),
    required=True,
    help=_("File with its password."),
)
@click.option("--name", required=True, help=_("Whose signature it is: the name in the certificate."))
def seal_key(file: Path, password_file: Path, name: str) -> None:
    """Make a key."""
    from verification.formats.seal import SealError, make_key  # noqa: PLC0415

    with errors_as_sentences():
        password = _password(password_file)
        if not password:
            fail(_("{file} is empty: write the password into it first").format(file=password_file))
        try:
            make_key(file, password, name, dt.datetime.now(dt.UTC))
        except SealError as error:
            fail(str(error))
    click.echo(str(file))
