"""The host's judgement as a pure function of what was said: what is stored, what is answered."""

import random
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.host import FRAMES_FOUND, SERIAL_CHANGED, Host
from ingest.session import REBIRTH_PAUSE_MS, Answer, Stored
from metering import frames
from metering.registry import parse_registry
from metering.sparkplug import DataType, Metric
from metering.topics import MessageType
from storage.journal import BirthIndex, Commit, Entry, FrameIndex, GatewayState
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
    nbirth,
    ndeath,
    record,
    time_request,
    total,
)


class Remembered(Stored):
    """What was stored, in a dict."""

    def __init__(self) -> None:
        super().__init__({})
        self.digests: dict[tuple[str, int, int], bytes] = {}
        self.lost: set[tuple[str, int, int]] = set()

    def digest_of(self, gateway: str, epoch: int, number: int) -> bytes | None:
        fresh = super().digest_of(gateway, epoch, number)
        return fresh if fresh is not None else self.digests.get((gateway, epoch, number))

    def is_loss(self, gateway: str, epoch: int, number: int) -> bool:
        return super().is_loss(gateway, epoch, number) or (gateway, epoch, number) in self.lost


class Ingest:
    """A host and everything it has wanted stored."""

    def __init__(self) -> None:
        self.stored = Remembered()
        self.entries: list[Entry] = []
        self.sessions: dict[str, GatewayState] = {}
        self.restart()

    def restart(self) -> None:
        newest = {
            msgspec.structs.astuple(e.index): e.record
            for e in self.entries
            if isinstance(e.index, BirthIndex)
        }
        self.host = Host(PARK, self.stored)
        self.host.restore(list(newest.values()), list(self.sessions.values()))

    def hear(self, *records: Record) -> tuple[Commit, Answer]:
        self.host.reset()
        for item in records:
            self.host.receive(item)
        commit = self.host.close_commit()
        self.entries += commit.entries
        self.sessions |= {state.gateway: state for state in commit.gateways}
        self.stored.digests |= self.stored.fresh
        self.stored.lost = (self.stored.lost | self.stored.losses) - self.stored.found
        return commit, self.host.answer

    def numbers(self, epoch: int = EPOCH) -> list[int]:
        return [
            e.index.number for e in self.entries if isinstance(e.index, FrameIndex) and e.index.epoch == epoch
        ]

    def acked(self, epoch: int = EPOCH) -> int:
        return self.stored.progress.get(("gw", epoch), 0)


@pytest.fixture
def ingest() -> Ingest:
    found = Ingest()
    found.hear(*births("m", "n"))
    return found


def reasons(commit: Commit) -> list[str]:
    return [item.reason for item in commit.quarantined]


def kinds(commit: Commit) -> list[str]:
    return [event.kind for event in commit.events]


def test_frames_in_order_are_stored_and_acknowledged(ingest: Ingest) -> None:
    said = [frame(1), frame(2, "n"), frame(3)]
    commit, answer = ingest.hear(*said)
    assert [entry.record for entry in commit.entries] == said
    assert answer.acks == {("gw", EPOCH)}
    assert ingest.acked() == 3


def test_frames_ahead_of_a_hole_are_left_and_the_last_ack_is_repeated(ingest: Ingest) -> None:
    ingest.hear(frame(1))
    commit, answer = ingest.hear(frame(3), frame(4))
    assert (commit.entries, commit.quarantined, commit.events) == ([], [], [])
    assert answer.acks == {("gw", EPOCH)}
    assert ingest.acked() == 1
    ingest.hear(frame(2), frame(3), frame(4))
    assert ingest.numbers() == [1, 2, 3, 4]


@pytest.mark.parametrize("same_commit", [True, False])
def test_a_frame_that_comes_twice_is_stored_once_and_acknowledged_again(
    ingest: Ingest, *, same_commit: bool
) -> None:
    again = msgspec.structs.replace(frame(1), received_ms=NOW_MS + 9)
    if same_commit:
        _, answer = ingest.hear(frame(1), again)
    else:
        ingest.hear(frame(1))
        _, answer = ingest.hear(again)
    assert answer.acks == {("gw", EPOCH)}
    assert ingest.numbers() == [1]


