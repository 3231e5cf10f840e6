"""`tanyun evidence head`: the day's signed chain head, and checking one against a journal."""

from pathlib import Path

import click

from metering.i18n import _
from tanyun.commands.common import (
    config_option,
    errors_as_sentences,
    fail,
    json_option,
    load_server,
    print_json,
)
from tanyun.commands.evidence import evidence
from tanyun.commands.text import example


@evidence.command(
    "head",
    short_help=_("Sign where the journal's chain stands today; check an earlier one."),
    help=_("Sign the journal's chain head of today and print it; the day's first one stays.\n\n"
           "`tanyun delivery run` sends it to every target whose content has `head`, the same day. With --check: whether "
           "the journal of today still goes through a head that was handed over earlier.")
         + example("tanyun evidence head", "tanyun evidence head --check demo_chain-head_2026-11-01.json --key evidence-key.pub.pem"),
)  # fmt: skip
@config_option
@click.option(
    "--check", "file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help=_("A signed head.")
)
@click.option(
    "--key", "key_file", type=click.Path(path_type=Path), help=_("The public key that you were handed.")
)
@json_option
def head(config_file: Path, file: Path | None, key_file: Path | None, as_json: bool) -> None:
    """Sign or check."""
    from storage.deliveries import DeliveryStore  # noqa: PLC0415
    from tanyun.post import PostError, PostOffice  # noqa: PLC0415
    from verification.evidence.errors import KeyFileError  # noqa: PLC0415

    with errors_as_sentences():
        try:
            if file is not None:
                _check(config_file, file, key_file, as_json=as_json)
                return
            office = PostOffice.of(*load_server(config_file))
            with DeliveryStore(office.config.deliveries) as store:
                signed = office.head(store)
        except (PostError, KeyFileError) as error:
            fail(str(error))
    click.echo(signed.decode().rstrip())


def _check(config_file: Path, file: Path, key_file: Path | None, *, as_json: bool) -> None:
    from storage.journal import Offset  # noqa: PLC0415
    from storage.slices import JournalSlice  # noqa: PLC0415
    from verification.evidence import signing  # noqa: PLC0415
    from verification.evidence.head import read  # noqa: PLC0415

    config, _park = load_server(config_file)
    try:
        told = read(file.read_bytes(), signing.load_public(key_file) if key_file else None)
    except ValueError as error:
        fail(f"{file}: {error}")
    with JournalSlice(config.journal, Offset(told.segment + 1, 0)) as journal:
        same = journal.journal_id == told.journal_id
        chain = journal.recomputed_chain(told.segment).hex() if same else ""
    equal = same and chain == told.chain
    if as_json:
        print_json(
            {"equal": equal, "day": told.day, "segment": told.segment, "said": told.chain, "found": chain}
        )
    elif equal:
        click.echo(
            _("equal: the journal goes through the head of {day} (segment {segment})").format(
                day=told.day, segment=told.segment
            )
        )
    if not equal:
        fail(
            _("DIFFERENT: the head of {day} says {said}, this journal has {found}").format(
                day=told.day, said=told.chain, found=chain or "—"
            )
        )
