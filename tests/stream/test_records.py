"""A block of records is the records, however they are cut into bodies; entries are sorted as Python would."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.topics import Topic, parse_topic
from storage.errors import CorruptError
from storage.segment import HEAD_BYTES, Record, packed
from stream.entries import Entries, in_time_order
from stream.kernels import columns as c
from stream.kernels import records as r
from stream.records import DATA, Block, ByTopic, Topics
from tests.stream.strategies import births, frame, uncompiled

TOPICS = st.one_of(
    st.sampled_from(["", "x", "spBv1.0/p/DDATA/g/m", "spBv1.0/p/DDATA/g/n", "spBv1.0/p/DBIRTH/g/m", "spBv1.0/p/NDATA/g"]),
    st.text(max_size=30),
)  # fmt: skip
RECORDS = st.lists(st.builds(Record, TOPICS, st.binary(max_size=40), st.integers(-(1 << 63), (1 << 63) - 1)))


def bodies(records: list[Record], size: int) -> list[bytes]:
    return [b"".join(packed(records[at : at + size])) for at in range(0, len(records), size)]


@settings(max_examples=100, deadline=None)
@given(RECORDS, st.integers(1, 5), st.integers(0, 9), st.integers(0, 9))
def test_a_block_is_its_records(records: list[Record], size: int, start: int, stop: int) -> None:
    block, counts = Block.of_bodies(bodies(records, size))
    assert list(block) == records
    assert sum(counts) == len(block)
    assert counts[:-1] == [size] * (len(counts) - 1)
    assert list(block[start:stop]) == records[start:stop]
    assert [block.topics[code] for code in block.places[r.CODE].tolist()] == [
        parse_topic(record.topic) for record in records
    ]
    assert list(Block.of(records)) == records


@settings(max_examples=10, deadline=None)
@given(RECORDS)
def test_plain_python_cuts_a_block_alike(records: list[Record]) -> None:
    compiled = Block.of(records)
    with uncompiled():
        plain = Block.of(records)
    assert (plain.places == compiled.places).all()


def test_many_topics_get_one_number_each() -> None:
    records = [Record(f"spBv1.0/p/DDATA/g/m{i % 700}", b"", i) for i in range(2100)]
    codes = Block.of(records).places[r.CODE]
    assert codes.tolist() == [i % 700 for i in range(2100)]


@settings(max_examples=100, deadline=None)
@given(RECORDS.filter(bool), st.integers(1, 13))
def test_a_body_that_ends_inside_a_record_is_refused(records: list[Record], missing: int) -> None:
    whole = bodies(records, len(records))[0]
    with pytest.raises(CorruptError):
        Block.of_bodies([whole, whole[:-missing]])


def test_a_topic_that_is_no_text_is_refused() -> None:
    body = b"".join(packed([Record("xx", b"payload", 1)])).replace(b"xx", b"\xff\xfe")
    with pytest.raises(CorruptError, match="UTF-8"):
        Block.of_bodies([body])


def test_topics_keep_their_numbers_from_batch_to_batch_whatever_is_refused_between() -> None:
    topics = Topics()
    spelt = [f"spBv1.0/p/DDATA/g/m{i}" for i in range(200)]
    for size in (1, 20, 90, 200):
        body = b"".join(packed([Record(topic, b"", 1) for topic in spelt[:size]]))
        block, _counts = Block.of_bodies([body], topics)
        assert block.places[r.CODE].tolist() == list(range(size))
        assert topics[:] == [parse_topic(topic) for topic in spelt[:size]]
        assert topics.kinds.tolist() == [DATA] * size
        bad = [
            b"".join(packed([Record(f"xx{size}{i}", b"", 1)])).replace(b"xx", b"\xff\xfe") for i in range(50)
        ]
        with pytest.raises(CorruptError, match="UTF-8"):
            Block.of_bodies(bad, topics)


def test_what_follows_from_a_topic_is_asked_once() -> None:
    topics, asked = Topics(), list[Topic | None]()

    def ask(topic: Topic | None) -> int:
        asked.append(topic)
        return len(asked)

    length = ByTopic(ask)
    for size in (2, 2, 5):
        Block.of_bodies(
            [b"".join(packed([Record(f"spBv1.0/p/DDATA/g/m{i}", b"", 1) for i in range(size)]))], topics
        )
        assert length(topics).tolist() == list(range(1, size + 1))
    assert asked == topics[:]


def test_the_kernels_know_the_size_of_a_record_s_head() -> None:
    assert r.HEAD_BYTES == HEAD_BYTES


@settings(max_examples=200, deadline=None)
@given(
    told=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 3)), max_size=60),
    backwards=st.booleans(),
)
def test_entries_come_by_channel_time_and_size(told: list[tuple[int, int, int]], *, backwards: bool) -> None:
    """Backwards, a whole backlog newest first, which insertion gives up."""
    told = sorted(told * 40, reverse=True) if backwards else told
    channel, t, register = np.array(told, np.int64).reshape(-1, 3).T
    terms = np.zeros((4, c.TERM_COLUMNS), np.int64)
    terms[:, c.T_CHANNEL] = range(4)
    kind = np.arange(len(told)).astype(np.int8)
    found = in_time_order(Entries(channel.copy(), kind, t.copy(), register.copy(), terms), 4)
    assert list(
        zip(found.channel.tolist(), found.t.tolist(), found.register.tolist(), strict=True)
    ) == sorted(told)
    assert found.kind.tolist() == [kind[i] for i in sorted(range(len(told)), key=lambda i: (told[i], i))]


def test_some_records_of_a_block_lie_as_the_kernels_expect_them() -> None:
    """Columns with a stride would be compiled for once more, in the middle of a run."""
    block = Block.of([*births(), *(frame("pv", i, i) for i in range(20))])
    some = block.taken(np.arange(len(block)) % 3 > 0)
    assert [*some] == [record for i, record in enumerate(block) if i % 3]
    assert all(row.flags.c_contiguous for row in some.places)
