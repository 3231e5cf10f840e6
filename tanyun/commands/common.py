"""What the commands share: options, exit codes, logging, signals, and errors as sentences."""

import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from edge_agent.profile import ProfileError
from metering.config import ConfigError
from metering.i18n import _
from metering.registry import Park, load_registry
from storage.errors import StoreError
from tanyun.commands.text import padded, width
from tanyun.config import ServerConfig, load_server_config
from tanyun.registry_watch import RegistryWatch, end_when_changed
from tanyun.supervisor import EX_CONFIG

EX_FAILED = 1
Function = TypeVar("Function", bound=Callable[..., Any])
EPILOG = _(
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration (all mistakes are listed, nothing was started)."
)


def config_option(function: Function) -> Function:
    """`--config`: the server's configuration."""
    return click.option(
        "-c", "--config", "config_file", type=click.Path(path_type=Path), default="server.toml", show_default=True,
        envvar="TANYUN_CONFIG", help=_("The server's configuration (TOML); paths in it start at its own folder."),
    )(function)  # fmt: skip


def json_option(function: Function) -> Function:
    """`--json`: output for machines."""
    return click.option("--json", "as_json", is_flag=True, help=_("Print JSON, for machines."))(function)


def start_logging(level: str = "INFO") -> None:
    """Event words and key=value on stderr, UTC."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=level,
        stream=sys.stderr,
        format="%(asctime)sZ %(levelname)s %(name)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    for noisy in ("pymodbus", "mqtt", "uvicorn.access", "matplotlib", "fontTools"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL if noisy == "pymodbus" else logging.WARNING)


def fail(message: str, code: int = EX_FAILED) -> NoReturn:
    """Say what is wrong and what to do, and leave."""
    click.echo(message, err=True)
    raise SystemExit(code)


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Turn the operator's mistakes and missing files into a sentence and an exit code; bugs keep their traceback."""
    try:
        yield
    except (ConfigError, ProfileError) as error:
        fail(str(error), EX_CONFIG)
    except StoreError as error:
        fail(str(error))
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        text = _("{file}: {reason}. Name the right file, or make it readable and writable for this user.")
        fail(text.format(file=error.filename or error, reason=error.strerror or error), EX_CONFIG)


def load_server(config_file: Path) -> tuple[ServerConfig, Park]:
    """The server's configuration and its registry, both checked."""
    config = load_server_config(config_file)
    return config, load_registry(config.registry)


def load_role(config_file: Path) -> tuple[ServerConfig, Park]:
    """The same for a role that goes on with what it has read: it ends when the registry's file says something else."""
    config = load_server_config(config_file)
    watch = RegistryWatch(config.registry)  # before it is read: what changes from here on is noticed
    park = load_registry(config.registry)
    end_when_changed(watch)
    return config, park


def stop_event() -> threading.Event:
    """Set by SIGINT or SIGTERM."""
    event = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_args: event.set())
    return event


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(head: list[str], rows: list[list[str]]) -> None:
    """Columns, padded by display width."""
    widths = [max(width(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        click.echo("  ".join(padded(cell, places) for cell, places in zip(row, widths, strict=True)).rstrip())
