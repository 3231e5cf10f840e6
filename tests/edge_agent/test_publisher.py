"""The publisher against the real Mosquitto and a small host that acks like ingest. Ids: Eclipse Sparkplug 3.0."""

import logging
import os
import pty
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from edge_agent.outbox import Outbox
from tests.fakes.gateway import HandFed, config_for, toy_profile
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.primary_host import Heard, PrimaryHost
from tests.fakes.sparkplug_proto import value_of

FAST: dict[str, object] = {"ack_timeout_s": 0.3}
"""For tests in which frames or acks get lost, so that it goes back soon."""
PATIENT: dict[str, object] = {"ack_timeout_s": 60}
"""For the others: on a busy machine an ack may take its time, and nothing is to be sent again for that."""


@pytest.fixture
def host(broker: Mosquitto) -> Iterator[PrimaryHost]:
    with PrimaryHost(broker.port, broker.password("host")) as host:
        yield host


@contextmanager
def gateway(tmp_path: Path, broker: Mosquitto, *meters: str, **more: object) -> Iterator[HandFed]:
    with HandFed(config_for(tmp_path, broker.port, meters or ("m1",), **{**PATIENT, **more})) as fed:
        yield fed


def totals(host: PrimaryHost) -> list[tuple[str, int]]:
    """(meter, total) of the stored frames in the order of their numbers."""
    frames = host.newest.frames
    return [(frames[n].meter, frames[n].value("energy_import_total")) for n in sorted(frames)]


def sent(heard: Heard) -> tuple[int, bool]:
    """Number and historical flag of a frame."""
    flags = {metric.is_historical for metric in heard.payload.metrics}
    assert len(flags) == 1
    return heard.value("Frame/Number"), flags.pop()


def test_births_come_before_data_and_every_message_has_the_next_seq(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost
) -> None:
    """tck-id-payloads-sequence-num-zero-nbirth, -sequence-num-incrementing, -dbirth-order, -ddata-order, -*-qos, -*-retain."""
    with gateway(tmp_path, broker, "m1", "m2") as fed:
        fed.feed(200)
        host.until(host.has(400))
    session = host.of("NBIRTH", "DBIRTH", "DDATA", "NDATA")
    assert [heard.kind for heard in session[:4]] == ["NBIRTH", "DBIRTH", "DBIRTH", "DDATA"]
    assert [heard.payload.seq for heard in session] == [i % 256 for i in range(len(session))]
    assert all(heard.payload.HasField("timestamp") for heard in session)
    assert all(heard.qos == 0 and not heard.retain for heard in session)
    assert totals(host) == [(meter, value) for value in range(1, 201) for meter in ("m1", "m2")]


def test_will_and_birth_of_a_session_bear_the_same_number_and_the_next_session_the_next(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost
) -> None:
    """tck-id-topics-nbirth-bdseq-matching, -bdseq-increment, tck-id-operational-behavior-edge-node-intentional-disconnect-ndeath."""
    for count in (1, 2):
        with gateway(tmp_path, broker):
            host.until(lambda count=count: len(host.of("DBIRTH")) == count)  # type: ignore[misc]
        host.until(lambda count=count: len(host.of("NDEATH")) == count)  # type: ignore[misc]
    births, deaths = ([heard.value("bdSeq") for heard in host.of(kind)] for kind in ("NBIRTH", "NDEATH"))
    assert births == deaths == [births[0], births[0] + 1]
    assert not any(heard.payload.HasField("seq") for heard in host.of("NDEATH"))


def test_nothing_is_sent_until_the_host_is_online(tmp_path: Path, broker: Mosquitto) -> None:
    """tck-id-message-flow-edge-node-birth-publish-phid-wait."""
    host = PrimaryHost(broker.port, broker.password("host"))
    host.connect()
    host.state(online=False, t_ms=1000)
    with gateway(tmp_path, broker) as fed:
        fed.feed(3)
        host.state(online=True, t_ms=900)  # older than the offline that was heard
        host.state(online=False, t_ms=1000)
        fed.feed(3, first=4)
        assert not host.heard
        host.state(online=True, t_ms=2000)
        host.until(host.has(6))
    host.__exit__()
    assert [sent(frame) for frame in host.of("DDATA")] == [(n, True) for n in range(1, 7)]


