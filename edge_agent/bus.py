"""A Modbus/TCP bus: one connection, one request at a time, words or nothing."""

import logging

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from edge_agent.config import Bus
from edge_agent.plan import Block

log = logging.getLogger("tanyun.edge")


class ReadFailed(Exception):
    """A block could not be read: no connection, no answer in time, or the device's own exception."""


class ModbusBus:
    """Reads blocks from the units behind one endpoint. Connects when needed."""

    def __init__(self, settings: Bus) -> None:
        self._settings = settings
        self._client = AsyncModbusTcpClient(
            settings.host,
            port=settings.port,
            timeout=settings.timeout_s,
            retries=settings.retries,
            reconnect_delay=0,
        )

    async def read(self, unit: int, block: Block) -> list[int]:
        """The words of a block; raises ReadFailed."""
        if not self._client.connected and not await self._connect():
            msg = f"{self._settings.host}:{self._settings.port} does not accept a connection"
            raise ReadFailed(msg)
        ask = self._client.read_holding_registers if block.fc == 3 else self._client.read_input_registers  # noqa: PLR2004
        try:
            answer = await ask(block.addr, count=block.count, device_id=unit)
        except (TimeoutError, ModbusException, OSError) as error:
            self._client.close()
            msg = f"no answer from unit {unit} ({error})"
            raise ReadFailed(msg) from error
        if answer.transaction_id == 0 or answer.function_code & 0x7F != block.fc:
            # pymodbus lets both pass, and so would the late answer to another block.
            self._client.close()
            msg = f"unit {unit} answers another request (transaction {answer.transaction_id}, fc {answer.function_code})"
            raise ReadFailed(msg)
        if answer.isError():
            msg = f"unit {unit} refuses fc {block.fc} address {block.addr} count {block.count}: {answer}"
            raise ReadFailed(msg)
        if len(answer.registers) != block.count:
            msg = f"unit {unit} sent {len(answer.registers)} registers of {block.count}"
            raise ReadFailed(msg)
        return list(answer.registers)

    async def _connect(self) -> bool:
        try:
            return bool(await self._client.connect())
        except (TimeoutError, ModbusException, OSError):
            return False

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
