"""The clients against real servers: InfluxDB, and victoria-metrics for the v2 write path."""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.errors import StoreError
from storage.influx import (
    RETENTIONS,
    InfluxDeniedError,
    InfluxDownError,
    InfluxMissingError,
    InfluxRequestError,
    Target,
    WriterV1,
    WriterV2,
    connect,
    detect,
    judged,
    major_of,
)
from storage.influx_setup import examine, init
from tests.fakes.influx import KINDS, AnyWriter, InfluxDB, VictoriaMetrics, influxdb
from tests.fakes.influx_api import InfluxV2, InfluxV3

DAY_MS = 24 * 3_600_000
T_MS = 1_795_000_000_000


VERSIONS = {"debian": ("1.6.7", "1"), "1": ("1.", "1"), "2": ("2.", "2")}


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InfluxDB]:
    with influxdb(request.param, tmp_path) as running:
        yield running


@pytest.fixture
def writer(server: InfluxDB) -> Iterator[AnyWriter]:
    init(server.target)
    opened = connect(server.target)
    yield opened
    opened.close()


def test_the_server_says_its_version_itself(server: InfluxDB) -> None:
    version, major = VERSIONS[server.kind]
    assert detect(server.target).startswith(version)
    assert major_of(server.target) == examine(server.target).major == major
    opened = connect(server.target)
    assert type(opened) is (WriterV1 if major == "1" else WriterV2)
    opened.close()


def test_init_makes_what_is_missing_corrects_what_is_wrong_and_then_does_nothing(server: InfluxDB) -> None:
    target = server.target
    made = init(target)
    assert made
    assert init(target) == examine(target).missing == []
    server.shorten("live", days=3)
    [corrected] = examine(target).missing
    assert "35 days" in corrected
    assert init(target) == [corrected]
    assert examine(target).missing == []


def test_influxql_answers_for_both_policies_once_init_has_run(writer: AnyWriter) -> None:
    now_ms = time.time_ns() // 1_000_000
    for policy in RETENTIONS:
        assert writer.write(policy, [f"m,p={policy} v=1.0 {now_ms}"]) == []
    for policy in RETENTIONS:
        assert [row["p"] for row in writer.query(policy, "SELECT v, p FROM m")] == [policy]
        both = writer.query("history", f'SELECT last(v) AS v FROM "tanyun"."{policy}"."m" GROUP BY p')  # noqa: S608
        assert [(row["p"], row["v"]) for row in both] == [(policy, 1)]


def test_a_point_written_twice_is_one_point_with_the_later_value(writer: AnyWriter) -> None:
    assert writer.write("history", ["m,a=b v=1.0 5", "m,a=b v=2.0 6"]) == []
    assert writer.write("history", ["m,a=b v=3.0 5"]) == []
    assert [(row["time"], row["v"]) for row in writer.query("history", "SELECT v FROM m")] == [(5, 3), (6, 2)]


def test_bad_lines_are_found_one_by_one_and_all_others_are_stored(writer: AnyWriter) -> None:
    lines = [f"m,a=b v={i}.0 {i}" for i in range(1000)]
    lines[17], lines[800] = "m,a=b v= 17", "m,a=b v=1i 800"
    assert [refused.line for refused in writer.write("history", lines)] == [lines[17], lines[800]]
    assert writer.query("history", "SELECT count(v) FROM m")[0]["count"] == 998


def test_lines_that_are_too_old_are_refused_at_once(writer: AnyWriter) -> None:
    lines = [f"m,a=b v=1.0 {i}" for i in range(6000)]
    refused = writer.write("live", lines)
    assert [item.line for item in refused] == lines
    assert "retention policy" in refused[0].reason


def test_a_missing_database_or_policy_is_told_apart_from_a_server_that_is_down(server: InfluxDB) -> None:
    writer = connect(server.target)
    for policy in RETENTIONS:
        with pytest.raises(InfluxMissingError):
            writer.write(policy, ["m v=1.0 1"])
        with pytest.raises(InfluxMissingError):
            writer.query(policy, "SELECT v FROM m")
    init(server.target)
    server.drop("live")
    with pytest.raises(InfluxMissingError):
        writer.write("live", ["m v=1.0 1"])
    server.kill()
    with pytest.raises(InfluxDownError):
        writer.write("history", ["m v=1.0 1"])
    with pytest.raises(InfluxDownError):
        detect(server.target)
    writer.close()


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, '{"error":"authorization failed"}', InfluxDeniedError),
        (403, '{"code":"forbidden","message":"insufficient permissions"}', InfluxDeniedError),
        (404, '{"code":"not found","message":"bucket \\"tanyun/live\\" not found"}', InfluxMissingError),
        (400, '{"error":"database not found: \\"tanyun\\""}', InfluxMissingError),
        (500, '{"error":"retention policy not found: live"}', InfluxMissingError),
        (
            422,
            '{"code":"unprocessable entity","message":"failure writing points: dropped=2"}',
            InfluxRequestError,
        ),
        (400, "not json", InfluxRequestError),
        (429, '{"message":"too many requests"}', InfluxDownError),
        (503, "", InfluxDownError),
        (504, '["surprising"]', InfluxDownError),
    ],
)
def test_an_http_error_is_down_missing_denied_or_the_lines_own_fault(
    status: int, body: str, error: type[StoreError]
) -> None:
    assert type(judged(status, body, "http://x")) is error


