"""`tanyun gateway resend`: frames of a time once more, from the gateway's outbox."""

import sys
from datetime import datetime
from pathlib import Path

import click

from metering.frames import Range
from metering.i18n import _
from tanyun.commands.common import config_option, errors_as_sentences, fail, load_server
from tanyun.commands.text import example
from tanyun.supervisor import EX_CONFIG

_TIMES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")


@click.command(
    short_help=_("Ask a gateway for the frames of a time once more."),
    help=_("Ask a gateway to send the frames of a time once more, as far as its outbox still has them: it keeps what is acknowledged, "
           "for half a year and more. What the journal has already is recognised by number and body and stored once; so asking is "
           "always safe. After `tanyun restore` it is not needed: gateways notice by themselves what the server lacks. The frames "
           "come when the gateway has nothing newer to send, and within its monthly budget.\n\n"
           "Exit code 0 when frames came; 1 when none did: the gateway is away, has nothing of that time, or must save.")
         + example("tanyun gateway resend gw-1 --from 2026-10-01 --to 2026-10-03 --config server.toml"),
)  # fmt: skip
@click.argument("gateway_id", metavar="GATEWAY")
@click.option(
    "--from", "begin", type=click.DateTime(_TIMES), required=True, help=_("From this day or time on (the park's time).")
)  # fmt: skip
@click.option(
    "--to", "end", type=click.DateTime(_TIMES), required=True, help=_("Up to this day or time, not included.")
)
@click.option(
    "--wait-s", type=click.FloatRange(min=1), default=60, show_default=True, help=_("How long to wait for the gateway, in seconds."),
)  # fmt: skip
@config_option
def resend(gateway_id: str, begin: datetime, end: datetime, wait_s: float, config_file: Path) -> None:
    """Ask for frames again."""
    from storage.journal import HIGHEST, JournalReader  # noqa: PLC0415
    from tanyun import gateway_resend  # noqa: PLC0415
    from tanyun.gateway_push import PushError  # noqa: PLC0415

    with errors_as_sentences():
        config, park = load_server(config_file)
        known = [item.id for item in park.gateways]
        if gateway_id not in known:
            text = _("there is no gateway {gateway!r}; known are {known}")
            fail(text.format(gateway=gateway_id, known=", ".join(known)), EX_CONFIG)
        start_ms, end_ms = (round(when.replace(tzinfo=park.tz).timestamp() * 1000) for when in (begin, end))
        with JournalReader(config.journal) as journal:
            found = journal.numbers_between(gateway_id, start_ms, end_ms)
    if found is None:
        fail(_("{gateway} has no frames between these times").format(gateway=gateway_id))
    wanted = Range(*found)
    asking = _("asking {gateway} for frames {first} to {last}")
    if wanted.last == HIGHEST:
        asking = _("asking {gateway} for all frames from {first} on")
    click.echo(asking.format(gateway=gateway_id, first=wanted.first, last=wanted.last))
    try:
        came = gateway_resend.resend(config.broker, park.id, gateway_id, wanted, wait_s)
    except PushError as error:
        fail(str(error))
    click.echo(_("{count} frames came; the journal takes those that it lacks").format(count=came))
    sys.exit(0 if came else 1)
