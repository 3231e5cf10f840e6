"""A meter is exchanged on site: the server hears the new serial number with the first frame of the new meter."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from edge_agent import agent
from edge_agent.config import EdgeConfig
from metering.config import validate
from tests.fakes.gateway import PROFILE
from tests.fakes.modbus_peer import Request, modbus_peer, refusal, reply
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.primary_host import PrimaryHost

SERIAL = '[serial]\nfc = 3\naddr = 100\nwidth = 2\ntype = "uint"\nsource = ["S1"]\nconfidence = "A"\n'


class Socket:
    """Where meters hang: one after the other, with nothing in between."""

    def __init__(self) -> None:
        self.serial: int | None = 1111
        self.total = 5000

    def answer(self, request: Request) -> Iterable[bytes]:
        if self.serial is None:
            return ()
        if request.addr == 100:
            return (reply(request, divmod(self.serial, 65536)),)
        words = {(3, 10): divmod(self.total, 65536), (3, 60): (5,), (4, 60): (0x4366, 0)}
        known = words.get((request.fc, request.addr))
        return (reply(request, known) if known and len(known) == request.words else refusal(request, 2),)


def config_of(folder: Path, broker: Mosquitto, port: int) -> EdgeConfig:
    (folder / "toy.toml").write_text(PROFILE.replace("[sources]", SERIAL + "\n[sources]"), encoding="utf-8")
    document: dict[str, object] = {
        "park": "park",
        "gateway": "gw",
        "poll_interval_s": 1,
        "broker": {"port": broker.port, "user": "gw", "password_file": "secrets/mqtt-gw"},
        "outbox": {"path": "outbox.db"},
        "publish": {"totals_every_s": 1, "monthly_mb": 0},
        "buses": [{"id": "line", "host": "127.0.0.1", "port": port, "timeout_s": 0.2, "retries": 0}],
        "meters": [{"id": "m1", "bus": "line", "unit": 1, "profile": "toy.toml"}],
    }
    return validate(document, EdgeConfig, "edge.toml", folder)


def test_a_changed_serial_number_reaches_the_server_with_the_first_frame_after_the_gap(
    tmp_path: Path, broker: Mosquitto
) -> None:
    socket = Socket()

    def serials() -> list[tuple[str, int]]:
        """(serial number, total) of the frames that bear a number."""
        frames = [item for item in host.of("DDATA") if item.value("serial")]
        return [(item.value("serial"), item.value("energy_import_total")) for item in frames]

    async def visit() -> None:
        stop = asyncio.Event()
        async with modbus_peer(socket.answer) as port:
            task = asyncio.create_task(agent.run(config_of(tmp_path, broker, port), stop))
            await asyncio.to_thread(host.until, host.has(2))
            socket.serial = None  # taken out
            device_lost = asyncio.to_thread(host.until, lambda: bool(host.of("DDEATH")))
            await device_lost
            socket.serial, socket.total = 2222, 17  # another one, nearly new
            await asyncio.to_thread(host.until, lambda: bool(serials()[1:]))
            stop.set()
            await task

    with PrimaryHost(broker.port, broker.password("host")) as host:
        asyncio.run(visit())
        assert serials() == [("1111", 5000), ("2222", 17)]
        assert host.of("DBIRTH")[-1].names["serial"].datatype == 12
        deaths = [item.meter for item in host.of("DDEATH")]
    assert deaths == ["m1"]
