"""`tanyun doctor`: what is wrong with this installation, and how to cure it."""

from pathlib import Path

import click

from metering.config import ConfigError
from metering.i18n import _
from storage.errors import StoreError
from storage.journal import JournalReader
from tanyun.commands.common import (
    EX_FAILED,
    config_option,
    errors_as_sentences,
    json_option,
    load_server,
    print_json,
)
from tanyun.commands.influx import check_influx
from tanyun.commands.text import example
from tanyun.config import ServerConfig, load_server_config
from tanyun.doctor import BrokerAddress, ConfigFile, Diagnosis, Installation, diagnose
from tanyun.environment import kernel_cache


def _registry(path: Path) -> object:
    from metering.registry import load_registry  # noqa: PLC0415

    return load_registry(load_server_config(path).registry)


@click.command(
    short_help=_("Name what is wrong with this server, and the cure."),
    help=_("Look at this server and name every fault with its cure: clock, Python, configuration, data folder, disk, "
           "stored files, packages, broker and ports. It changes nothing. Exit code 1 when there is a fault.")
         + example("tanyun doctor --config /etc/tanyun/server.toml", "tanyun doctor --deep"),
)  # fmt: skip
@config_option
@json_option
@click.option(
    "--deep",
    is_flag=True,
    help=_("Read every stored byte: hash chain, ledger against journal, closed months. Takes its time."),
)
def doctor(config_file: Path, as_json: bool, deep: bool) -> None:
    """Diagnose."""
    found = [*diagnose(_installation(config_file)), *_influx(config_file)]
    if deep:
        found += _deep(config_file)
    if as_json:
        print_json([{"id": d.id, "ok": d.ok, "fault": d.fault, "cure": d.cure} for d in found])
    else:
        _print(found)
    if not all(d.ok for d in found):
        raise SystemExit(EX_FAILED)


def _deep(config_file: Path) -> list[Diagnosis]:
    from tanyun.commands.warm import warm_once  # noqa: PLC0415

    warm_once()
    from tanyun.deep import examine  # noqa: PLC0415  it brings the stream and its kernels

    with errors_as_sentences():
        return list(examine(*load_server(config_file)))


def _print(found: list[Diagnosis]) -> None:
    for item in found:
        mark = click.style("ok   ", fg="green") if item.ok else click.style(_("FAULT"), fg="red", bold=True)
        click.echo(f"{mark}  {item.id}  {item.fault}".rstrip())
        if item.cure:
            click.echo(f"       → {item.cure}")


def _installation(config_file: Path) -> Installation:
    """What the configuration says there should be; as much as can be told when it cannot be read."""
    configs = (ConfigFile(config_file, load_server_config),)
    try:
        config = load_server_config(config_file)
    except (ConfigError, OSError):
        return Installation(data=config_file.parent, configs=configs, numba_cache=kernel_cache())
    return Installation(
        data=config.data,
        configs=(*configs, ConfigFile(config.registry, lambda _path: _registry(config_file))),
        broker=_broker(config),
        stores=(config.journal, config.ledger, config.months),
        newest_ms=_newest(config),
        numba_cache=kernel_cache(),
        ports={"api": config.api.port},
    )


def _influx(config_file: Path) -> list[Diagnosis]:
    """Where an InfluxDB is configured: does it answer, and is everything there?"""
    try:
        config = load_server_config(config_file)
    except (ConfigError, OSError):
        return []
    return [] if config.influx is None else [check_influx(config.influx)]


def _broker(config: ServerConfig) -> BrokerAddress:
    settings = config.broker
    try:
        password, tls = settings.password(), settings.tls()
    except OSError:
        password, tls = "", None
    return BrokerAddress(settings.host, settings.port, settings.user, password, tls)


def _newest(config: ServerConfig) -> int | None:
    try:
        with JournalReader(config.journal) as journal:
            return max((row.last_received_ms for row in journal.gateways()), default=None)
    except (OSError, StoreError):
        return None
