"""A gateway's machine in a network namespace of its own, on a cable that can be pulled: packets vanish, and no one is told.

What the proxies of `wire` play, the kernel does here: connections stay open over a dead cable, retransmit, and go on or give up.
As root on Linux with iproute2; elsewhere there are only the proxies. A run's `Outcome.network` says which.
"""

import ctypes
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

_NETNS: Final = Path("/run/netns")
_PREFIX: Final = "tanyun-chaos"
_CLONE_NEWNET: Final = 0x40000000
_NET: Final = "10.213"
"""Private addresses (RFC 1918) of the cables, four for each."""


def _ip(*argv: str) -> None:
    subprocess.run(("ip", *argv), check=True, capture_output=True)


def can_lay() -> bool:
    """Root with namespaces and veth pairs: tried, not guessed."""
    if os.geteuid() or shutil.which("ip") is None:
        return False
    try:
        Cable(63).close()
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


class Cable:
    """A namespace, joined to this one by a veth pair."""

    def __init__(self, number: int) -> None:
        """`number` tells cables of one process apart, 0 to 63."""
        _sweep()
        self.name = f"{_PREFIX}-{os.getpid()}-{number}"
        self._here = f"ty{os.getpid()}n{number}"
        net = f"{_NET}.{os.getpid() % 256}"
        self.address, there = f"{net}.{4 * number + 1}", f"{net}.{4 * number + 2}"
        """Where this end answers."""
        _ip("netns", "add", self.name)
        try:
            _ip("link", "add", self._here, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            _ip("addr", "add", f"{self.address}/30", "dev", self._here)
            _ip("link", "set", self._here, "up")
            _ip("-n", self.name, "addr", "add", f"{there}/30", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", self.name, "link", "set", device, "up")
        except BaseException:
            self.close()
            raise

    def inside(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """A command that runs there; it keeps its pid."""
        return ("ip", "netns", "exec", self.name, *argv)

    def enter(self) -> None:
        """Move the thread that calls there: the sockets that it makes from now on are there."""
        with (_NETNS / self.name).open("rb") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {self.name}")

    def pull(self) -> None:
        """Nothing passes from now on."""
        _ip("link", "set", self._here, "down")

    def plug(self) -> None:
        """It passes again."""
        _ip("link", "set", self._here, "up")

    def close(self) -> None:
        """Remove it."""
        _remove(self.name)


def _remove(name: str) -> None:
    with suppress(subprocess.CalledProcessError):
        _ip("netns", "del", name)


def _sweep() -> None:
    """Remove what a killed run has left."""
    for left in _NETNS.glob(f"{_PREFIX}-*") if _NETNS.exists() else ():
        if not Path(f"/proc/{left.name.split('-')[2]}").exists():
            _remove(left.name)
