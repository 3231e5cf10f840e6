"""How often somebody may try: token buckets in memory, which fill again by themselves, so that nobody is locked out for long."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from ipaddress import IPv6Address, ip_address
from typing import Final

_KEPT: Final = 20_000
"""Buckets remembered; the longest unused is forgotten first."""


class Buckets:
    """One bucket per key: `burst` at once, then `per_s` a second."""

    def __init__(
        self, burst: float, per_s: float, clock: Callable[[], float] = time.monotonic, kept: int = _KEPT
    ) -> None:
        self._burst, self._per_s, self._clock, self._kept = burst, per_s, clock, kept
        self._lock = threading.Lock()
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable) -> float:
        """Take one; 0 when there was one, else the seconds until there is."""
        with self._lock:
            left = self._now(key)
            if left < 1:
                self._put(key, left)
                return (1 - left) / self._per_s
            self._put(key, left - 1)
            return 0.0

    def give_back(self, key: Hashable) -> None:
        """What was taken last need not have been."""
        with self._lock:
            self._put(key, min(self._now(key) + 1, self._burst))

    def _now(self, key: Hashable) -> float:
        left, at_s = self._left.get(key, (self._burst, self._clock()))
        return min(left + (self._clock() - at_s) * self._per_s, self._burst)

    def _put(self, key: Hashable, left: float) -> None:
        self._left[key] = (left, self._clock())
        self._left.move_to_end(key)
        while len(self._left) > self._kept:
            self._left.popitem(last=False)


class LoginGuard:
    """Slows guessing down.

    Three buckets, all ours: a network address may try 20 names, then one every 3 s; a name from one address 5 passwords, then
    one a minute; a name from all strangers together 20, then one every 30 s. A device that the user has signed in from
    before is no stranger: whoever guesses from elsewhere cannot keep the user out there, and elsewhere for half a minute.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = Buckets(20, 1 / 3, clock)
        self._pair = Buckets(5, 1 / 60, clock)
        self._strangers = Buckets(20, 1 / 30, clock)

    def wait_s(self, name: str, address: str, *, known: bool) -> int:
        """Seconds to wait before this attempt; 0: try now. An attempt that has to wait takes nothing from the wider buckets."""
        network = network_of(address)
        wait_s = self._address.take(network) or self._pair.take((name, network, known))
        if not known:
            wait_s = wait_s or self._strangers.take(name)
        return math.ceil(wait_s)

    def succeeded(self, name: str, address: str, *, known: bool) -> None:
        """The attempt was right: it does not count."""
        network = network_of(address)
        self._address.give_back(network)
        self._pair.give_back((name, network, known))
        if not known:
            self._strangers.give_back(name)


def network_of(address: str) -> str:
    """What one caller can choose from freely counts as one: an IPv6 /64."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))
    return address
