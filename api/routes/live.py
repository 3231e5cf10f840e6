"""The live picture: once, or as a stream."""

from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api import queries
from api.access import Access, AccessDep, require
from api.errors import Problem
from api.identity import session_lives
from api.models import LiveOut
from api.rights import Permission, Scope
from api.sources import AllSources
from api.stream_events import LiveFeed
from metering.i18n import _

router = APIRouter(tags=["live"], dependencies=[require(Permission.DATA_VIEW)])


@router.get("/live", summary="The live picture")
def live(sources: AllSources, access: AccessDep) -> LiveOut:
    """Power now, energy and emission of today and of the month per enterprise and park, state of gateways and meters.

    Who may see single enterprises only gets those, and `park` is null.
    """
    return narrowed(queries.live(sources), access.scope)


@router.get(
    "/stream",
    summary="The live picture as server-sent events",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "Events `live`, data as of GET /live."}
    },
)
async def stream(request: Request, access: AccessDep) -> StreamingResponse:
    """One event when connecting and one whenever the ledger has changed, at most two a second; comments as heartbeat.

    It ends when the session or key does.
    """
    feed = request.app.state.feed
    assert isinstance(feed, LiveFeed)  # noqa: S101  set by create_app
    settings, who = request.app.state.settings, access.principal.name
    if not feed.has_room(who, settings.streams, settings.streams_each):
        raise Problem(429, "too many streams", _("too many event streams are open: close one, or try later"))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(request, access, feed), media_type="text/event-stream", headers=headers)


async def _events(request: Request, access: Access, feed: LiveFeed) -> AsyncGenerator[bytes, None]:
    """The feed's events for this caller, until he would not be let in any more."""
    state = request.app.state
    events = feed.events(access.scope, access.principal.name)
    try:
        async for event in events:
            if not await run_in_threadpool(session_lives, state.settings, access.caller, state.clock()):
                return
            yield event
    finally:
        await events.aclose()


def narrowed(picture: LiveOut, scope: Scope) -> LiveOut:
    """A picture without what the caller may not see."""
    if scope.park:
        return picture
    kept = {
        "park": None,
        "enterprises": [item for item in picture.enterprises if scope.covers(item.id)],
        "gateways": [item for item in picture.gateways if scope.covers(item.enterprise)],
        "meters": [item for item in picture.meters if scope.covers(item.enterprise)],
    }
    return picture.model_copy(update=kept)
