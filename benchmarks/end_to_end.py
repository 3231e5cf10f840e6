"""Broker to committed ledger on one core, against the plain paho client that receives the same messages there and throws them away.

Ten gateways of 20 meters; a message is the headline's: one meter, one poll, 20 readings of which 2 are totals, numbered and acked. Broker
and gateways have the first core, ingest and stream together the second one; then, with the same broker, the same bytes go to
a bare client pinned to that core. Rounds are interleaved and medians are taken.

`end_to_end_vs_bare_mqtt` is by CPU time, user and system, of what runs on the second core: messages per second of a core
that has nothing else to do. `…_by_clock` is the same by the clock, which on a busy machine, or where gateways and broker are the
slower side, says less. `…_vs_bulk_client` is against our own way of reading from the socket, which is faster than paho's.
`hash_chain_share_of_ingest` is what Merkle roots and chain take of the CPU time of ingest, from the socket to the synced commit.
Usage: scripts/bench end_to_end [--polls 100] [--rounds 3]
"""

import argparse
import asyncio
import json
import mmap
import os
import random
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from subprocess import Popen
from typing import NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks._fleet import _CONNECT, Gateway, _string, packet
from benchmarks._journal import hash_s
from benchmarks._park import NAMES, TOTALS
from benchmarks._process import cpu_s
from benchmarks.load import Bench
from edge_agent.births import frame_aliases
from edge_agent.device import Device, make_device
from edge_agent.outbox import Frame, Outbox
from edge_agent.profile import Profile, parse_profile
from edge_agent.readings_body import readings_body
from ingest.bulk_client import BulkClient
from metering.reading_types import READING_TYPES
from metering.topics import MessageType
from storage.segment import Record
from tests.fakes.gateway import PROFILE, config_for

GATEWAYS, METERS = 10, 20
POLL_MS, DAY_MS = 15_000, 86_400_000
BROKERS_CORE, OUR_CORE = 0, 1
OURS = ("ingest", "stream")
OUTSTANDING = 4_000
"""Messages on the way to the bare client: the broker keeps 10,000 and drops more."""


class Cost(NamedTuple):
    """Of a round, per message."""

    cpu_s: float
    clock_s: float
    ingest_s: float = 0.0
    """CPU time of ingest alone."""


def headline_profile() -> Profile:
    """20 readings of which 2 are totals."""
    document = tomllib.loads(PROFILE)
    total, _power, gauge = document["register"]
    document["register"] = [
        {**(total if name in TOTALS else gauge), "reading_type": name, "addr": 10 + 4 * i, "fc": 3,
         "unit": "kWh" if name in TOTALS else READING_TYPES[name].unit}
        for i, name in enumerate(NAMES)
    ]  # fmt: skip
    return parse_profile("headline", document)


class Meters(Gateway):
    """A gateway whose frames are made beforehand, and that keeps what it sends."""

    def __init__(self, name: str, devices: list[Device], outbox: Outbox) -> None:
        super().__init__("park", name, devices, outbox)
        self._aliases = [frame_aliases(outbox.declaration(device.declaration)[1]) for device in devices]
        self._rng = random.Random(name)
        self.data: list[bytes] = []
        """Packets of the newest round."""

    def made(self, t_ms: int) -> list[Frame]:
        """A poll of every meter, not sent yet."""
        self.total += 1
        found = []
        for device in self._devices:
            said = [
                (r, t_ms, self.total if r.reading_type in TOTALS else self._rng.uniform(0, 400))
                for r in device.registers
            ]
            self.last += 1
            found.append(Frame(self.last, device.declaration, t_ms, readings_body(device.aliases, said)))
        return found

    def send(self, frames: list[Frame]) -> None:
        """Let them go."""
        self.data.clear()
        self.queue.extend(frames)
        self._more.set()

    def _publish(self, writer: asyncio.StreamWriter, kind: MessageType, meter: str, body: bytes) -> None:
        before = self._seq
        super()._publish(writer, kind, meter, body)
        if kind is MessageType.DDATA:
            whole = (
                body + b"\x18" + bytes([before])
                if before < 128
                else body + b"\x18" + bytes([before & 127 | 128, 1])
            )
            self.data.append(packet(0x30, _string(self._topic(kind, meter)) + whole))


