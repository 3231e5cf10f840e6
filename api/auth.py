"""Who may read: one bearer token, compared in constant time."""

import hmac
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from metering.i18n import _

_bearer = HTTPBearer(auto_error=False, description="The API token. Not asked for when none is configured.")


def require_token(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Refuse with 401 unless the configured token is given, or none is configured."""
    token = request.app.state.settings.token
    if token is None:
        return
    given = credentials.credentials if credentials is not None else ""
    if not hmac.compare_digest(given.encode(), token.get_secret_value().encode()):
        raise HTTPException(401, _("a valid bearer token is needed"), {"WWW-Authenticate": "Bearer"})