def test_a_secret_is_in_no_message() -> None:
    target = Target("http://127.0.0.1:9", version="1", user="u", secret="s3cret-s3cret")
    writer = WriterV1(target)
    with pytest.raises(InfluxDownError) as caught:
        writer.write("history", ["m v=1.0 1"])
    assert "s3cret" not in str(caught.value)
    writer.close()


def test_the_same_lines_go_through_the_v2_write_path(tmp_path: Path) -> None:
    lines = [f"reading,meter=m{i % 3} value={i}.5 {T_MS + i}" for i in range(7000)]
    with VictoriaMetrics(tmp_path) as server:
        writer = WriterV2(Target(server.url, version="2", secret="any", org="tanyun"))
        assert writer.write("live", lines) == []
        assert writer.write("live", lines[:100]) == []
        writer.close()
        found: dict[tuple[str, int], float] = {}
        query = urllib.parse.urlencode(
            {"match[]": "reading_value", "start": T_MS / 1000 - 1, "end": T_MS / 1000 + 60}
        )
        with (
            urllib.request.urlopen(f"{server.url}/internal/force_flush"),  # noqa: S310
            urllib.request.urlopen(f"{server.url}/api/v1/export?{query}") as answer,  # noqa: S310
        ):
            for text in answer:
                series = json.loads(text)
                stamps = zip(series["timestamps"], series["values"], strict=True)
                found |= {(series["metric"]["meter"], t): value for t, value in stamps}
    assert found == {(f"m{i % 3}", T_MS + i): i + 0.5 for i in range(7000)}


def test_a_v2_server_that_is_down_is_down(tmp_path: Path) -> None:
    server = VictoriaMetrics(tmp_path)
    writer = WriterV2(Target(server.url, version="2", secret="any"))
    with pytest.raises(InfluxDownError):
        writer.write("live", ["m v=1.0 1"])
    writer.close()


def test_buckets_and_mappings_are_made_once_on_2() -> None:
    with InfluxV2() as server:
        target = Target(server.url, secret="token", org="tanyun")
        assert examine(target).major == "2"
        assert init(target) == [
            "bucket tanyun/live, 35 days", "DBRP mapping tanyun/live",
            "bucket tanyun/history, for ever", "DBRP mapping tanyun/history, the default",
        ]  # fmt: skip
        assert server.buckets == {"tanyun/live": 35 * DAY_MS // 1000, "tanyun/history": 0}
        assert server.mappings == {("tanyun", "live"): "tanyun/live", ("tanyun", "history"): "tanyun/history"}
        assert init(target) == examine(target).missing == []
        server.buckets["tanyun/live"] = 60
        assert init(target) == ["retention of bucket tanyun/live: 35 days"]
        server.default = ("tanyun", "live")
        assert init(target) == ["DBRP mapping tanyun/history, the default"]
        assert init(target) == []


def test_a_wrong_token_or_organization_is_said_so_on_2() -> None:
    with InfluxV2() as server:
        with pytest.raises(InfluxDeniedError):
            init(Target(server.url, secret="wrong", org="tanyun"))
        with pytest.raises(InfluxRequestError, match="no organization 'other'"):
            init(Target(server.url, secret="token", org="other"))


def test_bad_lines_are_found_on_2_as_well() -> None:
    with InfluxV2() as server:
        target = Target(server.url, secret="token", org="tanyun")
        init(target)
        writer = WriterV2(target)
        refused = writer.write("history", ["m v=1.0 1", "bad", "m v=2.0 2"])
        assert [item.line for item in refused] == ["bad"]
        assert server.lines["tanyun/history"] >= {"m v=1.0 1", "m v=2.0 2"}
        del server.buckets["tanyun/history"]
        with pytest.raises(InfluxMissingError):
            writer.write("history", ["m v=1.0 1"])
        writer.close()


def test_databases_are_made_once_on_3() -> None:
    with InfluxV3() as server:
        target = Target(server.url, secret="token")
        assert examine(target).major == "3"
        assert init(target) == ["database tanyun/live, 35 days", "database tanyun/history, for ever"]
        assert server.databases == {"tanyun/live": "35d", "tanyun/history": None}
        assert init(target) == []
