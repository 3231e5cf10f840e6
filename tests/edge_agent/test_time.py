"""Time from the meter to the server: held, dated, marked, asked for; and a broker's certificate where nobody knows the date."""

import asyncio
import logging
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_agent.assemble import Reading
from edge_agent.clock import KeptClock
from edge_agent.dated_tls import dated
from edge_agent.device import make_device
from edge_agent.meter_time import PATIENCE_S, ask_meters
from edge_agent.outbox import Outbox
from edge_agent.poller import Polled, Poller
from metering.frames import TimeSource
from tests.edge_agent.test_timekeeper import HOUR, Machine
from tests.edge_agent.test_timekeeper import UTC as NOW
from tests.fakes.gateway import HandFed, config_for, toy_profile
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.primary_host import PrimaryHost
from tests.fakes.sparkplug_proto import parse, value_of

QUARTER = 900_000


class Gateway:
    """A poller whose meters are read by the test, on a machine whose clocks the test moves."""

    def __init__(self, folder: Path, machine: Machine, boot: str = "boot-1", **more: int) -> None:
        config = config_for(folder, 1883)
        self.machine = machine
        self.outbox = Outbox(config.outbox.path, 1_000_000_000)
        self.devices = [make_device(meter, toy_profile(), self.outbox) for meter in config.meters]
        self.clock = machine.clock(seen_ms=self.outbox.notes["seen_ms"], **more)
        self.poller = Poller(config, self.devices, self.outbox, self.clock)
        self.poller._boot = boot

    def poll(self, total: int) -> None:
        """What the poller does with a poll that has just been read."""
        t_ms = self.machine.boot
        readings: list[Reading] = [(self.devices[0].registers[0], t_ms, total)]
        offset = self.clock.offset()
        polled: list[Polled] = [(self.devices[0], readings)]
        self.poller._keep(polled, t_ms if offset is None else t_ms + offset.ms)

    def frames(self) -> list[tuple[int, int, str | None]]:
        """(time, total, mark) of every frame."""
        found = []
        for frame in self.outbox.after(0, 1000)[0]:
            metrics = parse(frame.body).metrics
            assert {metric.timestamp for metric in metrics} == {frame.t_ms}
            mark = metrics[1].string_value if len(metrics) > 1 else None
            found.append((frame.t_ms, value_of(metrics[0]), mark))
        return found


@contextmanager
def gateway(folder: Path, machine: Machine, boot: str = "boot-1", **more: int) -> Iterator[Gateway]:
    found = Gateway(folder, machine, boot, **more)
    try:
        yield found
    finally:
        found.outbox.close()


def test_a_gateway_that_boots_in_1970_polls_holds_and_dates_to_the_millisecond(tmp_path: Path) -> None:
    machine = Machine(wall_ms=0)
    with gateway(tmp_path, machine) as site:
        site.outbox.epoch = 5_000 << 16  # named in 1970
        for total in (1, 2, 3):
            machine.pass_ms(QUARTER)
            site.poll(total)
        assert (site.outbox.last, site.outbox.held, site.frames()) == (0, 3, [])
        machine.pass_ms(1_000)
        site.clock.keeper.heard_server(NOW, machine.boot)
        machine.pass_ms(500)
        site.poll(4)
        last = NOW - 1_000
        assert site.frames() == [
            (last - 2 * QUARTER, 1, "server"),
            (last - QUARTER, 2, "server"),
            (last, 3, "server"),
            (NOW + 500, 4, None),
        ]
        assert site.outbox.held == 0
        assert site.outbox.epoch >> 16 == NOW + 500


def test_readings_outlive_a_restart_before_the_time_is_known_and_say_that_theirs_is_an_estimate(
    tmp_path: Path,
) -> None:
    machine = Machine(wall_ms=0)
    with gateway(tmp_path, machine) as site:
        machine.pass_ms(QUARTER)
        site.poll(1)
    machine.boot = 2_000
    with gateway(tmp_path, machine, "boot-2") as site:
        machine.pass_ms(QUARTER)
        site.poll(2)
    machine.boot = 1_000
    with gateway(tmp_path, machine, "boot-3") as site:
        site.poll(3)
        machine.pass_ms(7)
        site.clock.keeper.heard_server(NOW, machine.boot)
        site.poll(4)
        boot_3 = NOW - 1_007
        boot_2 = boot_3 - (QUARTER + 2_000)
        assert site.frames() == [
            (boot_2, 1, "estimated"),
            (boot_3, 2, "estimated"),
            (NOW - 7, 3, "server"),
            (NOW, 4, None),
        ]