def test_it_goes_with_the_host_and_comes_back_with_it(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost
) -> None:
    """tck-id-operational-behavior-edge-node-termination-host-offline, -host-offline-reconnect."""
    with gateway(tmp_path, broker) as fed:
        fed.feed(2)
        host.until(host.has(2))
        host.state(online=False)
        host.until(lambda: len(host.of("NDEATH")) == 1)
        fed.feed(2, first=3)
        host.state(online=True)
        host.until(host.has(4))
    kinds = [heard.kind for heard in host.heard]
    assert kinds[: kinds.index("NDEATH") + 3] == [
        *["NBIRTH", "DBIRTH", "DDATA", "DDATA"],
        *["NDEATH", "NBIRTH", "DBIRTH"],
    ]
    assert totals(host) == [("m1", value) for value in (1, 2, 3, 4)]
    assert {number for number, historical in map(sent, host.of("DDATA")) if historical} >= {3, 4}


def test_without_an_ack_it_goes_back_to_the_first_frame_not_acked_flagged_historical(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost
) -> None:
    with gateway(tmp_path, broker, window=8, ack_timeout_s=2) as fed:  # acks of the first five come within it
        host.until(lambda: len(host.of("DBIRTH")) == 1)
        fed.feed(5)
        host.until(host.has(5))
        host.deaf = True
        fed.feed(20, first=6)
        host.until(lambda: [sent(heard)[0] for heard in host.of("DDATA")].count(6) >= 2)
        before = [sent(heard) for heard in host.of("DDATA")]
        host.deaf = False
        host.until(host.has(25))
    assert before[:5] == [(n, False) for n in range(1, 6)]
    assert {number for number, _ in before} == set(range(1, 14))  # the window: 8 behind the ack of 5
    again = before[[number for number, _ in before].index(6) + 8 :]
    assert again[0] == (6, True)
    assert all(historical for _, historical in again)
    assert totals(host) == [("m1", value) for value in range(1, 26)]


def test_a_rebirth_command_brings_all_births_again_and_loses_nothing(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost
) -> None:
    """tck-id-operational-behavior-data-commands-rebirth-action-2, -3; tck-id-payloads-nbirth-bdseq-repeat."""
    with gateway(tmp_path, broker, "m1", "m2") as fed:
        fed.feed(20)
        host.until(host.has(10))
        host.command(Rebirth=True)
        fed.feed(20, first=21)
        host.until(lambda: len(host.of("NBIRTH")) == 2)
        host.until(host.has(80))
    kinds = [heard.kind for heard in host.heard]
    second = len(kinds) - 1 - kinds[::-1].index("NBIRTH")
    assert kinds[second : second + 3] == ["NBIRTH", "DBIRTH", "DBIRTH"]
    assert [heard.payload.seq for heard in host.heard[second : second + 3]] == [0, 1, 2]
    assert len({heard.value("bdSeq") for heard in host.of("NBIRTH")}) == 1
    assert [heard.value("Frame/Number") for heard in host.of("DDATA")] == list(range(1, 81))


def test_a_killed_and_restarted_broker_costs_nothing(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost
) -> None:
    with gateway(tmp_path, broker) as fed:
        fed.feed(10)
        host.until(host.has(10))
        broker.kill()
        fed.feed(10, first=11)
        broker.start()
        host.until(host._paho.is_connected)
        host.state(online=True)
        host.until(host.has(20))
    assert totals(host) == [("m1", value) for value in range(1, 21)]


def test_a_host_that_lost_its_journal_is_sent_everything_it_does_not_have(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost
) -> None:
    """While sending goes on: nothing that the outbox still has may be declared lost."""
    with gateway(tmp_path, broker, window=5000, **FAST) as fed:
        fed.feed(3000)
        host.until(host.has(200))
        host.lose_journal("journal-b", keep=100)
        fed.feed(100, first=3001)
        host.until(host.has(3100))
        assert fed.outbox.journal_id == "journal-b"
    assert not host.newest.lost
    assert totals(host) == [("m1", value) for value in range(1, 3101)]
    assert not host.of("NDATA")


