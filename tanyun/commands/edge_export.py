"""`tanyun edge export`: frames in a file, where no connection reaches the server."""

import time
from datetime import UTC, datetime
from pathlib import Path

import click

from edge_agent.config import EdgeConfig, load_config
from edge_agent.export import Exported, export
from edge_agent.outbox import Outbox, OutboxError
from metering.i18n import _
from tanyun.commands.common import errors_as_sentences, fail, json_option, print_json
from tanyun.commands.edge_status import edge_config_option
from tanyun.commands.text import example

_TIMES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")


def _utc_ms(when: datetime | None) -> int | None:
    """Given without a zone, it is meant in this machine's."""
    return None if when is None else round(when.astimezone(UTC).timestamp() * 1000)


@click.command(
    "export",
    short_help=_("Write frames to a file, for `tanyun journal import`."),
    help=_("Write frames to a file that can be carried to the server, where `tanyun journal import` takes it in. "
           "Without --from: everything that the server has not acknowledged. Works while the agent runs and when it does "
           "not; nothing is removed, and what arrives both ways is stored once.")
         + example("tanyun edge export --config /etc/tanyun/edge.toml /media/usb/gw.frames",
                   "tanyun edge export --from 2026-10-01 --to 2026-11-01 october.frames"),
)  # fmt: skip
@edge_config_option
@click.option(
    "--from", "begin", type=click.DateTime(_TIMES), help=_("From this day or time on (local time).")
)
@click.option("--to", "end", type=click.DateTime(_TIMES), help=_("Up to this day or time, not included."))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def export_frames(
    config_file: Path, begin: datetime | None, end: datetime | None, file: Path, as_json: bool
) -> None:
    """Export."""
    with errors_as_sentences():
        config = load_config(config_file)
        if not config.outbox.path.exists():
            fail(_("{file}: there is no outbox yet; the agent has not run with this configuration").format(
                file=config.outbox.path))  # fmt: skip
        try:
            said = _export(config, _utc_ms(begin), _utc_ms(end), file)
        except OutboxError as error:
            fail(str(error))
    if as_json:
        print_json({name: getattr(said, name) for name in said.__struct_fields__})
        return
    text = _("{file}: {frames} frames, {first} to {last} of epoch {epoch}")
    click.echo(text.format(file=file, frames=said.frames, first=said.first, last=said.last, epoch=said.epoch))


def _export(config: EdgeConfig, begin_ms: int | None, end_ms: int | None, file: Path) -> Exported:
    outbox = Outbox(config.outbox.path, config.outbox.max_bytes)
    try:
        first = outbox.acked + 1 if begin_ms is None else outbox.number_at(begin_ms)
        last = outbox.last if end_ms is None else outbox.number_at(end_ms) - 1
        if first > last:
            fail(
                _("there are no such frames; without --from it is those that the server has not acknowledged")
            )
        now_ms = time.time_ns() // 1_000_000
        return export(outbox, config.park, config.gateway, first, last, file, now_ms)
    finally:
        outbox.abandon()
