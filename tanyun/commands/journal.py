"""`tanyun journal`: what an operator does with the journal by hand."""

import time
from pathlib import Path

import click
import msgspec

from metering.i18n import _
from tanyun.commands.common import (
    EX_FAILED,
    config_option,
    errors_as_sentences,
    json_option,
    load_server,
    print_json,
)
from tanyun.commands.text import example


@click.group(
    short_help=_("Take frames in from a file."),
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
