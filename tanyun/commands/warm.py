"""`tanyun warm`: compile the kernels once; the roles then only read the cache."""

import fcntl
import time
from pathlib import Path

import click

from metering.i18n import _
from tanyun.commands.common import json_option, print_json
from tanyun.commands.text import example
from tanyun.environment import kernel_cache

_DONE = "warm"


def warm_once() -> float:
    """Fill the cache unless it is full already; the seconds it took. One process compiles, the others wait for it.

    Several processes that fill one numba cache at once can crash each other (numba issues 4807 and 10128).
    """
    cache, started = kernel_cache(), time.perf_counter()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / _DONE).exists():
            from stream.warm import warm as compile_all  # noqa: PLC0415  numba is only needed here

            compile_all()
            (cache / _DONE).touch()
    return time.perf_counter() - started


@click.command(
    short_help=_("Compile the numerical kernels once, after an installation."),
    help=_("Compile the stream's kernels into this user's cache, so that no role has to when it starts. "
           "Does nothing when they are there.")
         + example("tanyun warm"),
)  # fmt: skip
@json_option
def warm(as_json: bool) -> None:
    """Fill the cache."""
    seconds = warm_once()
    folder: Path = kernel_cache()
    if as_json:
        print_json({"cache": str(folder), "seconds": round(seconds, 3)})
    else:
        click.echo(
            _("Kernels are compiled in {folder} ({seconds:.1f} s)").format(folder=folder, seconds=seconds)
        )
