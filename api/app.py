"""The FastAPI application: routes under /api/v1, metrics, the page."""

import logging
import mimetypes
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from prometheus_client import CollectorRegistry
from starlette.datastructures import MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors, queries
from api.auth import require_token
from api.inventory import Inventory
from api.metrics import ParkCollector, RequestMetrics, metrics_router
from api.models import ProblemDocument
from api.routes import emissions, events, health, live, months, page, readings, registry
from api.settings import ApiSettings
from api.sources import Sources, system_clock
from api.stream_events import LiveFeed
from factors.table import FactorTable
from metering.registry import load_registry

log = logging.getLogger(__name__)

API = "/api/v1"
DESCRIPTION = """Energy and emissions of a metered park, read-only.

Energies (`*_wh`) and emissions (`*_ug`, micrograms of CO2) are integers sent as text. Times are UTC milliseconds
(`*_ms`) or ISO 8601 in the park's zone; intervals are half-open. Figures are provisional until their month is closed.
A missing reading or factor is null with a reason, never 0. Errors are problem documents (RFC 9457)."""

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SecurityHeaders:
    """ASGI middleware: the headers of every answer; data is not cached, page files are revalidated."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers.setdefault(
                    "Cache-Control", "no-store" if scope["path"].startswith("/api/") else "no-cache"
                )
            await send(message)

        await self._app(scope, receive, secured if scope["type"] == "http" else send)


def create_app(settings: ApiSettings, clock: Callable[[], int] = system_clock) -> FastAPI:
    """The application. RegistryError, FactorDataError or OSError when the registry or the factors cannot be used."""
    park = load_registry(settings.park)
    sources = Sources(settings, park, Inventory(FactorTable.load(), park, str(settings.park)), clock)
    feed = LiveFeed(lambda: _change_seq(sources), lambda: _live_document(sources))
    app = FastAPI(
        title="tanyun 碳云", version="1", description=DESCRIPTION,
        openapi_url=None, docs_url=None, redoc_url=None,
        responses={401: {"model": ProblemDocument}, 404: {"model": ProblemDocument},
                   422: {"model": ProblemDocument}, 503: {"model": ProblemDocument}},
    )  # fmt: skip
    app.state.settings, app.state.sources, app.state.feed = settings, sources, feed
    metrics = CollectorRegistry()
    metrics.register(ParkCollector(sources, lambda: feed.clients))
    errors.install(app)
    _include(app, metrics)
    app.add_middleware(RequestMetrics, registry=metrics)
    app.add_middleware(SecurityHeaders)
    return app


def _include(app: FastAPI, metrics: CollectorRegistry) -> None:
    guarded = APIRouter(prefix=API, dependencies=[Depends(require_token)])
    for module in (registry, readings, emissions, months, events, live):
        guarded.include_router(module.router)

    @guarded.get("/openapi.json", include_in_schema=False)
    def openapi() -> dict[str, Any]:
        return app.openapi()

    app.include_router(guarded)
    app.include_router(health.router, prefix=API)
    app.include_router(metrics_router(metrics), dependencies=[Depends(require_token)])
    app.include_router(page.router)
    mimetypes.add_type("text/javascript", ".js")  # some systems map it to text/plain, which a browser refuses
    app.mount("/static", StaticFiles(directory=page.STATIC), name="static")


def _change_seq(sources: Sources) -> int:
    with sources.ledger() as ledger:
        return ledger.change_seq()


def _live_document(sources: Sources) -> tuple[int, bytes]:
    picture = queries.live(sources)
    return picture.change_seq, picture.model_dump_json().encode()
