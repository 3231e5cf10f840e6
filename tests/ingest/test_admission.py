"""Every kind of malformed message on our topics: refused with its reason, counted, kept; nothing else is disturbed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.admission import (
    FUTURE_TOLERANCE_MS,
    OLDEST_MS,
    Admitted,
    Declarations,
    Reason,
    admit,
    declarations,
    read_payload,
)
from ingest.host import Host
from ingest.writer import StoredInJournal, Writer
from metering.frames import FRAME_EPOCH, read_ack
from metering.mqtt import MESSAGE_BYTES
from metering.sparkplug import DataType, Metric, Payload
from metering.topics import MessageType
from storage.journal import JournalReader
from storage.journal_writer import JournalWriter
from storage.segment import Record
from tests.fakes import sparkplug_proto as proto
from tests.ingest.gateway import (
    EPOCH,
    NOW_MS,
    PARK,
    births,
    dbirth,
    frame,
    lost,
    record,
    total,
)

DATA = MessageType.DDATA
FAR_MS = NOW_MS + FUTURE_TOLERANCE_MS + 1


def power(value: Any) -> Metric:
    return total(value, alias=11)


def at(topic: str) -> Record:
    return Record(topic, frame(2).payload, NOW_MS)


def timeless(number: int) -> Record:
    message = proto.parse(frame(number).payload)
    message.ClearField("timestamp")
    message.metrics[2].ClearField("timestamp")
    return record(DATA, message.SerializeToString(), "m")


def born(*metrics: Metric, kind: MessageType = MessageType.DBIRTH) -> Record:
    return record(kind, metrics, "x" if kind is MessageType.DBIRTH else "")


REFUSED: list[tuple[Reason, str, Record]] = [
    (Reason.BAD_TOPIC, "no topic at all", at("hello")),
    (Reason.BAD_TOPIC, "a device message without device", at("spBv1.0/p/DDATA/gw")),
    (Reason.BAD_TOPIC, "an id outside the grammar", at("spBv1.0/p/DDATA/gw/电")),
    (Reason.UNKNOWN_PARK, "another park", at("spBv1.0/q/DDATA/gw/m")),
    (Reason.UNKNOWN_GATEWAY, "a gateway that is not in the registry", at("spBv1.0/p/DDATA/stranger/m")),
    (Reason.TOO_LARGE, "one byte over the limit", record(DATA, bytes(MESSAGE_BYTES + 1), "m")),
    (Reason.MALFORMED, "no protobuf", record(DATA, b"\xff", "m")),
    (Reason.MALFORMED, "cut in the middle", record(DATA, frame(2).payload[:-1], "m")),
    (Reason.MALFORMED, "JSON", record(DATA, b'{"kWh": 1}', "m")),
    (Reason.NO_METRICS, "an empty message", record(DATA, b"", "m")),
    (Reason.NO_METRICS, "a time and nothing else", record(MessageType.NBIRTH, ())),
    (Reason.NO_BIRTH, "a meter that was never born", frame(2, "stranger")),
    (Reason.UNKNOWN_METRIC, "an alias that no birth gave", frame(2, "m", total(alias=77))),
    (Reason.UNKNOWN_METRIC, "a name that no birth gave", frame(2, "m", Metric(name="steam", timestamp=NOW_MS, value=1))),
    (Reason.UNKNOWN_METRIC, "neither name nor alias", frame(2, "m", Metric(timestamp=NOW_MS, value=1))),
    (Reason.WRONG_TYPE, "text for an integer", frame(2, "m", total("12"))),
    (Reason.WRONG_TYPE, "more than 32 bits for UInt32", frame(2, "m", total(1 << 32))),
    (Reason.WRONG_TYPE, "an integer for a float", frame(2, "m", power(1))),
    (Reason.WRONG_TYPE, "no value, and not null", record(DATA, frame(2).payload + b"\x12\x02\x10\x0a", "m")),
    (Reason.WRONG_TYPE, "a birth metric without data type", born(Metric(name="a", timestamp=NOW_MS, value=1))),
    (Reason.WRONG_TYPE, "a birth metric without name", born(Metric(alias=1, timestamp=NOW_MS, datatype=3, value=1))),
    (Reason.WRONG_TYPE, "a birth that gives an alias twice", born(*(Metric(name=n, alias=1, datatype=3, value=1) for n in "ab"))),
    (Reason.NOT_FINITE, "NaN", frame(2, "m", power(float("nan")))),
    (Reason.NOT_FINITE, "infinity", frame(2, "m", power(float("-inf")))),
    (Reason.NO_TIME, "no time anywhere", timeless(2)),
    (Reason.FUTURE_TIME, "a clock that is ahead", frame(2, "m", total(5, timestamp=FAR_MS))),
    (Reason.FUTURE_TIME, "a time beyond 63 bits", frame(2, "m", total(5, timestamp=(1 << 64) - 1))),
    (Reason.PAST_TIME, "a clock that was never set", frame(2, "m", total(5, timestamp=0))),
    (Reason.BAD_NUMBER, "a number without epoch", frame(2, epoch=0)),
    (Reason.BAD_NUMBER, "an epoch without number", frame(0)),
    (Reason.BAD_NUMBER, "no value for the number", frame(None, "m", total())),
    (Reason.BAD_NUMBER, "an epoch beyond 62 bits, frame 1", frame(1, epoch=1 << 62)),
    (Reason.BAD_NUMBER, "an epoch beyond 63 bits, frame 1", frame(1, epoch=(1 << 64) - 1)),
    (Reason.BAD_NUMBER, "a number beyond 63 bits", frame((1 << 64) - 1, "m", total())),
    (Reason.BAD_NUMBER, "a birth of an epoch beyond 63 bits", dbirth("x", epoch=(1 << 64) - 1)),
    (Reason.BAD_NUMBER, "a birth of an epoch that is text", born(Metric(name=FRAME_EPOCH, datatype=12, value="7"))),
    (Reason.BAD_LOST_RANGE, "from behind its end", lost(3, 2)),
    (Reason.BAD_LOST_RANGE, "from nothing", lost(0, 2)),
    (Reason.NUMBER_CONFLICT, "a stored number with another body", frame(1, "m", total(4711))),
]  # fmt: skip
COUNTS_AS_STORED = {
    Reason.WRONG_TYPE,
    Reason.NOT_FINITE,
    Reason.NO_TIME,
    Reason.FUTURE_TIME,
    Reason.PAST_TIME,
    Reason.BAD_LOST_RANGE,
}


class Ingest:
    """Writer, host and journal as `ingest run` puts them together, without the socket."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.start()

    def start(self) -> None:
        self.journal = JournalWriter(self.file)
        stored = StoredInJournal(self.journal)
        self.writer = Writer(self.journal, Host(PARK, stored), lambda: NOW_MS)

    def restart(self) -> None:
        self.journal.close()
        self.start()

    def hear(self, *records: Record) -> list[int]:
        """The frame numbers that were acknowledged."""
        commands = self.writer.store(list(records))
        return [ack.number for ack in (read_ack(command.payload) for command in commands) if ack is not None]


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[Ingest]:
    found = Ingest(tmp_path / "journal.db")
    found.hear(*births("m", "n"), frame(1))
    yield found
    found.journal.close()


