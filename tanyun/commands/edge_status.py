"""`tanyun edge status`: how the meters answer, what the gateway holds and what the server has."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from edge_agent.commission.status import OutboxStatus, outbox_status
from edge_agent.config import EdgeConfig, load_config
from edge_agent.live import Live, LiveDevice
from edge_agent.loopback import ask
from edge_agent.outbox import OutboxError
from metering.i18n import _
from tanyun.commands.common import errors_as_sentences, fail, json_option, print_json, print_table
from tanyun.commands.text import example

Function = TypeVar("Function", bound=Callable[..., Any])
_DAY_S: Final = 86_400
_MINUTE_S: Final = 60


def edge_config_option(function: Function) -> Function:
    """`--config`: the gateway's configuration."""
    return click.option(
        "-c", "--config", "config_file", type=click.Path(path_type=Path), default="edge.toml", show_default=True,
        help=_("The gateway's configuration (TOML)."),
    )(function)  # fmt: skip


@click.command(
    "status",
    short_help=_("Show how the meters answer, and what the server has."),
    help=_("Show how each meter answers (success, latency, last error) and clock and disk, as the running agent says, and the backlog, "
           "the newest poll and each meter's newest frame, from the outbox on disk. Works when the agent does not run, too; "
           "changes nothing.")
         + example("tanyun edge status --config /etc/tanyun/edge.toml", "tanyun edge status --json"),
)  # fmt: skip
@edge_config_option
@json_option
def status(config_file: Path, as_json: bool) -> None:
    """Show the outbox."""
    with errors_as_sentences():
        config = load_config(config_file)
    names = [item.id for item in config.meters]
    try:
        found = outbox_status(config.outbox.path, config.outbox.max_bytes, names)
    except FileNotFoundError:
        fail(
            _("{file}: there is no outbox yet; the agent has not run with this configuration").format(
                file=config.outbox.path
            )
        )
    except OutboxError as error:
        fail(str(error))
    now_ms, live = time.time_ns() // 1_000_000, _live(config)
    if as_json:
        document = msgspec.to_builtins(found)
        print_json(
            {
                "gateway": config.gateway,
                "t_ms": now_ms,
                "backlog_age_s": _age_s(found.oldest_unacked_ms, now_ms),
                **document,
                "agent": None if live is None else msgspec.to_builtins(live),
            }
        )
        return
    _print_status(config, found, now_ms)
    if live is None:
        click.echo(
            _(
                "The agent does not run, or does not answer this user: how meters answer, and its clock, are not known."
            )
        )
    else:
        _print_live(live, now_ms)


def _print_status(config: EdgeConfig, found: OutboxStatus, now_ms: int) -> None:
    rows = {
        _("gateway"): config.gateway,
        _("newest poll"): _ago(found.polled_ms, now_ms),
        _("backlog"): _("{frames} frames, the oldest {age}").format(frames=found.backlog, age=_ago(found.oldest_unacked_ms, now_ms))
        if found.backlog else _("none: the server has everything"),
        _("acknowledged"): _("{acked} of {last} frames").format(acked=found.acked, last=found.last),
        _("epoch"): str(found.epoch),
        _("journal"): found.journal_id or "-",
        _("on disk"): _("{used:.1f} MB of {most:.0f} MB").format(used=found.bytes / 1e6, most=found.max_bytes / 1e6),
    }  # fmt: skip
    print_table([_("outbox"), str(config.outbox.path)], [[name, value] for name, value in rows.items()])
    click.echo()
    head = [_("meter"), _("newest frame"), _("number")]
    print_table(
        head, [[item.meter, _ago(item.t_ms, now_ms), str(item.number or "-")] for item in found.meters]
    )


def _live(config: EdgeConfig) -> Live | None:
    """The agent of this gateway; what another one says on a copied outbox is not its."""
    live = ask(config.outbox.path)
    return live if live is not None and live.gateway == config.gateway else None


def _print_live(live: Live, now_ms: int) -> None:
    click.echo()
    rows = {
        _("session"): _("in session: the server takes frames") if live.in_session else _("none: broker or server is away"),
        _("clock"): _clock(live),
        _("traffic this month"): f"{live.traffic_bytes / 1e6:.1f} MB",
        _("disk"): _("{free:.1f} GB free of {size:.1f} GB").format(free=live.disk.free_bytes / 1e9, size=live.disk.size_bytes / 1e9),
        _("configuration"): f"{live.configuration.number} {live.configuration.state}",
    }  # fmt: skip
    print_table([_("agent"), live.version], [[name, value] for name, value in rows.items()])
    click.echo()
    head = [_("meter"), _("bus"), _("success"), _("latency"), _("answered"), _("last error")]
    print_table(head, [_device_row(item, now_ms) for item in live.devices])
    for item in live.devices:
        if item.refused:
            text = _("{meter} refuses {registers}: left out, and asked for again every hour")
            click.echo(text.format(meter=item.meter, registers=", ".join(item.refused)))


def _clock(live: Live) -> str:
    if not live.clock_source:
        return _("not trusted yet: {count} frames wait for the time").format(count=live.held)
    error = "" if live.clock_error_ms is None else f" ± {live.clock_error_ms} ms"
    return f"{live.clock_source}{error}"


def _device_row(item: LiveDevice, now_ms: int) -> list[str]:
    share = "-" if item.success_ratio is None else f"{100 * item.success_ratio:.0f} %"
    latency = "-" if item.latency_s is None else f"{1000 * item.latency_s:.0f} ms"
    error = "-" if item.error is None else f"{_ago(item.error_ms, now_ms)}: {item.error}"
    return [item.meter, f"{item.bus}/{item.unit}", share, latency, _ago(item.answered_ms, now_ms), error]


def _age_s(t_ms: int | None, now_ms: int) -> float | None:
    return None if t_ms is None else max(0.0, (now_ms - t_ms) / 1000)


def _ago(t_ms: int | None, now_ms: int) -> str:
    age_s = _age_s(t_ms, now_ms)
    if age_s is None:
        return _("never")
    if age_s < 2 * _MINUTE_S:
        return _("{count:.0f} s ago").format(count=age_s)
    if age_s < _DAY_S:
        return _("{count:.0f} min ago").format(count=age_s / _MINUTE_S)
    return _("{count:.1f} days ago").format(count=age_s / _DAY_S)
