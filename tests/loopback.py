"""Ports of this machine, and waiting for what happens elsewhere."""

import socket
import time
from collections.abc import Callable

from tanyun.broker import LOOPBACK

DEADLINE_S = 20.0


def until(true: Callable[[], object], seconds: float = DEADLINE_S) -> None:
    """Wait for it; an assertion when it does not come."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_up(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0