@pytest.mark.parametrize("same_commit", [True, False])
def test_the_same_number_with_another_body_is_a_conflict_and_forces_a_new_epoch(
    ingest: Ingest, *, same_commit: bool
) -> None:
    first, other = frame(1), frame(1, "m", total(999))
    commit, answer = ingest.hear(first, other) if same_commit else (ingest.hear(first), ingest.hear(other))[1]
    assert reasons(commit) == ["number_conflict"]
    assert commit.quarantined[0].index is None
    assert "number_conflict" in kinds(commit)
    assert answer.new_epochs == {"gw"}
    assert ingest.numbers() == [1]


def test_a_frame_flagged_historical_is_the_same_frame(ingest: Ingest) -> None:
    ingest.hear(frame(1))
    message = proto.parse(frame(1).payload)
    message.timestamp, message.seq = 5, 17
    for metric in message.metrics:
        metric.is_historical = True
    commit, answer = ingest.hear(record(MessageType.DDATA, message.SerializeToString(), "m"))
    assert not commit.quarantined
    assert answer.acks == {("gw", EPOCH)}


def test_two_live_epochs_are_both_stored_and_acknowledged_each_for_itself(ingest: Ingest) -> None:
    first, _ = ingest.hear(frame(1), frame(2))
    ingest.hear(*births("m", epoch=9))
    second, answer = ingest.hear(frame(1, epoch=9), frame(3), frame(2, epoch=9))
    assert answer.acks == {("gw", EPOCH), ("gw", 9)}
    assert (ingest.numbers(), ingest.numbers(9)) == ([1, 2, 3], [1, 2])
    assert [event.detail for event in [*first.events, *second.events]] == [
        {"epoch": EPOCH, "known": []}, {"epoch": 9, "known": [EPOCH]},
    ]  # fmt: skip


def test_a_lost_range_is_passed_by_the_ack_and_the_gap_is_known(ingest: Ingest) -> None:
    ingest.hear(frame(1))
    commit, answer = ingest.hear(lost(2, 5), frame(6))
    assert [(event.kind, event.detail) for event in commit.events] == [
        ("frames_lost", {"epoch": EPOCH, "first": 2, "last": 5})
    ]
    assert answer.acks == {("gw", EPOCH)}
    assert ingest.numbers() == [1, 5, 6]


def test_of_a_lost_range_that_begins_below_only_what_is_missing_is_lost(ingest: Ingest) -> None:
    ingest.hear(frame(1), frame(2))
    commit, _ = ingest.hear(lost(1, 4))
    assert commit.events[0].detail == {"epoch": EPOCH, "first": 3, "last": 4}
    assert ingest.acked() == 4


def test_a_lost_range_ahead_of_a_hole_is_left(ingest: Ingest) -> None:
    commit, _ = ingest.hear(frame(1), lost(3, 5))
    assert "frames_lost" not in kinds(commit)
    assert ingest.acked() == 1


def test_frames_out_of_a_lost_range_that_turn_up_are_stored_once(ingest: Ingest) -> None:
    """The first of it, where nothing stands, and the last, where the word of the loss stands."""
    ingest.hear(lost(1, 4))
    commit, answer = ingest.hear(frame(2), frame(4), frame(2))
    assert [(e.index.number, e.index.meter, e.instead_of_loss) for e in commit.entries if isinstance(e.index, FrameIndex)] == [
        (2, "m", False),
        (4, "m", True),
    ]  # fmt: skip
    assert [(event.kind, event.detail) for event in commit.events] == [
        (FRAMES_FOUND, {"epoch": EPOCH, "first": 2, "last": 4, "frames": 2})
    ]
    assert answer.acks == {("gw", EPOCH)}
    assert ingest.acked() == 4
    for again in (frame(2), frame(4), lost(1, 4), lost(2, 2)):
        commit, answer = ingest.hear(again)
        assert (commit.entries, commit.quarantined, commit.events) == ([], [], [])
        assert answer.acks == {("gw", EPOCH)}


