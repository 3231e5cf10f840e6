"""How the API listens: behind which proxies, and with how much patience for who takes it connection by connection or byte by byte.

uvicorn waits for ever for the rest of a request, so that few connections of one stranger would be all that there are.
"""

import asyncio
from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from api.throttle import network_of

Network = IPv4Network | IPv6Network

CONNECTIONS: Final = 500
"""Beyond so many open connections the API answers 503 at once."""
EACH: Final = 100
"""Of one network; a browser needs six and an event stream. Ours, like the next three."""
HEAD_S: Final = 15.0
"""A request's head is there by then."""
BODY_S: Final = 30.0
BODY_BYTES_PER_S: Final = 1024
"""After so many seconds a body has come at this rate, or it is not waited for: slower is no line of ours."""


class Patient(H11Protocol):
    """A connection that is closed when it is one too many of its network, or too slow in asking."""

    proxies: tuple[Network, ...] = ()
    each, head_s, body_s = EACH, HEAD_S, BODY_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Count it, and look after it from now on."""
        super().connection_made(transport)
        self._asked_s, self._received = self.loop.time(), 0
        self._answered: object = None
        """The request before the one that is awaited, once its answer is complete; None before the first."""
        self._watch = self.loop.call_later(self.head_s / 3, self._look)
        if not self._is_proxy() and self._of_this_network() > self.each:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes; the first bytes after an answer begin another request."""
        if self.cycle is not self._answered and self.cycle.response_complete:
            self._asked_s, self._received, self._answered = self.loop.time(), 0, self.cycle
        self._received += len(data)
        super().data_received(data)

    def _look(self) -> None:
        if self._is_too_slow(self.loop.time() - self._asked_s):
            self.transport.abort()
            return
        self._watch = self.loop.call_later(self.head_s / 3, self._look)

    def _is_too_slow(self, waited_s: float) -> bool:
        if self.cycle is self._answered:
            return waited_s > self.head_s
        if self.cycle.response_complete or not self.cycle.more_body or self.flow.read_paused:
            return False
        return waited_s > self.body_s and self._received < waited_s * BODY_BYTES_PER_S

    def _is_proxy(self) -> bool:
        try:
            peer = ip_address(self.client[0]) if self.client else None
        except ValueError:
            return False
        return peer is None or any(peer in network for network in self.proxies)

    def _of_this_network(self) -> int:
        mine = network_of(self.client[0]) if self.client else ""
        return sum(
            network_of(other.client[0]) == mine
            for other in self.connections
            if isinstance(other, Patient) and other.client
        )


def listening(proxies: Collection[str], **patience: float) -> dict[str, Any]:
    """What uvicorn is told: whose word about addresses is believed, and the connections' own patience."""
    networks = tuple(ip_network(proxy, strict=False) for proxy in proxies)
    kind = type("PatientConnection", (Patient,), {"proxies": networks, **patience})
    return {
        "http": kind, "ws": "none", "limit_concurrency": CONNECTIONS, "proxy_headers": bool(proxies),
        "forwarded_allow_ips": list(proxies), "server_header": False, "access_log": False, "log_config": None,
        "timeout_graceful_shutdown": 2,
    }  # fmt: skip