@pytest.fixture
def reader(ingest: Ingest) -> Iterator[JournalReader]:
    with JournalReader(ingest.file) as opened:
        yield opened


def test_the_table_has_every_reason() -> None:
    assert {reason for reason, _, _ in REFUSED} == set(Reason)


@pytest.mark.parametrize(
    ("reason", "bad"), [(reason, bad) for reason, _, bad in REFUSED], ids=[f"{r}: {t}" for r, t, _ in REFUSED]
)
def test_a_malformed_message_is_quarantined_and_disturbs_nothing_else(
    ingest: Ingest, reader: JournalReader, reason: Reason, bad: Record
) -> None:
    ingest.hear(bad)
    [row] = reader.quarantine()
    assert (row.reason, row.topic, row.payload, row.size) == (
        reason,
        bad.topic,
        bad.payload,
        len(bad.payload),
    )
    assert row.detail
    assert reader.quarantine_counts() == {reason: 1}
    following = ingest.journal.progress()["gw", EPOCH] + 1
    if "DDATA" in bad.topic:
        assert following == (3 if reason in COUNTS_AS_STORED else 2)
    assert ingest.hear(frame(following), frame(following + 1, "n")) == [following + 1]
    assert [item.number for item in reader.frames("gw", "m", 0, FAR_MS)] == [1, following]
    assert reader.head().frames == 3 + 3
    ingest.restart()
    assert ingest.hear(frame(following + 1, "n")) == [following + 1]
    assert reader.verify_chain() == 2


