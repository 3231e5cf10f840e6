"""`tanyun broker`: the broker's certificates, logins and rights, generated from the registry."""

from pathlib import Path

import click

from metering.i18n import _
from metering.registry import load_registry
from tanyun.broker import BrokerError
from tanyun.broker_files import Changes, Wanted, bring_up_to_date
from tanyun.commands.common import errors_as_sentences, fail, json_option, print_json
from tanyun.commands.text import example
from tanyun.supervisor import EX_CONFIG


@click.group(
    short_help=_("The broker's certificates, logins and rights."),
    help=_(
        "What Mosquitto needs at a site: a private CA, a server certificate, a login for each gateway, and rights."
    ),
)
def broker() -> None:
    """The group."""


@broker.command(
    short_help=_("Write them, or bring them up to date."),
    help=_("Write the broker's files from the registry. Run it again after adding a gateway to the registry: what fits stays "
           "as it is, the new gateway gets its folder, and one that has gone from the registry can no longer sign in. "
           "Then reload Mosquitto.\n\n"
           "Carry `gateways/ID` to the gateway over a safe way (its password is in it). Passwords are never printed.")
         + example("sudo tanyun broker init --data /etc/tanyun/broker --registry /etc/tanyun/park.toml --tls --name mqtt.park.example"),
)  # fmt: skip
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help=_("The folder to write to."),
)
@click.option("--registry", type=click.Path(path_type=Path), default="park.toml", show_default=True,
              help=_("The park's registry (TOML): its gateways are the broker's users."))  # fmt: skip
@click.option(
    "--tls/--plain",
    default=False,
    help=_("TLS for gateways elsewhere, or a plain broker on loopback (the default)."),
)
@click.option("--name", "names", multiple=True, metavar="HOST",
              help=_("Host name or address that gateways connect to; may be given several times."))  # fmt: skip
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help=_("Port of the broker: 8883 with TLS, else 1883, by default."),
)
@click.option(
    "--renew",
    multiple=True,
    metavar="USER",
    help=_("Replace this user's password; the old one ends with the next reload."),
)
@click.option("--api", is_flag=True, help=_("Make a certificate for the API too, of the same CA (api/)."))
@click.option(
    "--client-certificates", is_flag=True,
    help=_("Whoever signs in needs a certificate of our CA besides the password; stays so from then on."),
)  # fmt: skip
@json_option
def init(
    data: Path, registry: Path, tls: bool, names: tuple[str, ...], port: int | None, renew: tuple[str, ...], api: bool,
    client_certificates: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write or update the files."""
    with errors_as_sentences():
        try:
            changes = bring_up_to_date(
                data.resolve(),
                load_registry(registry),
                Wanted(tls, names, port, renew, api, client_certificates),
            )
        except BrokerError as error:
            fail(str(error), EX_CONFIG)
    if as_json:
        print_json({"written": changes.written, "not_in_the_registry": changes.revoked})
    else:
        _print(data, changes)


def _print(data: Path, changes: Changes) -> None:
    for name in changes.written:
        click.echo(_("wrote {file}").format(file=data / name))
    if not changes.written:
        click.echo(_("{folder}: everything is up to date").format(folder=data))
    for gateway in changes.revoked:
        text = _("{gateway} is not in the registry (any more): it cannot sign in; its folder is kept")
        click.echo(text.format(gateway=gateway))
    if changes.written:
        click.echo(
            _(
                "Next: reload Mosquitto (sudo systemctl reload tanyun-mosquitto); carry gateways/ID to each new gateway."
            )
        )
