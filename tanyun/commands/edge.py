"""`tanyun edge`: what runs on a gateway. Needs no numpy, numba or web server."""

import asyncio
import signal
from pathlib import Path

import click

from edge_agent import agent
from edge_agent.config import load_config
from metering.i18n import _
from tanyun.commands.common import errors_as_sentences, start_logging


@click.group(help=_("The gateway's agent: polls Modbus meters, keeps every frame until the server has stored it."))
def edge() -> None:
    """The group."""


@edge.command(
    help=_("Poll the meters in CONFIG and publish over MQTT until stopped (SIGTERM, Ctrl-C).\n\n"
           "Frames are on disk before they are sent and stay after they are acknowledged. "
           "The agent may be killed at any time; it goes on where it was."),
)  # fmt: skip
@click.option("-c", "--config", "config_file", type=click.Path(path_type=Path), default="edge.toml", show_default=True,
              help=_("Gateway configuration (TOML)."))  # fmt: skip
def run(config_file: Path) -> None:
    """Run the agent."""
    start_logging()
    with errors_as_sentences():
        config = load_config(config_file)
        config.broker.password()
        asyncio.run(_run(config_file))


async def _run(config_file: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await agent.run(load_config(config_file), stop)


@edge.command(help=_("Check CONFIG and print every mistake; exit code 78 when there is one."))
@click.option("-c", "--config", "config_file", type=click.Path(path_type=Path), default="edge.toml", show_default=True,
              help=_("Gateway configuration (TOML)."))  # fmt: skip
def check(config_file: Path) -> None:
    """Check a configuration."""
    with errors_as_sentences():
        config = load_config(config_file)
        click.echo(_("{file}: in order, {meters} meters on {buses} buses").format(
            file=config_file, meters=len(config.meters), buses=len(config.buses)))  # fmt: skip
