"""`tanyun edge status`: what the gateway holds and what the server has."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from edge_agent.commission.status import OutboxStatus, outbox_status
from edge_agent.config import EdgeConfig, load_config
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
    short_help=_("Show what the gateway holds and what the server has."),
    help=_("Show the backlog, the newest poll and each meter's newest frame, from the outbox on disk. "
           "Works while the agent runs and when it does not; changes nothing.")
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
    now_ms = time.time_ns() // 1_000_000
    if as_json:
        document = msgspec.to_builtins(found)
        print_json(
            {
                "gateway": config.gateway,
                "t_ms": now_ms,
                "backlog_age_s": _age_s(found.oldest_unacked_ms, now_ms),
                **document,
            }
        )
        return
    _print_status(config, found, now_ms)


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
