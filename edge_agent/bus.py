"""A bus: one connection, one request at a time, words or nothing. Modbus, and DL/T 645 beside it on the same line."""

import asyncio
from typing import Final

from edge_agent.buses.dlt645 import Dlt645Exchange
from edge_agent.buses.errors import NoAnswer, ReadFailed, Refused, Unreachable
from edge_agent.buses.exchange import Exchange, exchange_of
from edge_agent.buses.frames import Ask
from edge_agent.buses.line import connection_of
from edge_agent.buses.pace import Pace
from edge_agent.buses.silence import Silence
from edge_agent.buses.stations import Station
from edge_agent.config import Bus
from edge_agent.plan import Block

__all__ = ["ModbusBus", "NoAnswer", "ReadFailed", "Refused", "Unreachable"]

_STALE_TRIES: Final = 8
"""Failures in a row after which a connection is opened anew: some converters answer 0B until then, for good."""


class ModbusBus:
    """Reads blocks from the units behind one endpoint, of any kind of bus. Connects when needed."""

    def __init__(self, settings: Bus) -> None:
        self._settings = settings
        self._connection = connection_of(settings)
        silence = Silence(settings)
        self._modbus = exchange_of(settings, self._connection, silence)
        self._dlt645 = None if settings.kind == "tcp" else Dlt645Exchange(self._connection, silence)
        self._paces: dict[Station, Pace] = {}
        self._failures = 0
        self._lock = asyncio.Lock()

    async def read(self, unit: Station, block: Block, *, tries: int | None = None) -> list[int]:
        """The words of a block (of DL/T 645 its bytes); raises ReadFailed. `tries` overrides the configured retries."""
        ask = Ask(unit, block.fc, block.addr, block.count)
        left = self._settings.retries + 1 if tries is None else tries
        async with self._lock:
            opened = self._connection.opened
            while True:
                left -= 1
                try:
                    return await self._try(ask, last=left == 0, opened=opened)
                except ReadFailed as error:
                    if not left or not error.reached or isinstance(error, Refused):
                        raise

    async def _try(self, ask: Ask, *, last: bool, opened: int) -> list[int]:
        most_s = self._settings.timeout_s
        pace = self._paces.setdefault(ask.unit, Pace())
        timeout_s = most_s if last else pace.timeout_s(ask.count, most_s)
        exchange = self._exchange(ask)
        line = await self._connection.line()
        heard, begun = line.ever_heard, line.now()
        try:
            words = await exchange.ask(ask, timeout_s)
        except Refused:
            self._failures = 0
            raise
        except ReadFailed as error:
            silent = error.silent and line.ever_heard == heard
            self._doubt(silent=silent and self._connection.opened == opened)
            raise
        except OSError as error:
            self._connection.close()
            raise NoAnswer(f"unit {ask.unit}: {error}") from error
        self._failures = 0
        pace.took(line.now() - begun)
        return words

    def _exchange(self, ask: Ask) -> Exchange:
        if isinstance(ask.unit, int):
            return self._modbus
        if self._dlt645 is None:
            raise ReadFailed(f"meter {ask.unit}: DL/T 645 needs a bus of kind rtu or rtu_over_tcp")
        return self._dlt645

    def _doubt(self, *, silent: bool) -> None:
        """A line on which nothing is heard may be half open: a peer that went without a word. A fresh one is not."""
        self._failures += 1
        if self._settings.kind != "rtu" and (silent or self._failures >= _STALE_TRIES):
            self._connection.close()
            self._failures = 0

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