def test_acks_ahead_of_a_session_that_begins_at_an_old_mark_send_it_on(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost
) -> None:
    """After a kill the mark on disk is old: the host acks more than this session has sent, and no hole is declared."""
    with gateway(tmp_path, broker) as fed:
        fed.feed(3000)
        host.until(host.has(3000))
    outbox = Outbox(tmp_path / "outbox.db", 1_000_000_000)
    outbox.acked = 0
    outbox.close()
    with gateway(tmp_path, broker) as fed:
        fed.feed(10, first=3001)
        host.until(host.has(3010))
    assert not host.of("NDATA")
    assert totals(host) == [("m1", value) for value in range(1, 3011)]


def test_a_new_epoch_numbers_what_is_not_acked_from_one(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost
) -> None:
    with gateway(tmp_path, broker, window=5000) as fed:
        fed.feed(50)
        host.until(host.has(50))
        host.silent = True
        first = fed.outbox.epoch
        fed.feed(3000, first=51)
        host.until(host.has(60))
        host.command(New_Epoch=True)
        host.until(lambda: len(host.stored) == 2)
        host.silent = False
        # What is under way may all have come in silence: then nothing more comes before somebody acks it.
        host.ack(max(host.stored), host.newest.last)
        host.until(lambda: host.newest.last == 3000)
    assert max(host.stored) > first
    assert totals(host) == [("m1", value) for value in range(51, 3051)]
    for epoch, stored in host.stored.items():
        values = {n: heard.value("energy_import_total") for n, heard in stored.frames.items()}
        assert all(value == (n if epoch == first else n + 50) for n, value in values.items())
        assert not stored.lost
    assert host.of("NBIRTH")[-1].value("Frame/Epoch") == max(host.stored)