class Chain(Bench):
    """Broker and gateways on one core, ingest and stream on the other."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, GATEWAYS, METERS)
        self.frames_per_poll = METERS * len(TOTALS)  # that many totals have progress in the ledger
        template = config_for(folder, 1, [f"m{i}" for i in range(METERS)])
        outbox = Outbox(folder / "headline.db", 1_000_000)
        devices = [make_device(meter, headline_profile(), outbox) for meter in template.meters]
        self.meters = [Meters(f"g{g}", devices, outbox) for g in range(GATEWAYS)]
        self.fleet = list(self.meters)
        self._t_ms = time.time_ns() // 1_000_000 - DAY_MS
        park = folder / "park.toml"
        roles = 'roles = { energy_import_total = "sub_meter", energy_export_total = "export" }'
        park.write_text(
            park.read_text(encoding="utf-8").replace('roles = { energy_import_total = "sub_meter" }', roles),
            encoding="utf-8",
        )

    def start(self, *names: str) -> None:
        """Processes, each on its core."""
        os.sched_setaffinity(0, {BROKERS_CORE})
        self.server.start(*names)
        for name in names:
            os.sched_setaffinity(self.child(name).pid, {OUR_CORE if name in OURS else BROKERS_CORE})

    def child(self, name: str) -> Popen[bytes]:
        """A process."""
        return self.server._children[name]  # noqa: SLF001  the load benchmark's own

    async def ours(self, polls: int) -> Cost:
        """Everything that `polls` polls cost ingest and stream, to the ledger's commit."""
        first, self._t_ms = self._t_ms + POLL_MS, self._t_ms + polls * POLL_MS
        times = range(first, self._t_ms + 1, POLL_MS)
        waiting = [[frame for t_ms in times for frame in gateway.made(t_ms)] for gateway in self.meters]
        used, begun = self._cpu_s(), time.monotonic()
        before = {name: cpu_s(self.child(name).pid) for name in OURS}
        for gateway, frames in zip(self.meters, waiting, strict=True):
            gateway.send(frames)
        self.polled_ms = self._t_ms
        await self.until(lambda: self.backlog == 0 and self.in_ledger(), 600, "empty outboxes")
        messages = sum(map(len, waiting))
        parts = {name: cpu_s(self.child(name).pid) - before[name] for name in OURS}
        print(
            messages,
            "messages, µs of CPU each:",
            {name: round(s * 1e6 / messages, 1) for name, s in parts.items()},
        )
        clock_s = time.monotonic() - begun
        return Cost((self._cpu_s() - used) / messages, clock_s / messages, parts["ingest"] / messages)

    def _cpu_s(self) -> float:
        return sum(cpu_s(self.child(name).pid) for name in OURS)

    async def bare(self, kind: str) -> Cost:
        """The same packets, to a client that throws them away."""
        packets = [data for gateway in self.meters for data in gateway.data]
        seen = self.folder / "seen"
        seen.write_bytes(bytes(8))
        argv = (
            sys.executable,
            "-m",
            "benchmarks.end_to_end",
            "--bare",
            kind,
            str(seen),
            str(self.plan.port),
            self.plan.password("host"),
        )
        with seen.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared, Popen(argv) as client:  # noqa: ASYNC220  a fork takes no time
            await self.until(lambda: count(shared) > 0, 30, "subscription")  # 1: subscribed
            used, begun, sent = cpu_s(client.pid), time.monotonic(), 0
            for gateway in self.meters:
                sent = await self._replay(gateway, shared, sent)
            await self.until(lambda: count(shared) > len(packets) - 256, 60, "last message")
            cost = Cost((cpu_s(client.pid) - used) / len(packets), (time.monotonic() - begun) / len(packets))
            client.terminate()
        return cost

    async def _replay(self, gateway: Meters, shared: mmap.mmap, sent: int) -> int:
        """Send what a gateway sent, as that gateway; the number of messages sent by all up to now."""
        _reader, writer = await asyncio.open_connection("127.0.0.1", self.plan.port)
        head = _string("MQTT") + bytes([4, 0xC0 | 0x02]) + (60).to_bytes(2, "big")
        login = (
            head + _string(gateway.name) + _string(gateway.name) + _string(self.plan.password(gateway.name))
        )
        writer.write(packet(_CONNECT, login))
        for at in range(0, len(gateway.data), 200):
            writer.write(b"".join(gateway.data[at : at + 200]))
            await writer.drain()
            sent += len(gateway.data[at : at + 200])
            while sent - count(shared) > OUTSTANDING:  # noqa: ASYNC110  another process counts
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        writer.close()
        return sent


