"""`tanyun gateway` on the server, `tanyun edge enrol` on the gateway: how a gateway gets its credentials, and loses them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click

from metering.enrolment import CodeError, parse_code
from metering.i18n import _
from tanyun.broker import BrokerError
from tanyun.commands.common import config_option, errors_as_sentences, fail, load_server, print_table
from tanyun.commands.text import example
from tanyun.enrol import EnrolError, fetch, store

_data = click.option(
    "--data", "folder", type=click.Path(path_type=Path, file_okay=False), default="/etc/tanyun/broker", show_default=True,
    help=_("The broker's folder, as `tanyun broker init` made it."),
)  # fmt: skip


@contextmanager
def _sentences() -> Iterator[None]:
    try:
        with errors_as_sentences():
            yield
    except (BrokerError, EnrolError, CodeError) as error:
        fail(str(error))


@click.group(
    short_help=_("Let gateways in, and shut them out."),
    help=_("Let gateways in with a one-time code, and shut them out at once. Run it as root on the server: it writes the "
           "broker's files."),
)  # fmt: skip
def gateway() -> None:
    """The group."""


@gateway.command(
    "invite",
    short_help=_("Print a one-time code for a gateway."),
    help=_("Print a one-time code with which a gateway of the registry fetches its credentials. An earlier code of the same "
           "gateway ends.")
         + example("sudo tanyun gateway invite gw-1 --config /etc/tanyun/server.toml"),
)  # fmt: skip
@click.argument("gateway_id", metavar="ID")
@click.option(
    "--hours",
    type=click.IntRange(1, 24 * 14),
    default=24,
    show_default=True,
    help=_("How long the code opens."),
)
@_data
@config_option
def invite(gateway_id: str, hours: int, folder: Path, config_file: Path) -> None:
    """Invite a gateway."""
    from tanyun import gateways  # noqa: PLC0415  it needs what a gateway does not have

    with _sentences():
        config, park = load_server(config_file)
        broker = gateways.Broker(folder.resolve(), park)
        code, expires_ms = gateways.invite(config, broker, gateway_id, hours)
        until = datetime.fromtimestamp(expires_ms / 1000, park.tz).strftime("%Y-%m-%d %H:%M")
    click.echo(_("On the gateway, until {until}, once:").format(until=until), err=True)
    click.echo(f"  sudo tanyun edge enrol https://{_host(folder)}:{config.api.port} {code}")


@gateway.command(
    "revoke",
    short_help=_("Shut a gateway out, at once."),
    help=_("Shut a gateway out: its login ends, Mosquitto drops its connection, an open invitation ends. `invite` lets it in "
           "again, with new credentials.")
         + example("sudo tanyun gateway revoke gw-1 --config /etc/tanyun/server.toml"),
)  # fmt: skip
@click.argument("gateway_id", metavar="ID")
@_data
@config_option
def revoke(gateway_id: str, folder: Path, config_file: Path) -> None:
    """Revoke a gateway."""
    from tanyun import gateways  # noqa: PLC0415

    with _sentences():
        config, park = load_server(config_file)
        told = gateways.revoke(config, gateways.Broker(folder.resolve(), park), gateway_id)
    if told:
        click.echo(_("{gateway} is shut out; Mosquitto has dropped it").format(gateway=gateway_id))
    else:
        fail(_("{gateway} is shut out in the files, but no Mosquitto runs here with them: reload it where it runs").format(
            gateway=gateway_id))  # fmt: skip


@gateway.command(
    "list",
    short_help=_("List the gateways."),
    help=_("List the gateways of the registry and who may sign in."),
)
@_data
@config_option
def list_gateways(folder: Path, config_file: Path) -> None:
    """List the gateways."""
    from tanyun.broker_files import revoked_gateways  # noqa: PLC0415

    with _sentences():
        _config, park = load_server(config_file)
        revoked = revoked_gateways(folder)
    rows = [
        [item.id, item.site, _("shut out") if item.id in revoked else _("may sign in")]
        for item in park.gateways
    ]
    print_table([_("gateway"), _("site"), _("state")], rows)


@click.command(
    "enrol",
    short_help=_("Fetch this gateway's credentials with a one-time code."),
    help=_("Fetch this gateway's credentials from the server with the code that `tanyun gateway invite` printed there. The "
           "code tells by which CA the server has to prove itself; nothing is sent to any other.")
         + example("sudo tanyun edge enrol https://server.park.example:8000 TY1-..."),
)  # fmt: skip
@click.argument("url")
@click.argument("code")
@click.option("--into", "folder", type=click.Path(path_type=Path, file_okay=False), default="/etc/tanyun/edge",
              show_default=True, help=_("Folder for password and certificates."))  # fmt: skip
@click.option("--edge-config", type=click.Path(path_type=Path, dir_okay=False), default="/etc/tanyun/edge.toml",
              show_default=True, help=_("Where the start of the configuration goes, unless there is one."))  # fmt: skip
def enrol(url: str, code: str, folder: Path, edge_config: Path) -> None:
    """Enrol this gateway."""
    with _sentences():
        try:
            gateway_id, files = fetch(url, parse_code(code))
        except (ConnectionError, TimeoutError, OSError) as error:
            fail(_("{url} cannot be reached: {error}").format(url=url, error=error))
        written = store(files, folder, edge_config)
    for path in written:
        click.echo(_("wrote {file}").format(file=path))
    click.echo(_("this is gateway {gateway}. Next: add its meters to {file}, then `tanyun edge check`").format(
        gateway=gateway_id, file=edge_config))  # fmt: skip


def _host(folder: Path) -> str:
    names = (folder / "names").read_text(encoding="ascii").split() if (folder / "names").exists() else []
    return names[0] if names else "SERVER"