def test_what_is_never_trusted_goes_out_marked_after_the_stated_time(tmp_path: Path) -> None:
    machine = Machine(wall_ms=0)
    with gateway(tmp_path, machine, guess_after_ms=HOUR) as site:
        for total in range(1, 6):
            machine.pass_ms(QUARTER)
            site.poll(total)
        marks = [mark for _t, _v, mark in site.frames()]
        assert marks == ["untrusted"] * 5
        site.clock.keeper.heard_server(NOW, machine.boot)
        site.poll(6)
        assert site.frames()[-1] == (NOW, 6, None)
        assert site.outbox.notes["seen_ms"] == NOW


def test_a_meters_clock_dates_where_there_is_nothing_better(tmp_path: Path) -> None:
    machine = Machine(wall_ms=0)
    with gateway(tmp_path, machine) as site:
        site.poll(1)
        site.clock.keeper.heard_meter(NOW)
        site.poll(2)
        assert site.frames() == [(NOW, 1, "meter"), (NOW, 2, None)]


def kept(tmp_path: Path, broker: Mosquitto, machine: Machine) -> HandFed:
    return HandFed(config_for(tmp_path, broker.port), clock=machine.clock())


class MeterThatKnows:
    """A meter's clock, asked so often."""

    def __init__(self, t_ms: int | None) -> None:
        self.t_ms, self.asked = t_ms, 0

    async def utc_ms(self) -> int | None:
        self.asked += 1
        return self.t_ms


def test_meters_are_asked_in_turn_only_while_nobody_better_speaks() -> None:
    machine = Machine(wall_ms=0)
    clock = machine.clock()
    silent, knowing = MeterThatKnows(None), MeterThatKnows(NOW)
    rounds = 0

    async def sleep(seconds: float) -> None:
        nonlocal rounds
        rounds += 1
        machine.pass_ms(round(seconds * 1000))
        if rounds == 2:
            assert (clock.source, clock.now_ms()) == ("meter", NOW + round(PATIENCE_S * 1000))
        if rounds == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(ask_meters(clock, [silent, knowing], sleep))
    assert (silent.asked, knowing.asked) == (1, 1)


def knows(fed: HandFed) -> bool:
    assert isinstance(fed.clock, KeptClock)
    return fed.clock.source == "server"