def chain_s(gateways: Sequence[Meters]) -> float:
    """What roots and chain take per message, in commits of 50."""
    # A packet is a few bytes longer than the payload that it carries with its topic.
    records = [Record("", data, 0) for gateway in gateways for data in gateway.data]
    return hash_s(records) / len(records)


def count(shared: mmap.mmap) -> int:
    """Messages that the bare client has had, in steps of 256."""
    return int.from_bytes(shared[:8], "little")


def bare(kind: str, seen: Path, port: int, password: str) -> None:
    """The other side: receive and throw away."""
    os.sched_setaffinity(0, {OUR_CORE})
    had = 0
    with seen.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:

        def one() -> None:
            nonlocal had
            had += 1
            if not had & 255:
                shared[:8] = had.to_bytes(8, "little")

        client = _client(kind, one)
        client.username_pw_set("host", password)
        client.on_subscribe = lambda *_: shared.__setitem__(slice(0, 8), (1).to_bytes(8, "little"))
        client.connect("127.0.0.1", port)
        client.subscribe("spBv1.0/park/DDATA/#")
        client.loop_forever()


def _client(kind: str, one: Callable[[], None]) -> mqtt.Client:
    if kind == "bulk":

        def plain(_topic: bytes, _payload: bytes) -> bool:
            one()
            return True

        return BulkClient(plain, lambda: None)
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, _message: one()
    return client


async def measure(folder: Path, polls: int, rounds: int) -> dict[str, float]:
    """All figures."""
    chain = Chain(folder)
    chain.start("broker", *OURS)
    await asyncio.sleep(3)
    tasks = chain.connect()
    ours, paho, bulk = [], [], []
    try:
        await chain.ours(2)  # births, and compiled kernels
        for _ in range(rounds):
            ours.append(await chain.ours(polls))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            chain.server.stop(*OURS)
            paho.append(await chain.bare("paho"))
            bulk.append(await chain.bare("bulk"))
            chain.start(*OURS)
            tasks = chain.connect()
            await chain.ours(2)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        chain.server.stop()
    cpu, clock = (median(cost[i] for cost in ours) for i in (0, 1))
    for name, costs in (("ours", ours), ("paho", paho), ("bulk client", bulk)):
        print(
            name,
            "µs of CPU and of clock per message:",
            *(f"{c.cpu_s * 1e6:.1f}/{c.clock_s * 1e6:.1f}" for c in costs),
        )
    return {
        "end_to_end_vs_bare_mqtt": median(c.cpu_s for c in paho) / cpu,
        "end_to_end_vs_bare_mqtt_by_clock": median(c.clock_s for c in paho) / clock,
        "end_to_end_vs_bulk_client": median(c.cpu_s for c in bulk) / cpu,
        "hash_chain_share_of_ingest": chain_s(chain.meters) / median(cost.ingest_s for cost in ours),
        "end_to_end_messages_per_cpu_s": 1 / cpu,
        "end_to_end_readings_per_cpu_s": len(NAMES) / cpu,
    }


def figures(polls: int = 100, rounds: int = 3) -> dict[str, float]:
    """All keys, in a folder of their own."""
    os.environ.setdefault("LANGUAGE", "en")
    cores = os.sched_getaffinity(0)
    try:
        with tempfile.TemporaryDirectory(prefix="tanyun-end-") as folder:
            found = asyncio.run(measure(Path(folder), polls, rounds))
    finally:
        os.sched_setaffinity(0, cores)
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    """Run and print."""
    if sys.argv[1:2] == ["--bare"]:
        kind, seen, port, password = sys.argv[2:]
        with suppress(KeyboardInterrupt):
            bare(kind, Path(seen), int(port), password)
        return
    parser = argparse.ArgumentParser(prog="scripts/bench end_to_end")
    parser.add_argument("--polls", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(json.dumps(figures(asked.polls, asked.rounds)))


if __name__ == "__main__":
    main()
