"""`tanyun evidence`: packs that let a stranger recompute a closed month."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metering.i18n import _
from metering.registry import Park
from storage.months import MonthRow, MonthStore
from tanyun.commands.common import (
    config_option,
    errors_as_sentences,
    fail,
    json_option,
    load_server,
    print_json,
)
from tanyun.commands.text import example
from tanyun.config import ServerConfig
from tanyun.environment import VERSION

if TYPE_CHECKING:
    from verification.evidence.verify import Verdict

KEY_NAME = "evidence-key.pem"
EX_DIFFERENT, EX_USAGE = 1, 2


@click.group(
    short_help=_("Evidence packs: recompute a closed month anywhere."),
    help=_("Evidence packs: everything that a closed month rests on, signed, in one file.\n\n"
           "Make a key once with `tanyun evidence keygen` and hand its public half to the regulator. After "
           "`tanyun month close`, make the packs; anybody verifies them without our database."),
)  # fmt: skip
def evidence() -> None:
    """The group."""


@evidence.command(
    "keygen",
    short_help=_("Make the key that signs evidence packs."),
    help=_("Make an Ed25519 key: the private half readable by its owner only, the public half beside it.\n\n"
           "Hand the .pub.pem file to the regulator now, by another way than the packs. Nothing is overwritten.")
         + example("tanyun evidence keygen", "tanyun evidence keygen --out /etc/tanyun/evidence-key.pem"),
)  # fmt: skip
@config_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("File of the private key; in the data folder by default."),
)
def keygen(config_file: Path, out: Path | None) -> None:
    """Make a key."""
    from verification.evidence import signing  # noqa: PLC0415  a gateway has no use for it
    from verification.evidence.errors import KeyFileError  # noqa: PLC0415

    with errors_as_sentences():
        path = out or load_server(config_file)[0].data / KEY_NAME
        try:
            key = signing.generate(path)
        except KeyFileError as error:
            fail(str(error))
    click.echo(_("private key: {path} (keep it here, readable by you only)").format(path=path))
    click.echo(_("public key: {path}").format(path=signing.public_path(path)))
    click.echo(_("fingerprint: {key}").format(key=signing.key_id(key)))


@evidence.command(
    "pack",
    short_help=_("Make the evidence packs of a closed month."),
    help=_("Make the evidence packs of a closed MONTH (YYYY-MM): one per enterprise and one for the park.\n\n"
           "Each pack is verified as soon as it is written. The newest revision is packed, or the one that --revision "
           "names: what was restated since is left out.")
         + example("tanyun evidence pack 2026-10 --out evidence", "tanyun evidence pack 2026-10 --scope hengjing --revision 1"),
)  # fmt: skip
@click.argument("wanted", metavar="MONTH")
@config_option
@click.option("--scope", help=_("Only this enterprise or park."))
@click.option("--revision", type=click.IntRange(min=1), help=_("This revision instead of the newest."))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help=_("Folder; `evidence` within the reports by default."),
)
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path),
    help=_("The private key; that of `keygen` by default."),
)
@json_option
def pack(
    wanted: str,
    config_file: Path,
    scope: str | None,
    revision: int | None,
    out: Path | None,
    key_file: Path | None,
    as_json: bool,
) -> None:
    """Make packs."""
    from verification.evidence.errors import KeyFileError, PackError  # noqa: PLC0415

    with errors_as_sentences():
        config, park = load_server(config_file)
        rows = _rows(config, wanted, scope, revision)
        try:
            found = list(
                _packs(
                    config, park, rows, out or config.reports / "evidence", key_file or config.data / KEY_NAME
                )
            )
        except (KeyFileError, PackError) as error:
            fail(str(error))
    if as_json:
        print_json([{"path": str(path), **_summary(verdict)} for path, verdict in found])
    else:
        for path, verdict in found:
            click.echo(f"{path}  {_sentence(verdict)}")
    if not all(verdict.equal for _path, verdict in found):
        raise SystemExit(EX_DIFFERENT)


def _rows(config: ServerConfig, wanted: str, scope: str | None, revision: int | None) -> list[MonthRow]:
    with MonthStore(config.months, writable=False) as months:
        stored = months.list(wanted)
    if not stored:
        fail(_("{month} is not closed yet: run `tanyun month close {month}` first").format(month=wanted))
    mine = [row for row in stored if scope in {None, row.scope_id}]
    if not mine:
        known = ", ".join(dict.fromkeys(row.scope_id for row in stored))
        text = _("{scope} has no closed {month}; there are: {known}")
        fail(text.format(scope=scope, month=wanted, known=known), EX_USAGE)
    if revision is None:
        return list({(row.scope_kind, row.scope_id): row for row in mine}.values())
    rows = [row for row in mine if row.revision == revision]
    if not rows:
        known = ", ".join(f"{row.scope_id} r{row.revision}" for row in mine)
        text = _("{month} has no revision {revision}; there are: {known}")
        fail(text.format(month=wanted, revision=revision, known=known), EX_USAGE)
    return rows


def _packs(
    config: ServerConfig, park: Park, rows: list[MonthRow], folder: Path, key_file: Path
) -> Iterator[tuple[Path, "Verdict"]]:
    from factors.fuel import FuelTable  # noqa: PLC0415
    from factors.table import FactorTable  # noqa: PLC0415
    from storage.ledger import LedgerReader  # noqa: PLC0415
    from tanyun.commands.registry import facts_of  # noqa: PLC0415
    from verification.evidence import signing  # noqa: PLC0415
    from verification.evidence.pack import Sources, write_pack  # noqa: PLC0415
    from verification.evidence.verify import verify_pack  # noqa: PLC0415

    key = signing.load_private(key_file)
    with LedgerReader(config.ledger) as ledger, MonthStore(config.months, writable=False) as months:
        sources = Sources(
            park, config.journal, ledger, FactorTable.load(), key, f"tanyun {VERSION}", _profiles(),
            lambda revision: facts_of(config.facts, revision)[0], FuelTable.load(), months,
        )  # fmt: skip
        for row in rows:
            path = write_pack(row, sources, folder)
            yield path, verify_pack(path, key.public_key())


def _profiles() -> dict[str, bytes]:
    folder = resources.files("edge_agent") / "profiles"
    return {
        item.name.removesuffix(".toml"): item.read_bytes()
        for item in folder.iterdir()
        if item.name.endswith(".toml")
    }


@evidence.command(
    "verify",
    short_help=_("Verify a pack and recompute its figures."),
    help=_("Verify PACK: every byte, the signature, the journal's chain; recompute its figures from the frames.\n\n"
           "Prints `equal`, or the first difference with its place. Needs no database and no configuration. "
           "Exit codes: 0 equal, 1 different, 2 wrong usage.")
         + example("tanyun evidence verify hengjing_2026-10_r1_evidence.zip --key regulator/evidence-key.pub.pem"),
)  # fmt: skip
@click.argument("pack_file", metavar="PACK", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path),
    help=_("The public key that you were handed; without it only the pack's own is there."),
)
@click.option(
    "--reports",
    "with_reports",
    is_flag=True,
    help=_(
        "Write the reports again from the pack's document, too: their bytes have to be the same. Needs the release that wrote them."
    ),
)
@json_option
def verify(pack_file: Path, key_file: Path | None, with_reports: bool, as_json: bool) -> None:
    """Verify a pack."""
    from verification.evidence import signing  # noqa: PLC0415
    from verification.evidence.errors import KeyFileError  # noqa: PLC0415
    from verification.evidence.verify import verify_pack  # noqa: PLC0415

    try:
        verdict = verify_pack(pack_file, signing.load_public(key_file) if key_file else None)
        if with_reports and verdict.equal:
            from verification.evidence.rebuilt import report_differences  # noqa: PLC0415  it loads all that draws

            verdict.difference = next(report_differences(pack_file), None)
    except (KeyFileError, OSError) as error:
        fail(str(error), EX_USAGE)
    if as_json:
        print_json({"path": str(pack_file), **_summary(verdict)})
    else:
        click.echo(_sentence(verdict))
        if with_reports and verdict.equal:
            click.echo(_("The reports, written again from the document, have the same bytes."))
        if verdict.manifest is not None and not verdict.pinned:
            text = _(
                "The key came with the pack: compare its fingerprint with the one you were handed, or use --key.\n  {key}"
            )
            click.echo(text.format(key=verdict.manifest.signer.key_id), err=True)
    if not verdict.equal:
        raise SystemExit(EX_DIFFERENT)


def _sentence(verdict: "Verdict") -> str:
    if verdict.difference is not None:
        place, said, found = verdict.difference
        return _("DIFFERENT: {place}\n  the pack says: {said}\n  found: {found}").format(
            place=place, said=said, found=found
        )
    text = _(
        "equal: {totals} totals, {intervals} intervals from {frames} frames; {files} files, {segments} segments, signature valid"
    )
    counts = {name: getattr(verdict, name) for name in ("totals", "intervals", "frames", "files", "segments")}
    return text.format(**counts)


def _summary(verdict: "Verdict") -> dict[str, object]:
    names = ("equal", "pinned", "files", "segments", "frames", "totals", "intervals")
    first = verdict.difference
    return {
        **{name: getattr(verdict, name) for name in names},
        "key_id": verdict.manifest.signer.key_id if verdict.manifest else None,
        "difference": first._asdict() if first else None,
    }
