"""`tanyun edge`: what runs on a gateway. Needs no numpy, numba or web server."""

import asyncio
import signal
import time
from pathlib import Path

import click

from edge_agent.agent import Running
from edge_agent.config import EdgeConfig, load_config
from edge_agent.live import Live, look
from edge_agent.loopback import serve
from edge_agent.notify import Notifier, keep_notified
from edge_agent.updates.channel import Updates
from edge_agent.updates.run import in_force, updates_of
from edge_agent.updates.run import run as run_through
from metering.i18n import _
from tanyun.commands.common import errors_as_sentences, start_logging
from tanyun.commands.edge_commission import commission
from tanyun.commands.edge_export import export_frames
from tanyun.commands.edge_site import probe, read, scan
from tanyun.commands.edge_status import edge_config_option, status
from tanyun.commands.enrol import enrol
from tanyun.commands.text import example
from tanyun.environment import VERSION, notify_socket


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
        updates = updates_of(config)
        asyncio.run(_run(config, updates))


async def _run(installed: EdgeConfig, updates: Updates | None) -> None:
    stop, notifier, started_ms = asyncio.Event(), Notifier(*notify_socket()), time.time_ns() // 1_000_000

    def end() -> None:
        notifier.say("STOPPING=1")
        stop.set()

    async def watch(running: Running) -> None:
        await keep_notified(notifier, running)

    async def show(running: Running) -> None:
        def live() -> Live:
            return look(running, started_ms, VERSION, in_force(updates))

        await serve(live, running.config.outbox.path, running.config.metrics.port)

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    await run_through(installed, updates, stop, [watch, show])


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


for command in (enrol, scan, read, probe, commission, status, export_frames):
    edge.add_command(command)
