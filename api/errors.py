"""What the API answers when it cannot answer: a problem document (RFC 9457) that names the parameter at fault."""

import logging
import sqlite3
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from metering.i18n import _
from storage.errors import StoreError

RETRY_LATER = {"Retry-After": "3"}

log = logging.getLogger(__name__)


class Problem(Exception):
    """A request that is not answered: the caller's fault (4xx), or data that is not there yet (503: retry)."""

    def __init__(self, status: int, title: str, detail: str, parameter: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.parameter = parameter


def unknown(parameter: str, value: str, what: str | None = None) -> Problem:
    """404 for an id that nothing answers to; `what` it should have been, when the parameter's name does not say it."""
    detail = _("there is no {what} {value!r}").format(what=what or parameter, value=value)
    return Problem(404, "not found", detail, parameter)


def invalid(parameter: str, detail: str) -> Problem:
    """422 for a value that cannot be used."""
    return Problem(422, "invalid parameter", f"{parameter}: {detail}", parameter)


def not_ready(what: str) -> Problem:
    """503 while another role has not written its first data."""
    return Problem(503, "not ready", _("there is no {what} yet: nothing has been stored").format(what=what))


def problem_response(
    status: int, title: str, detail: str, headers: Mapping[str, str] | None = None, **members: object
) -> JSONResponse:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    body |= {key: value for key, value in members.items() if value is not None}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Every error of `app` leaves as a problem document."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(sqlite3.Error, _on_storage)
    app.add_exception_handler(StoreError, _on_storage)


def _on_problem(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101  registered for this class
    headers = RETRY_LATER if error.status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return problem_response(error.status, error.title, error.detail, headers, parameter=error.parameter)


def _on_http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for this class
    return problem_response(error.status_code, error.detail, error.detail, error.headers)


def _on_validation(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for this class
    mistakes = [{"parameter": str(item["loc"][-1]), "detail": str(item["msg"])} for item in error.errors()]
    detail = "; ".join(f"{item['parameter']}: {item['detail']}" for item in mistakes)
    return problem_response(
        422, "invalid parameter", detail, parameter=mistakes[0]["parameter"], mistakes=mistakes
    )


def _on_storage(request: Request, error: Exception) -> JSONResponse:
    log.warning("storage_unreadable path=%s error=%s", request.url.path, error)
    detail = _("storage cannot be read now: {error}").format(error=error)
    return problem_response(503, "not ready", detail, RETRY_LATER)
