"""`tanyun gateway keygen | push | state`: signed configurations for gateways."""

import sys
import time
from pathlib import Path

import click
import msgspec

from edge_agent.updates.bundle import pack
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
)
from tanyun.commands.text import example
from tanyun.supervisor import EX_CONFIG

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(
    short_help=_("Make the key that signs configurations."),
    help=_("Make the Ed25519 key that signs configurations, and its public half beside it. The private half stays at the server; "
           "the public half is put on each gateway as /etc/tanyun/edge/updates.pub.pem (deploy/gateway/install.sh takes it from "
           "the folder of credentials). Nothing is ever overwritten.")
         + example("tanyun gateway keygen /etc/tanyun/updates.pem"),
)  # fmt: skip
@click.argument("file", type=click.Path(path_type=Path))
def keygen(file: Path) -> None:
    """Make a key."""
    from verification.evidence import signing  # noqa: PLC0415  cryptography is there on servers only
    from verification.evidence.errors import KeyFileError  # noqa: PLC0415

    try:
        key = signing.generate(file)
    except KeyFileError as error:
        fail(str(error))
    text = _("{file} and {public} were made; key id {key_id}")
    click.echo(text.format(file=file, public=signing.public_path(file), key_id=signing.key_id(key)))


@click.command(
    short_help=_("Push a configuration to a gateway, and wait until it is confirmed."),
    help=_("Sign a gateway's configuration, with the files in profiles/ and secrets/ beside it, and hand it to the gateway over MQTT. "
           "The gateway verifies the signature, checks everything, tries it for its confirm_minutes with polls and acknowledgements, "
           "and goes back by itself when something is worse than before. Its outbox is never touched.\n\n"
           "Exit code 0 when the gateway has confirmed it; 1 when it refused it or went back, or has not confirmed it in time: "
           "then it goes on by itself, see `tanyun gateway state`.")
         + example("tanyun gateway push gw-1 gw-1/edge.toml --key /etc/tanyun/updates.pem"),
)  # fmt: skip
@click.argument("gateway_id", metavar="GATEWAY")
@click.argument("file", metavar="EDGE_TOML", type=_FILE)
@click.option("--key", required=True, type=_FILE, help=_("The private key of `tanyun gateway keygen`."))
@click.option("--number", type=click.IntRange(min=1), help=_("Rises with every push; the time in seconds unless given."))  # fmt: skip
@click.option(
    "--wait-minutes",
    type=click.FloatRange(min=0.01),
    default=60,
    show_default=True,
    help=_("How long to wait for the gateway."),
)
@config_option
def push(
    gateway_id: str, file: Path, key: Path, number: int | None, wait_minutes: float, config_file: Path
) -> None:
    """Push a configuration."""
    from tanyun import gateway_push  # noqa: PLC0415
    from verification.evidence import signing  # noqa: PLC0415
    from verification.evidence.errors import KeyFileError  # noqa: PLC0415

    with errors_as_sentences():
        config, park = load_server(config_file)
        if gateway_id not in {item.id for item in park.gateways}:
            known = ", ".join(item.id for item in park.gateways)
            fail(
                _("there is no gateway {gateway!r}; known are {known}").format(
                    gateway=gateway_id, known=known
                ),
                EX_CONFIG,
            )
        now_ms = time.time_ns() // 1_000_000
        bundle = gateway_push.bundle_of(park.id, gateway_id, file, number or now_ms // 1000, now_ms)
    try:
        message = pack(bundle, signing.load_private(key).sign)
        said = ""
        click.echo(
            _("number {number}: waiting for {gateway}").format(number=bundle.number, gateway=gateway_id)
        )
        for report in gateway_push.push(config.broker, bundle, message, 60 * wait_minutes):
            said = report.state
            click.echo("  ".join(part for part in (said, report.detail) if part))
    except (KeyFileError, gateway_push.PushError, ValueError) as error:
        fail(str(error))
    if said not in gateway_push.FINAL:
        click.echo(
            _(
                "not confirmed yet: the bundle stays at the broker for the gateway; see `tanyun gateway state`"
            ),
            err=True,
        )
    sys.exit(0 if said == "confirmed" else 1)


@click.command(
    short_help=_("Show which configuration each gateway runs with."),
    help=_("Show what each gateway said last of the configurations that were pushed to it.")
         + example("tanyun gateway state --config server.toml"),
)  # fmt: skip
@config_option
@json_option
def state(config_file: Path, as_json: bool) -> None:
    """Show states."""
    from tanyun import gateway_push  # noqa: PLC0415

    with errors_as_sentences():
        config, park = load_server(config_file)
    try:
        found = gateway_push.states(config.broker, park.id)
    except gateway_push.PushError as error:
        fail(str(error))
    if as_json:
        print_json({name: msgspec.to_builtins(report) for name, report in sorted(found.items())})
        return
    head = [_("gateway"), _("in force"), _("newest"), _("state"), _("since"), _("detail")]
    rows = []
    for item in park.gateways:
        report = found.get(item.id)
        known = [] if report is None else [
            str(report.active or _("installed")), str(report.number), report.state, iso(report.t_ms, park.tz), report.detail,
        ]  # fmt: skip
        rows.append([item.id, *(known or ["-"] * 5)])
    print_table(head, rows)

