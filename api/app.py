"""The FastAPI application: routes under /api/v1, metrics, the page."""

import logging
import mimetypes
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from starlette.staticfiles import StaticFiles

from api import errors, queries
from api.access import Limits, insist_on_rules, require
from api.body_limit import BodyLimit
from api.desk import Desk
from api.exchanges import Exchanges
from api.headers import SecurityHeaders
from api.inventory import Inventory
from api.metrics import ParkCollector, RequestMetrics, metrics_router
from api.models import LiveOut, ProblemDocument
from api.oidc import Oidc
from api.rights import Permission, Scope
from api.routes import (
    admin,
    declared,
    emissions,
    enrolment,
    events,
    facts,
    forms,
    health,
    life,
    live,
    months,
    page,
    people,
    periods,
    readings,
    registry,
    session,
    sign_in_elsewhere,
)
from api.routes import (
    exchanges as exchange_routes,
)
from api.settings import ApiSettings
from api.sources import Sources, system_clock
from api.stream_events import LiveFeed, Render
from api.throttle import LoginGuard
from api.uploads import Uploads
from factors.table import FactorTable
from metering.registry import load_registry

log = logging.getLogger(__name__)

API = "/api/v1"
DESCRIPTION = """Energy and emissions of a metered park.

Energies (`*_wh`) and emissions (`*_ug`, micrograms of CO2) are integers sent as text. Times are UTC milliseconds
(`*_ms`) or ISO 8601 in the park's zone; intervals are half-open. Figures are provisional until their month is closed.
A missing reading or factor is null with a reason, never 0. Errors are problem documents (RFC 9457)."""

PROBLEMS = (401, 403, 404, 413, 422, 429, 503)


def create_app(
    settings: ApiSettings,
    clock: Callable[[], int] = system_clock,
    desk: Desk | None = None,
    exchanges: Exchanges | None = None,
) -> FastAPI:
    """The application; without a desk it shows months, and nothing can be done to them.

    RegistryError, FactorDataError or OSError when the registry or the factors cannot be used.
    """
    park = load_registry(settings.park)
    sources = Sources(settings, park, Inventory(FactorTable.load(), park, str(settings.park)), clock)
    feed = LiveFeed(lambda: _change_seq(sources), lambda: _picture(sources))
    app = FastAPI(
        title="tanyun 碳云", version="1", description=DESCRIPTION,
        openapi_url=None, docs_url=None, redoc_url=None,
        responses={status: {"model": ProblemDocument} for status in PROBLEMS},
    )  # fmt: skip
    app.state.settings, app.state.sources, app.state.feed, app.state.clock = settings, sources, feed, clock
    app.state.desk, app.state.exchanges = desk, exchanges
    app.state.limits, app.state.guard, app.state.uploads = Limits(settings), LoginGuard(), Uploads()
    app.state.oidc = Oidc(settings.oidc) if settings.oidc is not None else None
    metrics = CollectorRegistry()
    metrics.register(ParkCollector(sources, lambda: feed.clients))
    errors.install(app)
    _include(app, metrics)
    app.add_middleware(RequestMetrics, registry=metrics)
    app.add_middleware(BodyLimit)
    app.add_middleware(SecurityHeaders)
    insist_on_rules(app)
    return app


def _include(app: FastAPI, metrics: CollectorRegistry) -> None:
    routes = APIRouter(prefix=API)
    for module in (
        registry, facts, readings, emissions, periods, declared, months, life, forms, exchange_routes,
        events, live, session, sign_in_elsewhere, admin, people,
        enrolment, health,
    ):  # fmt: skip
        routes.include_router(module.router)

    @routes.get("/openapi.json", include_in_schema=False, dependencies=[require(Permission.SELF)])
    def openapi() -> dict[str, Any]:
        return app.openapi()

    app.include_router(routes)
    app.include_router(metrics_router(metrics))
    app.include_router(page.router)
    mimetypes.add_type("text/javascript", ".js")  # some systems map it to text/plain, which a browser refuses
    app.mount("/static", StaticFiles(directory=page.STATIC), name="static")


def _change_seq(sources: Sources) -> int:
    with sources.ledger() as ledger:
        return ledger.change_seq()


def _picture(sources: Sources) -> tuple[int, Render]:
    picture = queries.live(sources)
    return picture.change_seq, lambda scope: _document(picture, scope)


def _document(picture: LiveOut, scope: Scope) -> bytes:
    return live.narrowed(picture, scope).model_dump_json().encode()