def test_a_withheld_frame_that_is_sent_after_all_takes_the_place_of_the_word_of_its_loss(
    ingest: Ingest,
) -> None:
    """It bears the number of that word: asked for again, it must not make the gateway number anew."""
    ingest.hear(frame(1), lost(2, 2), frame(3))
    commit, answer = ingest.hear(frame(2))
    assert ([e.instead_of_loss for e in commit.entries], commit.quarantined, answer.new_epochs) == (
        [True],
        [],
        set(),
    )
    commit, answer = ingest.hear(frame(2))
    assert (commit.entries, commit.quarantined, answer.new_epochs) == ([], [], set())
    assert answer.acks == {("gw", EPOCH)}


def test_what_is_refused_out_of_a_lost_range_is_passed_over(ingest: Ingest) -> None:
    ingest.hear(lost(1, 3))
    commit, answer = ingest.hear(frame(2, "m", BAD))
    assert (commit.entries, commit.events) == ([], [])
    assert answer.acks == {("gw", EPOCH)}


def test_a_copy_of_a_card_keeps_what_it_has_where_the_journal_has_a_loss(ingest: Ingest) -> None:
    """In a session that has come no further. The first number under which both have frames tells them apart."""
    ingest.hear(frame(1), lost(2, 2), frame(3))
    ingest.restart()
    ingest.hear(nbirth(), dbirth())
    ingest.host._session("gw").verified[EPOCH] = 1
    commit, answer = ingest.hear(frame(2))
    assert ([e.instead_of_loss for e in commit.entries], answer.new_epochs) == ([True], set())
    assert ingest.host.acked("gw", EPOCH) == 2
    _commit, answer = ingest.hear(frame(3, "m", total(77)))
    assert answer.new_epochs == {"gw"}


BAD = total(float("nan"), alias=11)


def test_a_refused_frame_counts_as_stored(ingest: Ingest) -> None:
    commit, answer = ingest.hear(frame(1), frame(2, "m", BAD), frame(3))
    [refused] = commit.quarantined
    assert refused.index is not None
    assert (refused.reason, refused.index.number) == ("not_finite", 2)
    assert answer.acks == {("gw", EPOCH)}
    assert (ingest.numbers(), ingest.acked()) == ([1, 3], 3)


def test_a_refused_frame_whose_ack_was_lost_is_acknowledged_again_and_quarantined_once(
    ingest: Ingest,
) -> None:
    ingest.hear(frame(1, "m", BAD))
    commit, answer = ingest.hear(frame(1, "m", BAD))
    assert commit.quarantined == []
    assert answer.acks == {("gw", EPOCH)}


def test_a_refused_frame_under_a_stored_number_is_a_conflict_too(ingest: Ingest) -> None:
    commit, answer = ingest.hear(frame(1), frame(1, "m", BAD))
    assert reasons(commit) == ["number_conflict"]
    assert answer.new_epochs == {"gw"}


def test_a_refused_frame_ahead_of_a_hole_is_left_like_any_other(ingest: Ingest) -> None:
    commit, answer = ingest.hear(frame(1), frame(3, "m", BAD))
    assert commit.quarantined == []
    assert answer.acks == {("gw", EPOCH)}
    commit, _ = ingest.hear(frame(2), frame(3, "m", BAD))
    assert (reasons(commit), ingest.acked()) == (["not_finite"], 3)


def test_a_refused_frame_that_names_its_metrics_is_numbered_too(ingest: Ingest) -> None:
    message = proto.parse(frame(1, "m", BAD).payload)
    for metric, name in zip(message.metrics, ("Frame/Epoch", "Frame/Number", "power_active"), strict=True):
        metric.ClearField("alias")
        metric.name = name
    ingest.hear(record(MessageType.DDATA, message.SerializeToString(), "m"))
    assert ingest.acked() == 1


