"""The silence between frames on a line, whatever their protocol: shared by all who send on it."""

import asyncio
import time
from typing import Final

from edge_agent.buses.errors import NoAnswer
from edge_agent.buses.line import Line
from edge_agent.config import Bus

_FAST_BAUD: Final = 19_200
_FAST_SILENCE_S: Final = 0.001_75
_SILENT_CHARACTERS: Final = 3.5
"""MODBUS over Serial Line 1.02, 2.5.1.1. DL/T 645 asks for no more between frames."""
_LOOP_TICK_S: Final = 0.001
"""The event loop wakes up at the next whole millisecond."""


class Silence:
    """When the line may be used next."""

    def __init__(self, settings: Bus) -> None:
        self._serial = settings.kind == "rtu"
        bits = 9 + settings.stop_bits + (settings.parity != "none")
        self.character_s = bits / settings.baud
        fast = settings.baud > _FAST_BAUD
        least_s = _FAST_SILENCE_S if fast else _SILENT_CHARACTERS * self.character_s
        self._silence_s = max(least_s, (settings.pause_ms or 0) / 1000)
        self._sent_s = 0.0

    def sent(self, now_s: float, size: int) -> float:
        """When so many bytes that are sent now will have left; bytes in a TCP stream take their time elsewhere."""
        if not self._serial:
            return now_s
        self._sent_s = now_s + size * self.character_s
        return self._sent_s

    def taking(self, size: int) -> float:
        """Seconds that so many bytes take on a serial line."""
        return size * self.character_s if self._serial else 0.0

    async def wait(self, line: Line, patience_s: float) -> None:
        """Wait until the line has been silent for as long as a frame ends with; a line that babbles on is an error."""
        give_up_s = line.now() + max(patience_s, 0) + self._silence_s
        while (wait_s := max(line.heard_s, self._sent_s) + self._silence_s - line.now()) > 0:
            if line.now() > give_up_s:
                raise NoAnswer("the line is never silent")
            if wait_s > _LOOP_TICK_S:
                await asyncio.sleep(wait_s - _LOOP_TICK_S)
            elif self._serial:
                time.sleep(wait_s)  # noqa: ASYNC251  under a millisecond; the loop would round it up, 3 % of a line at 19200
            else:
                await asyncio.sleep(wait_s)
