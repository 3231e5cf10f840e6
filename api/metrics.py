"""Prometheus metrics: state of the park read when scraped, and what the API itself does."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import queries
from api.access import require
from api.errors import Problem
from api.models import MeterState
from api.rights import Permission
from api.sources import Sources
from storage.errors import StoreError


class ParkCollector(Collector):
    """Gateways, meters, quarantine and ledger at the time of the scrape."""

    def __init__(self, sources: Sources, clients: Callable[[], int]) -> None:
        self._sources, self._clients = sources, clients

    def describe(self) -> Iterator[Metric]:
        """Nothing: the files need not be there when the collector is registered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "tanyun_stream_clients", "Listeners of the event stream.", value=self._clients()
        )
        try:
            yield from self._ledger()
            yield from self._journal()
        except (Problem, sqlite3.Error, StoreError):
            readable = 0
        else:
            readable = 1
        yield GaugeMetricFamily(
            "tanyun_storage_readable", "1 when ledger and journal could be read.", value=readable
        )

    def _ledger(self) -> Iterator[Metric]:
        with self._sources.ledger() as ledger:
            change_seq, readings = ledger.change_seq(), queries.newest(ledger)
        at = queries.moment(self._sources, readings.latest.values())
        meters = queries.meters(self._sources.park, readings, at)
        yield CounterMetricFamily("tanyun_ledger_changes", "Commits of the ledger.", value=change_seq)
        counts = {state.value: sum(meter.state is state for meter in meters) for state in MeterState}
        yield _gauge("tanyun_meters", "Meters by state.", counts, "state")
        last = {m.id: m.last_total_ms / 1000 for m in meters if m.last_total_ms is not None}
        yield _gauge(
            "tanyun_meter_last_total_timestamp_seconds", "Time of the last good total.", last, "meter"
        )
        power = {m.id: m.power_w for m in meters if m.power_w is not None}
        yield _gauge("tanyun_meter_power_watts", "Latest active power.", power, "meter")

    def _journal(self) -> Iterator[Metric]:
        with self._sources.journal() as journal:
            counts, segments = journal.quarantine_counts(), journal.last_segment()
        yield CounterMetricFamily("tanyun_journal_segments", "Segments of the journal.", value=segments)
        refused = CounterMetricFamily("tanyun_frames_quarantined", "Refused messages.", labels=["reason"])
        for reason, count in counts.items():
            refused.add_metric([reason], count)
        yield refused
        rows = queries.gateways(self._sources)
        yield _gauge(
            "tanyun_gateway_online",
            "1 when online.",
            {g.id: int(g.online or False) for g in rows},
            "gateway",
        )
        seen = {g.id: g.last_seen_ms / 1000 for g in rows if g.last_seen_ms is not None}
        yield _gauge("tanyun_gateway_last_seen_timestamp_seconds", "Last message arrived.", seen, "gateway")
        backlog = {g.id: g.backlog_ms / 1000 for g in rows if g.backlog_ms is not None}
        yield _gauge(
            "tanyun_gateway_backlog_seconds", "Age of the newest reading on arrival.", backlog, "gateway"
        )


def _gauge(name: str, text: str, values: Mapping[str, float], label: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


class RequestMetrics:
    """ASGI middleware: requests by route and status, and how long they took."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._requests = Counter("tanyun_api_requests", "Requests.", ["route", "status"], registry=registry)
        self._seconds = Histogram(
            "tanyun_api_request_seconds", "Time to the answer's head.", ["route"], registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "(none)")
                self._requests.labels(route, message["status"]).inc()
                self._seconds.labels(route).observe(time.perf_counter() - started_s)
            await send(message)

        await self._app(scope, receive, counted)


def metrics_router(registry: CollectorRegistry) -> APIRouter:
    """`GET /metrics` in the text format of Prometheus."""
    router = APIRouter(tags=["health"], dependencies=[require(Permission.METRICS_VIEW, park=True)])

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    def metrics() -> Response:
        """State of gateways, meters, quarantine, ledger and API."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