def test_a_frame_before_its_birth_is_refused_and_the_birth_is_asked_for(ingest: Ingest) -> None:
    commit, answer = ingest.hear(frame(1, "late"))
    assert reasons(commit) == ["no_birth"]
    assert (answer.rebirths, answer.acks) == ({"gw"}, set())
    ingest.hear(dbirth("late"), frame(1, "late"))
    assert ingest.numbers() == [1]


def test_births_are_not_asked_for_again_and_again(ingest: Ingest) -> None:
    asked = [
        ingest.hear(msgspec.structs.replace(frame(1, "late"), received_ms=NOW_MS + t_ms))[1].rebirths
        for t_ms in range(0, 4500, 500)
    ]
    assert [number * 500 for number, answer in enumerate(asked) if answer] == [
        0,
        REBIRTH_PAUSE_MS,
        2 * REBIRTH_PAUSE_MS,
    ]


def test_a_new_birth_of_the_gateway_ends_those_of_its_meters(ingest: Ingest) -> None:
    """tck-id-payloads-nbirth-*: after NBIRTH every device has to be born again."""
    commit, _ = ingest.hear(nbirth(), frame(1))
    assert reasons(commit) == ["no_birth"]


def test_a_frame_whose_birth_was_lost_is_stored_once_the_birth_has_come(ingest: Ingest) -> None:
    renewed = frame(1, "m", total(alias=12))
    commit, answer = ingest.hear(renewed)
    assert (reasons(commit), answer.rebirths, answer.acks) == (["unknown_metric"], {"gw"}, set())
    ingest.hear(dbirth(total_alias=12), renewed)
    assert ingest.numbers() == [1]


def test_a_frame_that_not_even_the_birth_asked_for_declares_counts_as_stored(ingest: Ingest) -> None:
    strange = frame(1, "m", total(alias=99))
    ingest.hear(strange)
    _, answer = ingest.hear(dbirth(), strange, frame(2))
    assert answer.acks == {("gw", EPOCH)}
    assert (ingest.numbers(), ingest.acked()) == ([2], 2)


def online(ingest: Ingest) -> tuple[bool, int]:
    return ingest.sessions["gw"].online, ingest.sessions["gw"].since_ms


def test_only_the_death_of_the_session_that_was_born_counts(ingest: Ingest) -> None:
    """tck-id-payloads-ndeath-bdseq: a will left over from an older session carries an older number."""
    ingest.hear(nbirth(bdseq=4, t_ms=NOW_MS + 1))
    ingest.hear(ndeath(3, t_ms=NOW_MS + 2))
    assert online(ingest) == (True, NOW_MS + 1)
    ingest.hear(ndeath(4, t_ms=NOW_MS + 3))
    assert online(ingest) == (False, NOW_MS + 3)


def test_a_gateway_that_sends_is_online_since_then(ingest: Ingest) -> None:
    ingest.hear(ndeath(0, t_ms=NOW_MS + 1))
    ingest.hear(frame(1, t_ms=NOW_MS + 2), frame(2, t_ms=NOW_MS + 3))
    assert online(ingest) == (True, NOW_MS + 2)


def test_the_death_of_a_meter_is_an_event_and_needs_no_metrics(ingest: Ingest) -> None:
    commit, _ = ingest.hear(record(MessageType.DDEATH, (), "m"))
    assert [(event.kind, event.detail) for event in commit.events] == [("meter_offline", {"meter": "m"})]
    assert commit.quarantined == []


def test_after_a_restart_frames_decode_without_new_births(ingest: Ingest) -> None:
    ingest.hear(frame(1))
    ingest.restart()
    commit, answer = ingest.hear(frame(1), frame(2), frame(3, "n"))
    assert (answer.rebirths, reasons(commit)) == (set(), [])
    assert ingest.numbers() == [1, 2, 3]


def test_after_a_restart_nobody_is_online_until_heard(ingest: Ingest) -> None:
    ingest.restart()
    ingest.hear(ndeath(7, t_ms=NOW_MS + 5))
    assert online(ingest) == (False, NOW_MS + 5)


