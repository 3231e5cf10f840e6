"""A gateway's clock is judged by the time its messages say they were sent, whatever they carry."""

from pathlib import Path

from metering.sparkplug import Payload, encode
from storage.journal import Entry, JournalReader
from storage.segment import Record
from stream.projection.clocks import SEGMENTS, Clocks
from tests.stream.projector_plant import NOW_MS, Plant


def message(gateway: str, sent_ms: int | None, received_ms: int, body: bytes = b"") -> Entry:
    payload = body or encode(Payload((), sent_ms))
    return Entry(Record(f"spBv1.0/p/DDATA/{gateway}/m", payload, received_ms))


def test_the_newest_message_of_each_gateway_tells_its_clock(tmp_path: Path) -> None:
    plant, clocks = Plant(tmp_path), Clocks()
    with JournalReader(plant.files.journal) as journal:
        assert clocks.ahead_s(journal) == {}
        plant.store([message("g1", NOW_MS, NOW_MS), message("g1", NOW_MS - 90_500, NOW_MS)])
        plant.store([message("g2", NOW_MS + 300_000, NOW_MS), message("g3", None, NOW_MS)])
        assert clocks.ahead_s(journal) == {"g1": -90.5, "g2": 300}
        assert clocks.ahead_s(journal) == {}, "a gateway that is silent has no clock to speak of"
        plant.store([message("g1", NOW_MS + 1, NOW_MS), message("g2", 0, 0, b"\xff not a payload")])
        assert clocks.ahead_s(journal) == {"g1": 0.001}
    plant.close()


def test_a_backlog_of_segments_is_not_read_for_a_clock(tmp_path: Path) -> None:
    plant, clocks = Plant(tmp_path), Clocks()
    plant.store([message("old", NOW_MS, NOW_MS)])
    for _ in range(SEGMENTS):
        plant.store([message("g1", NOW_MS - 2_000, NOW_MS)])
    with JournalReader(plant.files.journal) as journal:
        assert clocks.ahead_s(journal) == {"g1": -2}
    plant.close()
