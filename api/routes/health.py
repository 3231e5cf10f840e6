"""Health: open to everybody, and saying nothing that a stranger may not know."""

import sqlite3
from collections.abc import Callable

from fastapi import APIRouter, Response

from api.access import public
from api.errors import Problem
from api.models import HealthOut
from api.sources import AllSources, Sources
from storage.errors import StoreError

router = APIRouter(prefix="/health", tags=["health"], dependencies=[public()])


@router.get("/live", summary="Is the process alive?")
def alive() -> HealthOut:
    """Always ok while the API answers."""
    return HealthOut(status="ok")


@router.get("/ready", summary="Can it read what it serves?", responses={503: {"model": HealthOut}})
def ready(sources: AllSources, response: Response) -> HealthOut:
    """Ok when ledger and journal can be read; 503 otherwise."""
    checks = {
        "ledger": _state(lambda: _read_ledger(sources)),
        "journal": _state(lambda: _read_journal(sources)),
    }
    good = all(state == "ok" for state in checks.values())
    if not good:
        response.status_code = 503
    return HealthOut(status="ok" if good else "not_ready", checks=checks)


def _state(read: Callable[[], object]) -> str:
    try:
        read()
    except Problem:
        return "not_there_yet"
    except (sqlite3.Error, StoreError):
        return "unreadable"
    return "ok"


def _read_ledger(sources: Sources) -> int:
    with sources.ledger() as ledger:
        return ledger.change_seq()


def _read_journal(sources: Sources) -> int:
    with sources.journal() as journal:
        return journal.last_segment()