def test_the_time_is_asked_of_the_server_and_taken_from_its_answer(tmp_path: Path, broker: Mosquitto) -> None:
    machine = Machine(wall_ms=0)
    with PrimaryHost(broker.port, broker.password("host")) as host:
        host.now_ms = lambda: NOW
        with kept(tmp_path, broker, machine) as fed:
            host.until(lambda: knows(fed))
            assert fed.clock.now_ms() == NOW
            fed.feed(1, first=NOW // 1000)
            host.until(host.has(1))
        questions = [heard for heard in host.of("NDATA") if "Frame/Time Request" in heard.names]
        assert len(questions) == 1
        assert list(questions[0].names) == ["Frame/Time Request"]
        stamps = [heard.payload.timestamp for heard in host.heard if heard.payload.HasField("timestamp")]
        assert max(stamps) <= NOW


def test_frames_with_stamps_in_the_future_never_leave(
    tmp_path: Path, broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(wall_ms=0)
    with (
        PrimaryHost(broker.port, broker.password("host")) as host,
        caplog.at_level(logging.ERROR, "tanyun.edge"),
    ):
        host.now_ms = lambda: NOW
        with kept(tmp_path, broker, machine) as fed:
            host.until(lambda: knows(fed))
            fed.feed(1, first=NOW // 1000 - 5)
            fed.feed(1, first=NOW // 1000 + 3600)
            fed.feed(1, first=NOW // 1000 - 4)
            host.until(host.has(3))
        assert sorted(host.newest.frames) == [1, 3]
        assert host.newest.lost == [(2, 2)]
    assert "frames_withheld gateway=gw first=2 last=2" in caplog.text


def test_a_range_is_sent_again_on_request(tmp_path: Path, broker: Mosquitto) -> None:
    with PrimaryHost(broker.port, broker.password("host")) as host:
        with HandFed(config_for(tmp_path, broker.port)) as fed:
            fed.feed(50)
            host.until(host.has(50))
            before = len(host.of("DDATA"))
            epoch = fed.outbox.epoch
            host.command(Resend_Epoch=epoch + 1, Resend_From=1, Resend_To=9)
            host.command(Resend_Epoch=epoch, Resend_From=11, Resend_To=20)
            host.until(lambda: len(host.of("DDATA")) == before + 10)
            fed.feed(1, first=51)
            host.until(host.has(51))
        again = host.of("DDATA")[before:]
        assert [heard.value("Frame/Number") for heard in again] == [*range(11, 21), 51]
        assert all(metric.is_historical for heard in again[:10] for metric in heard.payload.metrics)


# A broker's certificate, and nobody knows the date


def certificate(folder: Path, begin: str, end: str) -> tuple[Path, Path]:
    """A self-signed one for localhost, valid from and to a time (YYYYMMDDHHMMSSZ)."""
    key, crt = folder / "key.pem", folder / "crt.pem"
    argv = [
        "openssl",
        "req",
        "-x509",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ]
    argv += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1"]
    argv += ["-keyout", str(key), "-out", str(folder / "plain.pem")]
    subprocess.run(argv, check=True, capture_output=True)
    index, conf = folder / "index.txt", folder / "ca.cnf"
    index.touch()
    conf.write_text(
        f"[ca]\ndefault_ca=c\n[c]\ndatabase={index}\nserial={folder}/serial\nnew_certs_dir={folder}\n"
        "default_md=sha256\npolicy=p\nx509_extensions=e\ncopy_extensions=none\n[p]\ncommonName=supplied\n"
        "[e]\nsubjectAltName=DNS:localhost\nbasicConstraints=critical,CA:TRUE\n",
        encoding="ascii",
    )
    request = folder / "req.pem"
    argv = ["openssl", "req", "-new", "-key", str(key), "-subj", "/CN=localhost", "-out", str(request)]
    subprocess.run(argv, check=True, capture_output=True)
    argv = [
        "openssl",
        "ca",
        "-batch",
        "-selfsign",
        "-create_serial",
        "-config",
        str(conf),
        "-keyfile",
        str(key),
    ]
    argv += ["-in", str(request), "-startdate", begin, "-enddate", end, "-out", str(crt), "-notext"]
    subprocess.run(argv, check=True, capture_output=True)
    return key, crt


async def handshake(folder: Path, known_ms: int | None, host: str = "localhost") -> None:
    """One TLS connection to a server with that certificate."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(folder / "crt.pem", folder / "key.pem")
    context = dated(ssl.create_default_context(cafile=str(folder / "crt.pem")), lambda: known_ms)
    assert context is not None

    async def serve(_reader: object, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side)
    port = server.sockets[0].getsockname()[1]
    async with server:
        await asyncio.to_thread(_connect, context, port, host)


def _connect(context: ssl.SSLContext, port: int, host: str) -> None:
    import socket  # noqa: PLC0415  as paho does it: a plain socket, wrapped, the handshake by hand

    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    with context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False) as wrapped:
        wrapped.do_handshake()


def test_a_certificate_is_judged_by_the_time_that_is_known_and_its_name_always(tmp_path: Path) -> None:
    certificate(tmp_path, "20100101000000Z", "20110101000000Z")
    within = round(datetime(2010, 6, 1, tzinfo=UTC).timestamp() * 1000)

    async def run() -> None:
        await handshake(tmp_path, None)
        await handshake(tmp_path, within)
        with pytest.raises(ssl.SSLCertVerificationError, match="valid from Jan  1"):
            await handshake(tmp_path, NOW)
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await handshake(tmp_path, None, "another.example")

    asyncio.run(run())


def test_source_names_are_those_of_the_contract() -> None:
    assert {source.value for source in TimeSource} == {"ntp", "server", "meter", "estimated", "untrusted"}
