"""The live picture: once, or as a stream."""

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from api import queries
from api.models import LiveOut
from api.sources import SourcesDep
from api.stream_events import LiveFeed

router = APIRouter(tags=["live"])


@router.get("/live", summary="The live picture")
def live(sources: SourcesDep) -> LiveOut:
    """Power now, energy and emission of today and of the month per enterprise and park, state of gateways and meters."""
    return queries.live(sources)


@router.get(
    "/stream",
    summary="The live picture as server-sent events",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "Events `live`, data as of GET /live."}
    },
)
async def stream(request: Request) -> StreamingResponse:
    """One event when connecting and one whenever the ledger has changed, at most two a second; comments as heartbeat."""
    feed = request.app.state.feed
    assert isinstance(feed, LiveFeed)  # noqa: S101  set by create_app
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(feed.events(), media_type="text/event-stream", headers=headers)
