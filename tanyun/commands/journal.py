"""`tanyun journal`: what an operator does with the journal by hand."""

import time
from pathlib import Path

import click
import msgspec

from metering.i18n import _
from metering.intervals import local_month
from tanyun.commands.common import (
    EX_FAILED,
    config_option,
    errors_as_sentences,
    fail,
    json_option,
    load_server,
    print_json,
)
from tanyun.commands.text import example


@click.group(
    short_help=_("Take frames in from a file; seal past months."),
    help=_("The journal: the server's log of frames as received."),
)
def journal() -> None:
    """The group."""


@journal.command(
    "import",
    short_help=_("Take in a file of `tanyun edge export`."),
    help=_("Take in frames from a file that `tanyun edge export` wrote at a gateway. They are judged as if the gateway had "
           "sent them: numbers, conflicts and quarantine are the same, and a second import stores nothing. Ingest must not "
           "run meanwhile; gateways wait. Exit code 1 when frames were refused or left out.")
         + example("sudo systemctl stop tanyun-ingest",
                   "tanyun journal import --config /etc/tanyun/server.toml gw.frames",
                   "sudo systemctl start tanyun-ingest"),
)  # fmt: skip
@config_option
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
def import_frames(config_file: Path, file: Path, as_json: bool) -> None:
    """Import."""
    from ingest.importer import import_file  # noqa: PLC0415  each role imports only what it needs

    with errors_as_sentences():
        config, park = load_server(config_file)
        done = import_file(file, park, config.journal, lambda: time.time_ns() // 1_000_000)
    if as_json:
        print_json(msgspec.to_builtins(done))
    else:
        text = _("{file}: gateway {gateway}, epoch {epoch}, frames {first} to {last}: "
                 "{stored} stored, {repeated} were here, {quarantined} refused, {ahead} left out")  # fmt: skip
        click.echo(text.format(file=file, **msgspec.to_builtins(done)))
        for reason, count in sorted(done.reasons.items()):
            click.echo(f"  {reason}: {count}")
        if done.ahead:
            click.echo(
                _(
                    "Frames from {expected} on are missing before them: export those too, and import them first."
                ).format(expected=done.expected)
            )
    if done.quarantined or done.ahead:
        raise SystemExit(EX_FAILED)


@journal.command(
    "seal",
    short_help=_("Compress the frames of past months."),
    help=_("Compress everything that was received up to the end of MONTH (YYYY-MM). Every frame stays in the journal byte for "
           "byte, and is checked before the compressed form takes its place; digests and the chain do not change, and every "
           "command reads it as before. The file does not become smaller: what is freed takes up new frames. Ingest must not "
           "run meanwhile; gateways wait. Broken off, it goes on where it was.")
         + example("sudo systemctl stop tanyun-ingest",
                   "tanyun journal seal --config /etc/tanyun/server.toml 2026-10",
                   "sudo systemctl start tanyun-ingest"),
)  # fmt: skip
@config_option
@click.argument("month")
@json_option
def seal(config_file: Path, month: str, as_json: bool) -> None:
    """Seal."""
    from ingest.sole import sole_writer  # noqa: PLC0415  each role imports only what it needs
    from storage.sealing import seal_before  # noqa: PLC0415

    with errors_as_sentences():
        config, park = load_server(config_file)
        try:
            end_ms = local_month(month, park.tz).end_ms
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
        if end_ms > time.time_ns() // 1_000_000:
            fail(_("{month} has not ended yet; only past months are sealed.").format(month=month))
        with sole_writer(config.journal):
            done = seal_before(config.journal, end_ms)
    if as_json:
        print_json(done._asdict())
    else:
        text = _(
            "Sealed {segments} segments with {frames} frames: {bytes_before} bytes became {bytes_after}."
        )
        click.echo(text.format(**done._asdict()))
