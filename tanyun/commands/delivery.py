"""`tanyun delivery`: send what is due until there is a receipt; say what is under way."""

from pathlib import Path

import click

from metering.i18n import _
from metering.intervals import iso
from tanyun.commands.common import (
    config_option,
    errors_as_sentences,
    fail,
    json_option,
    load_server,
    print_json,
    print_table,
    start_logging,
    stop_event,
)
from tanyun.commands.text import example

EX_UNDELIVERED = 1


@click.group(
    short_help=_("Send reports, evidence and chain heads until they are receipted."),
    help=_("Automatic delivery: who gets what, when and how stands in the delivery file that server.toml names.\n\n"
           "Every attempt and every receipt is kept and goes to the audit log. What has no receipt is tried again, "
           "after 1, 5, 15 and 60 minutes, then every 3 and 6 hours, for as long as it takes."),
)  # fmt: skip
def delivery() -> None:
    """The group."""


@delivery.command(
    "run",
    short_help=_("Send what is due now."),
    help=_("Send what is due now, and what had no receipt. Exit code 1 when something stays undelivered.\n\n"
           "--dry-run says what would be sent and sends nothing. --every keeps on running.")
         + example("tanyun delivery run --dry-run", "tanyun delivery run --every 300"),
)  # fmt: skip
@config_option
@click.option("--dry-run", "dry", is_flag=True, help=_("Say what would be sent; send and keep nothing."))
@click.option(
    "--every",
    "seconds",
    type=click.IntRange(min=10),
    help=_("Look again after so many seconds, until stopped."),
)
@json_option
def run(config_file: Path, dry: bool, seconds: int | None, as_json: bool) -> None:
    """Send."""
    if seconds is not None:
        start_logging()
        stop = stop_event()
        while True:
            _pass(config_file, dry=dry, as_json=as_json)
            if stop.wait(seconds):
                return
    if _pass(config_file, dry=dry, as_json=as_json):
        raise SystemExit(EX_UNDELIVERED)


@delivery.command(
    "retry",
    short_help=_("Try everything without a receipt again, now."),
    help=_("Try everything that has no receipt again at once, without waiting for its time.")
         + example("tanyun delivery retry"),
)  # fmt: skip
@config_option
@json_option
def retry(config_file: Path, as_json: bool) -> None:
    """Send without waiting."""
    if _pass(config_file, at_once=True, as_json=as_json):
        raise SystemExit(EX_UNDELIVERED)


def _pass(config_file: Path, *, dry: bool = False, at_once: bool = False, as_json: bool = False) -> bool:
    """One pass; whether something stays undelivered."""
    from tanyun.post import PostError, PostOffice  # noqa: PLC0415  a gateway has no use for it
    from verification.evidence.errors import KeyFileError  # noqa: PLC0415

    with errors_as_sentences():
        try:
            found = list(PostOffice.of(*load_server(config_file)).run(dry=dry, at_once=at_once))
        except (PostError, KeyFileError) as error:
            fail(str(error))
    lines = [[o.parcel.target, o.parcel.title, o.state, o.detail, o.parcel.key] for o in found]
    if as_json:
        print_json(
            [dict(zip(("target", "title", "state", "detail", "key"), line, strict=True)) for line in lines]
        )
    else:
        print_table(
            [_("target"), _("parcel"), _("state"), _("detail")],
            [line[:4] for line in lines if line[2] != "done"],
        )
    return any(outcome.state in {"failed", "waiting"} for outcome in found)


@delivery.command(
    "status",
    short_help=_("What was sent, and what has no receipt yet."),
    help=_("Every parcel with its attempts and its receipt.") + example("tanyun delivery status --json"),
)
@config_option
@json_option
def status(config_file: Path, as_json: bool) -> None:
    """Show parcels."""
    from storage.deliveries import DeliveryStore  # noqa: PLC0415
    from verification.delivery.parcels import receipted  # noqa: PLC0415

    with errors_as_sentences():
        config, park = load_server(config_file)
        if not config.deliveries.exists():
            fail(_("nothing was sent yet: run `tanyun delivery run`"))
        with DeliveryStore(config.deliveries, writable=False) as store:
            parcels = [(row, store.attempts(row.key)) for row in store.parcels()]
    if as_json:
        print_json(
            [
                {
                    "key": row.key, "target": row.target, "title": row.title,
                    "files": {file.name: file.sha256 for file in row.files}, "receipted": receipted(attempts),
                    "attempts": [{"at": iso(a.at_ms, park.tz), "outcome": a.outcome, "detail": a.detail} for a in attempts],
                }
                for row, attempts in parcels
            ]
        )  # fmt: skip
        return
    rows = [
        [
            row.target,
            row.title,
            _("receipted") if receipted(attempts) else _("no receipt"),
            str(len(attempts)),
            attempts[-1].detail if attempts else "",
        ]
        for row, attempts in parcels
    ]
    print_table([_("target"), _("parcel"), _("state"), _("attempts"), _("detail")], rows)