def foreign(value: int, gateway: str = "other") -> Record:
    message = proto.Payload(timestamp=NOW_MS, seq=1)
    message.metrics.add(name="kWh", datatype=DataType.INT32, int_value=value & 0xFFFF_FFFF)
    return record(MessageType.DDATA, message.SerializeToString(), "meter-1", gateway)


def foreign_birth() -> Iterable[Record]:
    node, device = proto.Payload(timestamp=NOW_MS, seq=0), proto.Payload(timestamp=NOW_MS, seq=1)
    node.metrics.add(name="bdSeq", datatype=DataType.INT64, long_value=0)
    node.metrics.add(name="Properties/Table", datatype=16).dataset_value.num_of_columns = 2
    device.metrics.add(name="kWh", datatype=DataType.INT32, is_null=True)
    yield record(MessageType.NBIRTH, node.SerializeToString(), gateway="other")
    yield record(MessageType.DBIRTH, device.SerializeToString(), "meter-1", "other")


def test_frames_of_a_foreign_node_are_taken_as_they_come_and_never_acknowledged() -> None:
    ingest = Ingest()
    ingest.hear(*foreign_birth())
    said = [foreign(5), foreign(5), foreign(-3)]
    commit, answer = ingest.hear(*said)
    assert [entry.record for entry in commit.entries] == said
    assert answer.acks == set()
    ingest.restart()
    ingest.hear(foreign(8))
    assert ingest.numbers(epoch=0) == [1, 2, 3, 4]


def test_commands_are_not_stored(ingest: Ingest) -> None:
    """DCMD comes along with the park's wildcard; it is some host's word, not a gateway's."""
    commit, _ = ingest.hear(
        record(MessageType.DCMD, [Metric(name="x", timestamp=1, datatype=1, value=1)], "m")
    )
    assert (commit.entries, commit.quarantined) == ([], [])


@given(
    st.integers(1, 25),
    st.integers(1, 6),
    st.sets(st.integers(1, 25)),
    st.integers(0, 6),
    st.randoms(use_true_random=False),
)
@settings(max_examples=100)
def test_whatever_the_network_does_every_frame_is_stored_once_and_in_order(
    count: int, window: int, bad: set[int], rounds: int, chance: random.Random
) -> None:
    """A go-back-N sender over a network that loses, doubles and reorders, with restarts of ingest in between."""
    ingest, known, kept = Ingest(), 0, []
    said = {n: frame(n, "mn"[n % 2], *([BAD] if n in bad else [])) for n in range(1, count + 1)}
    ingest.hear(*births("m", "n"))
    while known < count:
        sent = [said[n] for n in range(known + 1, min(known + window, count) + 1)]
        if rounds:
            sent = [item for item in sent for _ in range(chance.choice((0, 1, 1, 2)))]
            sent += [said[chance.randint(1, max(known, 1))]] * chance.randint(0, 1)
            chance.shuffle(sent)
        cut = chance.randint(0, len(sent))
        for part in (sent[:cut], sent[cut:]):
            kept += [item.index for item in ingest.hear(*part)[0].quarantined]
        if rounds and not chance.randint(0, 3):
            ingest.restart()
        if not rounds or chance.randint(0, 2):
            known = ingest.acked()
        rounds = max(rounds - 1, 0)
    refused = [item.number for item in kept if item is not None]
    assert ingest.numbers() == [n for n in range(1, count + 1) if n not in bad]
    assert refused == sorted(bad & set(range(1, count + 1)))


@pytest.mark.parametrize("t_ms", [5_000, NOW_MS, NOW_MS + 86_400_000])
def test_a_time_request_is_answered_whatever_its_own_clock_says_and_stored_nowhere(
    ingest: Ingest, t_ms: int
) -> None:
    commit, answer = ingest.hear(frame(1), time_request(4711, t_ms), time_request(4712, t_ms))
    assert answer.times == {"gw": (EPOCH, 4712)}
    assert len(commit.entries) == 1
    assert commit.quarantined == []
    assert ingest.hear(frame(2))[1].times == {}


