"""`tanyun warm`: compile the kernels once; the roles then only read the cache."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import click

from metering.i18n import _
from tanyun import kernels
from tanyun.commands.common import errors_as_sentences, json_option, print_json
from tanyun.commands.text import example
from tanyun.environment import kernel_cache, use_passing_cache

log = logging.getLogger(__name__)


def warm_once(compiled: Callable[[Path], None] = kernels.in_two_halves) -> None:
    """Fill the cache unless it is full already. Before numba is imported.

    Where no cache can be kept, kernels are compiled for this process alone: that costs a start some seconds, not the role.
    """
    try:
        kernels.fill(kernel_cache(), compiled)
    except OSError as error:
        log.warning("no_kernel_cache folder=%s reason=%s: every start compiles again", kernel_cache(), error)
        kernels.fill(use_passing_cache(), compiled)


@click.command(
    short_help=_("Compile the numerical kernels once, after an installation."),
    help=_("Compile the stream's kernels into this user's cache, so that no role has to when it starts. "
           "Does nothing when they are there.")
         + example("tanyun warm"),
)  # fmt: skip
@json_option
def warm(as_json: bool) -> None:
    """Fill the cache."""
    folder, started = kernel_cache(), time.perf_counter()
    with errors_as_sentences():
        kernels.fill(folder, kernels.in_two_halves)
    seconds = time.perf_counter() - started
    if as_json:
        print_json({"cache": str(folder), "seconds": round(seconds, 3)})
    else:
        click.echo(
            _("Kernels are compiled in {folder} ({seconds:.1f} s)").format(folder=folder, seconds=seconds)
        )
