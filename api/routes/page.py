"""The page, the API's own documentation page, and their files. Open to everybody: they hold no data."""

from importlib import resources
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from api.access import public

STATIC = Path(str(resources.files("api") / "static"))

router = APIRouter(include_in_schema=False, dependencies=[public()])


@router.get("/")
def page() -> FileResponse:
    return FileResponse(STATIC / "index.html", media_type="text/html")


@router.get("/docs")
def documentation() -> FileResponse:
    return FileResponse(STATIC / "docs.html", media_type="text/html")


@router.get("/login")
def login() -> FileResponse:
    return FileResponse(STATIC / "login.html", media_type="text/html")


@router.get("/months")
def months() -> FileResponse:
    return FileResponse(STATIC / "months.html", media_type="text/html")


@router.get("/form")
def form() -> FileResponse:
    return FileResponse(STATIC / "form.html", media_type="text/html")


@router.get("/users")
def users() -> FileResponse:
    return FileResponse(STATIC / "users.html", media_type="text/html")


@router.get("/welcome")
def welcome() -> FileResponse:
    return FileResponse(STATIC / "welcome.html", media_type="text/html")