def test_all_of_them_in_one_commit_are_all_counted(ingest: Ingest, reader: JournalReader) -> None:
    """Frames of the one number that is next come first; the others are then refused again or known already."""
    ingest.hear(*(bad for _, _, bad in REFUSED))
    assert set(reader.quarantine_counts()) >= set(Reason) - COUNTS_AS_STORED
    assert ingest.hear(frame(3), frame(4)) == [4]


@pytest.mark.parametrize(("metric", "value"), [
    (total((1 << 32) - 1), (1 << 32) - 1), (total(0), 0), (power(-0.0), 0.0), (power(1e-300), 1e-300), (total(None, is_null=True), None),
    (total(5, timestamp=NOW_MS + FUTURE_TOLERANCE_MS), 5), (total(5, timestamp=NOW_MS - OLDEST_MS), 5), (total(5, datatype=99), 5),
    (Metric(name="energy_import_total", timestamp=NOW_MS, value=5), 5), (total(5, timestamp=None), 5),
])  # fmt: skip
def test_what_is_as_declared_is_admitted_whatever_it_says(
    ingest: Ingest, reader: JournalReader, metric: Metric, value: Any
) -> None:
    said = frame(2, "m", msgspec.structs.replace(metric, datatype=None))
    if metric.datatype is not None:
        message = proto.parse(said.payload)
        message.metrics[2].datatype = metric.datatype
        said = record(DATA, message.SerializeToString(), "m")
    assert ingest.hear(said) == [2]
    assert reader.quarantine() == []
    stored = list(reader.frames("gw", "m", 0, FAR_MS))[-1]
    assert stored.payload == said.payload
    assert proto.value_of(proto.parse(stored.payload).metrics[2]) == value


def test_the_time_of_a_frame_is_the_newest_of_its_metrics() -> None:
    birth = read_payload(dbirth().payload)
    assert isinstance(birth, Payload)
    declared = declarations(birth)
    assert isinstance(declared, Declarations)
    said = read_payload(frame(5, "m", total(1, timestamp=NOW_MS + 7), power(1.0)).payload)
    assert isinstance(said, Payload)
    found = admit(said, declared, NOW_MS)
    assert isinstance(found, Admitted)
    assert (found.t_ms, found.epoch, found.number, found.lost_from) == (NOW_MS + 7, EPOCH, 5, 0)


def test_a_payload_of_the_largest_size_is_read() -> None:
    filler = Metric(name="x" * (MESSAGE_BYTES - 30), datatype=DataType.BOOLEAN, value=True)
    data = record(DATA, [filler], "m").payload
    assert MESSAGE_BYTES - 30 < len(data) <= MESSAGE_BYTES
    assert isinstance(read_payload(data), Payload)


@given(
    st.lists(
        st.tuples(st.sampled_from(MessageType), st.integers(0, 200), st.integers(0, 255), st.booleans()),
        max_size=12,
    )
)
@settings(max_examples=50)
def test_damaged_messages_never_stop_ingest(
    tmp_path_factory: pytest.TempPathFactory, hits: list[tuple[MessageType, int, int, bool]]
) -> None:
    """One byte of a real message is changed, perhaps under another type of topic; a good frame still gets through."""
    ingest = Ingest(tmp_path_factory.mktemp("damaged") / "journal.db")
    ingest.hear(*births("m"))
    damaged = []
    for kind, place, byte, of_birth in hits:
        payload = bytearray((dbirth() if of_birth else frame(1)).payload)
        payload[place % len(payload)] = byte
        damaged.append(record(kind, bytes(payload), "" if kind.startswith("N") else "m"))
    ingest.hear(*damaged)
    ingest.restart()
    following = ingest.journal.progress().get(("gw", EPOCH), 0) + 1
    assert ingest.hear(*births("m"), frame(following)) == [following]
    ingest.journal.close()
    with JournalReader(ingest.file) as reader:
        reader.verify_chain()
