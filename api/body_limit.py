"""No request body larger than its place allows: it is refused before it is read, or while it arrives."""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem_response
from metering.i18n import _

LIMIT_BYTES: Final = 256 * 1024
UPLOADS: Final = "/api/v1/uploads/"
UPLOAD_LIMIT_BYTES: Final = 20 * 1024 * 1024
"""A scanned page or two."""


class BodyLimit:
    """ASGI middleware: 413 for a body that is too large, whether it says so or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = UPLOAD_LIMIT_BYTES if scope["path"].startswith(UPLOADS) else LIMIT_BYTES
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > limit:
            await _refusal(limit)(scope, receive, send)
            return
        left = limit

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, _text(limit), {"Connection": "close"})
            return message

        await self._app(scope, counted, send)


def _refusal(limit: int) -> ASGIApp:
    return problem_response(413, "content too large", _text(limit), {"Connection": "close"})


def _text(limit: int) -> str:
    return _("the body is larger than the {limit} bytes allowed here").format(limit=limit)
