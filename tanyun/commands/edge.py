"""`tanyun edge`: what runs on a gateway. Needs no numpy, numba or web server."""

import asyncio
import signal
from pathlib import Path

import click

from edge_agent import agent
from edge_agent.config import load_config
from metering.i18n import _
from tanyun.commands.common import errors_as_sentences, start_logging
from tanyun.commands.edge_site import SITE_COMMANDS
from tanyun.commands.edge_status import edge_config_option
from tanyun.commands.enrol import enrol
from tanyun.commands.text import example


@click.group(
    short_help=_("On a gateway: poll meters and publish what they say."),
    help=_("The gateway's agent: polls Modbus meters and keeps every frame until the server has stored it."),
)
def edge() -> None:
    """The group."""


@edge.command(
    short_help=_("Poll and publish until stopped."),
    help=_("Poll the configured meters and publish over MQTT until stopped (SIGTERM, Ctrl-C).\n\n"
           "Frames are on disk before they are sent and stay there after they are acknowledged. "
           "The agent may be killed at any time; it goes on where it was.")
         + example("tanyun edge run --config /etc/tanyun/edge.toml"),
)  # fmt: skip
@edge_config_option
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


@edge.command(
    short_help=_("Check the configuration without starting anything."),
    help=_("Check the configuration and its meter profiles, and print every mistake with its place in the file. "
           "Contacts neither meters nor broker. Exit code 78 when there is a mistake.")
         + example("tanyun edge check --config edge.toml"),
)  # fmt: skip
@edge_config_option
def check(config_file: Path) -> None:
    """Check a configuration."""
    with errors_as_sentences():
        config = load_config(config_file)
        click.echo(_("{file}: in order, {meters} meters on {buses} buses").format(
            file=config_file, meters=len(config.meters), buses=len(config.buses)))  # fmt: skip


edge.add_command(enrol)
for command in SITE_COMMANDS:
    edge.add_command(command)
