"""The live picture and the stream that carries it."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx

from api import queries
from api.app import create_app
from api.inventory import Flow, flows, tally
from api.stream_events import HEARTBEAT, LiveFeed, Render
from metering.intervals import HOUR_MS, QUARTER_MS, Span, local_day, local_month
from metering.roles import Role
from storage.ledger import IntervalRow, LatestRow


def picture(files: Any, now_ms: int) -> Any:
    return queries.live(create_app(files.settings(), lambda: now_ms).state.sources)


def test_today_and_the_month_follow_the_formula_exactly(files: Any, now_ms: int) -> None:
    live = picture(files, now_ms)
    for period, span in (
        ("today", local_day(now_ms, files.park.tz)),
        ("month", local_month("2026-11", files.park.tz)),
    ):
        expected = files.energy_wh("a-in", "energy_import_total", *span) - files.energy_wh(
            "a-resold", "energy_import_total", *span
        )
        assert getattr(live.enterprises[0], period).energy_wh == expected
    assert [figure.use for figure in live.park.today.emissions] == ["park", "enterprise"]
    assert live.provisional


def test_power_is_the_import_at_the_boundary_and_never_netted(files: Any, new_park: Any, now_ms: int) -> None:
    live = picture(files, now_ms)
    power = {meter.id: meter.power_w for meter in live.meters}
    assert live.park.power_w == power["a-in"] + power["b-in"] + power["c-in"]
    assert live.enterprises[0].pv_w == power["a-pv"]
    changed = new_park()
    changed.add_power("a-in", -50_000.0)
    exporting = picture(changed, now_ms).enterprises[0]
    assert (exporting.power_w, exporting.export_w) == (0.0, 50_000.0)


def test_a_silent_boundary_meter_is_named_and_not_taken_as_zero(files: Any, now_ms: int) -> None:
    later = picture(files, now_ms + HOUR_MS)
    assert later.park.power_w is None
    assert later.park.power_missing == ["a-in", "b-in", "c-in"]
    assert later.mode == "idle"
    assert {meter.state for meter in later.meters} == {"silent", "pending", "never"}


def test_while_old_readings_arrive_the_picture_is_of_their_time(new_park: Any, now_ms: int) -> None:
    park = new_park()
    days = 5 * 24 * HOUR_MS
    park.add_power("b-in", 1000.0, now_ms=now_ms + days)
    live = picture(park, now_ms + days)
    assert live.mode == "live"
    sources = create_app(park.settings(), lambda: now_ms + days).state.sources
    moment = queries.moment(sources, [LatestRow("b-in", "power_active", now_ms, 1.0, now_ms + days - 5)])
    assert (moment.mode, moment.as_of_ms) == ("catching_up", now_ms)


def test_the_curve_has_a_gap_where_a_meter_has_no_interval() -> None:
    assert queries._signed_sum([(1, 100), (-1, None)]) is None
    assert queries._signed_sum([(1, 100), (-1, 30)]) == 70
    row = IntervalRow(
        "m", "energy_import_total", 0, QUARTER_MS, 0, 1, 0, 250, None, None, QUARTER_MS, True, 0, True
    )
    assert queries.quarter_means([row]) == {0: 1000}


def test_days_are_added_to_what_is_known_of_the_month(files: Any, now_ms: int) -> None:
    sources = create_app(files.settings(), lambda: now_ms).state.sources
    start_ms, key = local_month("2026-11", files.park.tz).start_ms, ("b-in", "energy_import_total")
    with sources.ledger() as ledger:
        for days in (0, 3, 10, 2, 10):
            span = Span(start_ms, start_ms + days * 24 * HOUR_MS)
            expected = {key: files.energy_wh(*key, *span)} if days else {}
            assert sources.past_days.sums(ledger, [key], span) == expected


def test_a_tally_names_the_meters_it_lacks() -> None:
    terms = [Flow("a", "t", Role.GRID_BOUNDARY, 1), Flow("b", "t", Role.RESOLD, -1)]
    partly = tally(terms, {("a", "t"): 7})
    assert (partly.energy_wh, partly.missing) == (7, ("b",))
    assert tally(terms, {}).energy_wh is None


def test_only_the_formulas_roles_count(files: Any) -> None:
    park = files.park
    found = flows(park.meters_of("ent-a"), park.enterprises[0].formula)
    assert [(flow.meter, flow.sign) for flow in found] == [("a-in", 1), ("a-resold", -1)]


def test_live_takes_less_than_thirty_milliseconds(files: Any, now_ms: int) -> None:
    sources = create_app(files.settings(), lambda: now_ms).state.sources
    queries.live(sources)
    times_s = []
    for _ in range(5):
        started_s = time.perf_counter()
        queries.live(sources)
        times_s.append(time.perf_counter() - started_s)
    assert min(times_s) < 0.030


def events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_stream_sends_one_picture_at_once_and_one_after_each_change(serve: Any, new_park: Any) -> None:
    park = new_park()
    headers = {"Authorization": f"Bearer {park.key(('operator', '*'))}"}
    with (
        serve(park=park) as url,
        httpx.stream("GET", f"{url}/api/v1/stream", timeout=10, headers=headers) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        received = events(answer.iter_lines())
        first = next(received)
        park.add_power("b-in", 5_000_000.0)
        second = next(received)
    assert second["change_seq"] == first["change_seq"] + 1
    assert second["enterprises"][1]["power_w"] == 5_000_000.0


def test_one_poller_serves_all_clients_and_stops_with_the_last() -> None:
    reads: list[int] = []

    def picture() -> tuple[int, Render]:
        reads.append(1)
        return 1, lambda _scope: b"{}"

    async def scenario() -> None:
        feed = LiveFeed(lambda: 1, picture, poll_s=0.001, heartbeat_s=5)
        clients = [feed.events() for _ in range(10)]
        for client in clients:
            assert (await anext(client)).startswith(b"retry")
            assert b"event: live\nid: 1\ndata: {}" in await anext(client)
        assert (feed.clients, len(reads)) == (10, 1)
        for client in clients:
            await client.aclose()
        assert (feed.clients, feed._poller) == (0, None)

    asyncio.run(scenario())


def test_an_unchanged_ledger_sends_heartbeats_only() -> None:
    async def scenario() -> list[bytes]:
        client = LiveFeed(
            lambda: 1, lambda: (1, lambda _scope: b"{}"), poll_s=0.001, heartbeat_s=0.02
        ).events()
        received = [await anext(client) for _ in range(4)]
        await client.aclose()
        return received

    assert asyncio.run(scenario())[2:] == [HEARTBEAT, HEARTBEAT]


def test_the_poller_outlives_a_ledger_that_cannot_be_read() -> None:
    faults = [OSError("gone"), OSError("gone")]

    def change_seq() -> int:
        if faults:
            raise faults.pop()
        return 7

    async def scenario() -> bytes:
        client = LiveFeed(change_seq, lambda: (7, lambda _scope: b"{}"), poll_s=0.001).events()
        await anext(client)
        found = await anext(client)
        await client.aclose()
        return found

    assert b"id: 7" in asyncio.run(scenario())