def test_a_lost_range_that_has_grown_is_no_conflict_with_what_is_stored(ingest: Ingest) -> None:
    ingest.hear(*(frame(n) for n in range(1, 6)), lost(6, 9))
    for again in (lost(6, 9), lost(3, 9), lost(2, 4)):
        commit, answer = ingest.hear(again)
        assert (reasons(commit), kinds(commit), answer.new_epochs) == ([], [], set())
        assert answer.acks == {("gw", EPOCH)}
    commit, _answer = ingest.hear(lost(4, 12))
    assert kinds(commit) == ["frames_lost"]
    assert ingest.acked() == 12


def test_thinned_ranges_of_one_commit_are_one_event(ingest: Ingest) -> None:
    said = [frame(1), lost(2, 4, thinned=True), frame(5), lost(6, 9, thinned=True), frame(10)]
    commit, _answer = ingest.hear(*said)
    [event] = commit.events[1:]
    assert (event.kind, event.detail) == (
        "frames_thinned",
        {"epoch": EPOCH, "first": 2, "last": 9, "frames": 7},
    )
    assert ingest.acked() == 10


SERIAL_ALIAS = 20


def birth_saying(serial: str | None) -> Record:
    """A meter's birth with its serial number, or with the place for one."""
    return record(
        MessageType.DBIRTH,
        [
            Metric(name=frames.FRAME_EPOCH, alias=1, timestamp=NOW_MS, datatype=DataType.UINT64, value=EPOCH),
            Metric(name=frames.FRAME_NUMBER, alias=2, timestamp=NOW_MS, datatype=DataType.UINT64, is_null=True),
            Metric(
                name=frames.SERIAL, alias=SERIAL_ALIAS, timestamp=NOW_MS, datatype=DataType.STRING, value=serial,
                is_null=serial is None,
            ),
        ],
        "m",
    )  # fmt: skip


def saying(number: int, serial: str) -> Record:
    """A frame with the meter's serial number."""
    return frame(number, "m", Metric(alias=SERIAL_ALIAS, timestamp=NOW_MS, value=serial))


def serials(commit: Commit) -> list[tuple[str, str]]:
    return [(e.detail["expected"], e.detail["serial"]) for e in commit.events if e.kind == SERIAL_CHANGED]


def test_another_serial_number_than_before_is_an_event_once_and_survives_a_restart() -> None:
    ingest = Ingest()
    first, _answer = ingest.hear(nbirth(), birth_saying(None), saying(1, "A"), saying(2, "A"))
    assert serials(first) == []
    changed, _answer = ingest.hear(saying(3, "B"), saying(4, "B"), saying(3, "B"))
    assert serials(changed) == [("A", "B")]
    ingest.hear(birth_saying("B"))
    ingest.restart()
    again, _answer = ingest.hear(saying(5, "B"), saying(6, "C"))
    assert serials(again) == [("B", "C")]


def test_the_registry_says_which_serial_number_is_expected_also_after_a_declared_exchange() -> None:
    meter = {"id": "m", "gateway": "gw", "roles": {"energy_import_total": "grid_boundary"}, "serial": "A"}
    exchange = {
        "at": "2026-01-14T03:07:00",
        "closing": {"energy_import_total": 2},
        "opening": {"energy_import_total": 1},
        "serial": "B",
    }
    plain = PARK.model_dump(mode="json")
    for exchanges, heard, expected in (
        ([], "A", []), ([], "B", [("A", "B")]), ([exchange], "B", []), ([exchange], "A", [("B", "A")]),
    ):  # fmt: skip
        host = Host(parse_registry({**plain, "meters": [{**meter, "exchanges": exchanges}]}), Remembered())
        for item in (nbirth(), birth_saying(None), saying(1, heard)):
            host.receive(item)
        assert serials(host.close_commit()) == expected
