"""The server's time: asked for by number, taken from the ack that bears it, so that the round trip bounds the error."""

import logging
import secrets
import time
from typing import Final

from edge_agent.clock import Clock, kept_clock
from metering.frames import Ack

log = logging.getLogger("tanyun.edge")
_UNKNOWN_S: Final = 5.0
_KNOWN_S: Final = 3600.0
"""Between two requests while the time is not known, and when it is (ours; an hour's drift is below half a second)."""


class ServerTime:
    """Asks, and hands the answers to the gateway's own clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = kept_clock(clock)
        self._asked: tuple[int, int] | None = None
        """Number of the newest request, and when it was made, in ms since boot."""
        self._next_s = 0.0

    def new_session(self) -> None:
        """Ask at once."""
        self._next_s = 0.0

    def due(self) -> int | None:
        """The number to ask with now; None when it is not time."""
        now_s = time.monotonic()
        if self._clock is None or now_s < self._next_s:
            return None
        self._next_s = now_s + (_KNOWN_S if self._clock.source == "server" else _UNKNOWN_S)
        nonce = secrets.randbits(48)
        self._asked = (nonce, self._clock.read_ms())
        return nonce

    def heard(self, ack: Ack) -> bool:
        """An ack; True when it has told the time."""
        if self._clock is None or self._asked is None or ack.nonce != self._asked[0]:
            return False
        (_nonce, asked_ms), self._asked = self._asked, None
        took = self._clock.keeper.heard_server(ack.t_ms, asked_ms)
        self._next_s = time.monotonic() + (_KNOWN_S if took else _UNKNOWN_S)
        if took:
            log.info("time_known source=%s error_ms=%s", self._clock.source, self._clock.error_ms)
        return took