def test_while_a_slow_card_numbers_anew_nothing_goes_under_the_new_epoch(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would go has an old number, which means another frame from now on."""
    with gateway(tmp_path, broker) as fed:
        fed.feed(50)
        host.until(host.has(50))
        first, renew = fed.outbox.epoch, fed.outbox.renew_epoch

        def slowly() -> None:
            renew()
            fed.feed(5, first=51)
            threading.Event().wait(0.3)

        monkeypatch.setattr(fed.outbox, "renew_epoch", slowly)
        host.command(New_Epoch=True)
        host.until(lambda: host.newest_epoch > first and host.newest.last == 5)
    new = [heard for heard in host.heard if heard.value("Frame/Epoch") == host.newest_epoch]
    assert [heard.kind for heard in new[:3]] == ["NBIRTH", "DBIRTH", "DDATA"]
    assert [heard.value("Frame/Number") for heard in new if heard.kind == "DDATA"] == [1, 2, 3, 4, 5]


def test_frames_the_ring_had_to_drop_are_declared_lost(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost, caplog: pytest.LogCaptureFixture
) -> None:
    """tck-id-payloads-ndata-timestamp, tck-id-payloads-ndata-seq."""
    fed = HandFed(config_for(tmp_path, broker.port, ("m1",), **PATIENT))
    fed.feed(30)
    fed.outbox._db.execute(
        "DELETE FROM frame WHERE number <= 12"
    )  # as eviction does, without a million bytes
    with caplog.at_level(logging.ERROR, "tanyun.edge"), fed:
        host.until(host.has(30))
    assert host.newest.lost == [(1, 12)]
    assert totals(host) == [("m1", value) for value in range(13, 31)]
    assert [heard.payload.HasField("timestamp") for heard in host.of("NDATA")] == [True]
    assert "frames_lost gateway=gw first=1 last=12" in caplog.text


def test_after_a_change_of_configuration_old_frames_go_under_their_old_birth(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost
) -> None:
    old = HandFed(config_for(tmp_path, broker.port, ("gone", "m1")), toy_profile(scale=-1, unit="MWh"))
    old.feed(3)
    old.outbox.close()
    new = HandFed(config_for(tmp_path, broker.port, ("m1", "added"), **PATIENT), toy_profile())
    new.feed(3, first=4)
    with new:
        host.until(host.has(12))
    expected = (
        [("gone", v) for v in (1, 2, 3)],
        [("m1", v) for v in range(1, 7)],
        [("added", v) for v in (4, 5, 6)],
    )
    found = totals(host)
    assert [[item for item in found if item[0] == meter] for meter in ("gone", "m1", "added")] == list(
        expected
    )
    total = "energy_import_total"
    units = {("gone", 1): "MWh", ("m1", 3): "MWh", ("m1", 4): "kWh", ("added", 4): "kWh"}
    for (meter, value), unit in units.items():
        number = next(
            n
            for n, heard in host.newest.frames.items()
            if (heard.meter, heard.value(total)) == (meter, value)
        )
        at = host.heard.index(host.newest.frames[number])
        birth = next(heard for heard in host.heard[at::-1] if (heard.kind, heard.meter) == ("DBIRTH", meter))
        properties = birth.names[total].properties
        assert value_of(properties.values[list(properties.keys).index("engUnit")]) == unit


def test_commands_that_are_none_are_ignored(tmp_path: Path, broker: Mosquitto, host: PrimaryHost) -> None:
    with gateway(tmp_path, broker) as fed:
        fed.feed(2)
        host.until(host.has(2))
        for body in (b"\xff", b"", b"hello", b"\x12\x02\x0a\x05"):
            host._paho.publish("spBv1.0/park/NCMD/gw", body)
        host._paho.publish("spBv1.0/STATE/tanyun", b"[1]")
        host._paho.publish("spBv1.0/STATE/tanyun", b'{"online":"?"}')
        host.command(Ack_Number=1)
        host.command(Rebirth=False)
        fed.feed(2, first=3)
        host.until(host.has(4))
    host.until(
        lambda: bool(host.of("NDEATH"))
    )  # of the orderly end: the broker has it, the host perhaps not yet
    assert len(host.of("NBIRTH")) == len(host.of("NDEATH")) == 1


@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="no mosquitto_sub on this machine")
def test_a_client_that_is_not_paho_sees_the_topics(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost
) -> None:
    """tck-id-topic-structure."""
    login = ["-p", str(broker.port), "-u", "host", "-P", broker.password("host"), "-i", "watcher"]
    argv = ["mosquitto_sub", *login, "-t", "spBv1.0/park/+/gw/#", "-T", "spBv1.0/park/NCMD/#"]
    argv += ["-F", "%t", "-C", "5", "-W", "20", "-d"]
    ours, its = pty.openpty()  # a terminal, or it says what it does only at its end
    with subprocess.Popen(argv, stdout=its) as watcher, os.fdopen(ours, buffering=1) as output:
        while "SUBACK" not in output.readline():
            assert watcher.poll() is None
        with gateway(tmp_path, broker) as fed:
            fed.feed(2)
            host.until(host.has(2))
        topics: list[str] = []
        while len(topics) < 5:
            line = output.readline().strip()
            topics += [line] if line.startswith("spBv1.0") else []
        os.close(its)
    kinds = ["NBIRTH/gw", "DBIRTH/gw/m1", "DDATA/gw/m1", "DDATA/gw/m1", "NDEATH/gw"]
    assert topics == [f"spBv1.0/park/{kind}" for kind in kinds]


def test_times_in_a_frame_are_those_of_the_reads(
    tmp_path: Path, broker: Mosquitto, host: PrimaryHost
) -> None:
    """tck-id-payloads-name-birth-data-requirement: the metric's own time, however late it is sent."""
    with gateway(tmp_path, broker) as fed:
        fed.feed(3)
        host.until(host.has(3))
    frames = [host.newest.frames[n] for n in (1, 2, 3)]
    assert [{metric.timestamp for metric in frame.payload.metrics} for frame in frames] == [
        {1000},
        {2000},
        {3000},
    ]
    assert all(a.payload.seq + 1 == b.payload.seq for a, b in pairwise(frames))
