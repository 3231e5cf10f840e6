"""The line-protocol encoder: what it writes is what influxd reads, and what InfluxData's own client writes."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from influxdb_client.client.write.point import Point

from storage.influx import connect
from storage.influx_setup import init
from storage.line_protocol import MAX_T_MS, escaped, point, series, single
from tests.fakes.influx import KINDS, AnyWriter, influxdb

NASTY = [
    "plain", "总进线 1", "a,b", "a=b", "a b", 'quote"quote', "back\\slash", "two\\\\ x", "é€😀", "#hash", "'single'", "a\\ b",
    "a\\,b", "a\\=b", "comma, and = and space",
]  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def writer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyWriter]:
    folder: Path = tmp_path_factory.mktemp("influxd")
    with influxdb(request.param, folder) as server:
        init(server.target)
        opened = connect(server.target)
        yield opened
        opened.close()


def test_texts_of_the_corpus_come_back_as_they_went(writer: AnyWriter) -> None:
    lines = [point(series("corpus", {"t": text}), [("said", text)], i) for i, text in enumerate(NASTY)]
    assert writer.write("history", [line for line in lines if line]) == []
    rows = sorted(writer.query("history", "SELECT said, t FROM corpus"), key=lambda row: row["time"])
    assert [(row["t"], row["said"]) for row in rows] == [(text, text) for text in NASTY]


def test_what_the_grammar_cannot_carry_is_made_harmless(writer: AnyWriter) -> None:
    ends = point(series("harmless", {"t": "ends\\", "b": "x"}), [("v", 1)], 1)
    breaks = point(series("harmless", {"t": "two\nlines", "b": "x"}), [("v", 2), ("said", "a\r\nb\0c")], 2)
    assert writer.write("history", [line for line in (ends, breaks) if line]) == []
    rows = sorted(writer.query("history", "SELECT v, said, t FROM harmless"), key=lambda row: row["time"])
    assert [(row["t"], row["said"]) for row in rows] == [("ends\\ ", None), ("two lines", "a  bc")]


def test_numbers_come_back_to_the_last_bit(writer: AnyWriter) -> None:
    numbers = [
        0.0,
        -0.0,
        0.1,
        1e-300,
        5e-324,
        1.7976931348623157e308,
        1e16,
        123456789012345680.0,
        -1.5,
        2 / 3,
        1e-05,
        1e22,
    ]
    head = single(series("numbers", {"t": "x"}), "value")
    assert writer.write("history", [f"{head}{value!r} {i}" for i, value in enumerate(numbers)]) == []
    rows = sorted(writer.query("history", "SELECT value FROM numbers"), key=lambda row: row["time"])
    assert [row["value"] for row in rows] == numbers


@pytest.mark.parametrize("value", [True, 1, 1.0])
def test_every_number_is_a_float_for_ever(value: float) -> None:
    assert point("m,a=b", [("v", value)], 5) == "m,a=b v=1.0 5"


def test_what_is_no_number_is_left_out_and_an_empty_point_is_none() -> None:
    fields = [("a", math.nan), ("b", math.inf), ("c", None), ("d", 2)]
    assert point("m", fields, 5) == "m d=2.0 5"
    assert point("m", fields[:3], 5) is None


def test_a_tag_without_a_value_is_left_out_and_tags_are_sorted() -> None:
    assert series("m", {"b": "2", "a": "1", "c": ""}) == "m,a=1,b=2"


def test_the_last_millisecond_is_taken_and_one_more_is_not(writer: AnyWriter) -> None:
    assert writer.write("history", [f"edge v=1.0 {MAX_T_MS}", f"edge v=1.0 {-MAX_T_MS}"]) == []
    [refused] = writer.write("history", [f"edge v=1.0 {MAX_T_MS + 1}"])
    assert "time outside range" in refused.reason


def _made() -> Any:
    return Point("m")  # type: ignore[no-untyped-call]


TEXT = st.text(
    st.characters(blacklist_categories=["Cc", "Cs"], blacklist_characters='\\"'), min_size=1, max_size=12
)


@given(TEXT, TEXT, st.floats(allow_nan=False, allow_infinity=False, width=64), st.integers(0, MAX_T_MS))
def test_influxdatas_own_client_writes_the_same_line(tag: str, text: str, value: float, t_ms: int) -> None:
    theirs = (
        _made()
        .tag("t", tag)
        .field("s", text)
        .field("v", value)
        .time(t_ms, write_precision="ms")
        .to_line_protocol()
    )
    ours = point(series("m", {"t": tag}), [("s", text), ("v", value)], t_ms)
    assert ours is not None
    # Their integral floats lose the ".0"; the number is the same.
    head, _, rest = theirs.partition(",v=")
    assert ours.startswith(f"{head},v=")
    number, _, stamp = rest.partition(" ")
    assert (float(number), stamp) == (value, str(t_ms))


def test_escaping_an_id_changes_nothing() -> None:
    assert escaped("gw-1_a.B") == "gw-1_a.B"
