"""`tanyun ingest | stream | api | serve`: the server's roles, one process each, or all of them supervised."""

import sys
import time
from datetime import datetime
from pathlib import Path

import click
from pydantic import SecretStr

from api.settings import ApiSettings, OidcSettings
from metering.i18n import _
from tanyun.commands.common import (
    config_option,
    errors_as_sentences,
    fail,
    load_role,
    load_server,
    start_logging,
    stop_event,
)
from tanyun.commands.restate import restate
from tanyun.commands.text import example
from tanyun.config import ServerConfig
from tanyun.supervisor import EX_CONFIG, Child, ChildConfigError, Supervisor

_FIRST_SANE_MS = 1_735_689_600_000
"""2025-01-01: no server of ours ran before."""


@click.group(
    short_help=_("Server role: take frames in and store them."),
    help=_(
        "The Sparkplug host: takes frames in, appends them to the journal, acknowledges once they are on disk."
    ),
)
def ingest() -> None:
    """The group."""


@ingest.command(
    "run",
    short_help=_("Take frames in until stopped."),
    help=_("Run ingest until stopped. A message that is refused is kept in quarantine with a reason; nothing is dropped. "
           "One process per park.")
         + example("tanyun ingest run --config server.toml"),
)  # fmt: skip
@config_option
def run_ingest(config_file: Path) -> None:
    """Run ingest."""
    from ingest import subscriber  # noqa: PLC0415  each role imports only what it needs

    start_logging()
    with errors_as_sentences():
        config, park = load_role(config_file)
        if time.time_ns() // 1_000_000 < _FIRST_SANE_MS:
            fail(
                _("The clock of this machine says {time}. Set it (NTP), then start again.").format(
                    time=time.ctime()
                ),
                EX_CONFIG,
            )
        subscriber.run(config.broker, config.host_id, park, config.journal, stop_event().is_set)


@click.group(
    short_help=_("Server role: compute intervals and emissions."),
    help=_("The stream: turns the journal into intervals, energy and emissions in the ledger."),
)
def stream() -> None:
    """The group."""


@stream.command(
    "run",
    short_help=_("Compute until stopped."),
    help=_("Run the stream until stopped. State, cursor and results are committed together: a restart resumes exactly. "
           "Without a ledger it rebuilds one from the journal.")
         + example("tanyun stream run --config server.toml"),
)  # fmt: skip
@config_option
def run_stream(config_file: Path) -> None:
    """Run the stream."""
    from factors.policy import enterprise_policy  # noqa: PLC0415
    from factors.table import FactorTable  # noqa: PLC0415
    from tanyun.commands.warm import warm_once  # noqa: PLC0415

    start_logging()
    with errors_as_sentences():
        config, park = load_role(config_file)
        warm_once()
        from stream import runner, state  # noqa: PLC0415  they bring numba, which has to know its cache by now

        try:
            runner.run(
                park, config.journal, config.ledger, FactorTable.load(), enterprise_policy(),
                lambda: datetime.now(park.tz).date(), stop_event().is_set,
            )  # fmt: skip
        except state.StateError as error:
            fail(str(error), EX_CONFIG)
        except BlockingIOError:
            fail(
                _("Another process holds {ledger}: only one stream runs on a ledger.").format(
                    ledger=config.ledger
                )
            )


stream.add_command(restate)


@click.group(
    short_help=_("Server role: the API and the live page."),
    help=_("The HTTP API and the live page."),
)
def api() -> None:
    """The group."""


@api.command(
    "run",
    short_help=_("Serve API and page until stopped."),
    help=_("Serve the API and the page until stopped, where the configuration's [api] says. "
           "To listen beyond this machine it needs api.cert_file and api.key_file.")
         + example("tanyun api run --config server.toml"),
)  # fmt: skip
@config_option
def run_api(config_file: Path) -> None:
    """Run the API."""
    import uvicorn  # noqa: PLC0415

    from api.app import create_app  # noqa: PLC0415
    from api.listening import listening  # noqa: PLC0415
    from api.sources import system_clock  # noqa: PLC0415
    from tanyun.desk import desk_of  # noqa: PLC0415
    from tanyun.exchanges import exchanges_of  # noqa: PLC0415

    start_logging()
    with errors_as_sentences():
        config, _park = load_role(config_file)
        uvicorn.run(
            create_app(api_settings(config), desk=desk_of(config, system_clock), exchanges=exchanges_of(config, system_clock)),
            host=config.api.host, port=config.api.port, ssl_certfile=config.api.cert_file, ssl_keyfile=config.api.key_file,
            **listening(config.api.proxies),
        )  # fmt: skip


def api_settings(config: ServerConfig) -> ApiSettings:
    """Where the API of a server finds everything; OSError when a secret's file cannot be read."""
    return ApiSettings(
        park=config.registry, ledger=config.ledger, journal=config.journal, months=config.months,
        reports=config.reports, users=config.users, audit=config.audit, facts=config.facts, daily_checks=config.daily_checks,
        ca=config.api.ca_file, oidc=_oidc(config), second_factor_roles=frozenset(config.api.second_factor_roles),
    )  # fmt: skip


def _oidc(config: ServerConfig) -> OidcSettings | None:
    """The API's settings of the OpenID provider, with its secret; OSError when the secret's file cannot be read."""
    section = config.api.oidc
    if section is None:
        return None
    secret = section.client_secret_file.read_text(encoding="utf-8").strip()
    return OidcSettings(
        issuer=section.issuer, name=section.name, client_id=section.client_id, client_secret=SecretStr(secret),
        public_url=section.public_url, ca_file=section.ca_file,
    )  # fmt: skip


_DELIVERY_EVERY_S = "300"


def server_children(
    config_file: Path, logs: Path, *, projector: bool = False, delivery: bool = False
) -> list[Child]:
    """Ingest, stream, API and the checks of the open month as supervised processes; projector and delivery where configured."""
    roles: dict[str, tuple[str, ...]] = {
        "ingest": ("ingest", "run"),
        "stream": ("stream", "run"),
        "api": ("api", "run"),
        "checks": ("month", "watch"),
    }
    if projector:
        roles["projector"] = ("projector", "run")
    if delivery:
        roles["delivery"] = ("delivery", "run", "--every", _DELIVERY_EVERY_S)
    return [
        Child(
            name, (sys.executable, "-m", "tanyun", *words, "--config", str(config_file)), logs / f"{name}.log"
        )
        for name, words in roles.items()
    ]


@click.command(
    short_help=_("On a server: run ingest, stream and API."),
    help=_("Run all server roles (ingest, stream, API) as processes of their own, and restart one that dies. "
           "Their logs are in the data folder, under log/. The broker and the gateways run by themselves.")
         + example("tanyun serve --config /etc/tanyun/server.toml"),
)  # fmt: skip
@config_option
def serve(config_file: Path) -> None:
    """Run all server roles."""
    start_logging()
    with errors_as_sentences():
        config, park = load_server(config_file)
        stop = stop_event()
        supervisor = Supervisor(
            server_children(
                config_file.resolve(),
                config.data / "log",
                projector=config.influx is not None,
                delivery=config.delivery is not None,
            ),
            config.data / "run" / "processes.json",
        )
        try:
            with supervisor:
                click.echo(_("{park}: page and API at {url}").format(park=park.name, url=api_url(config)))
                while not stop.wait(0.1):
                    supervisor.poll()
        except ChildConfigError as error:
            fail(str(error), EX_CONFIG)


def api_url(config: ServerConfig) -> str:
    """Where the page is."""
    return f"{'https' if config.api.cert_file else 'http'}://{config.api.host}:{config.api.port}/"
