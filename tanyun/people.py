"""Making users and keys on the server itself: what the command line and the demo share. Everything goes into the audit log."""

import getpass
import os
import pwd
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from api.people import People, granted
from api.rights import PARK
from metering.registry import Park
from storage.audit import AuditLog, Event
from storage.users import Grants
from tanyun.config import ServerConfig


def now_ms() -> int:
    """UTC milliseconds now."""
    return time.time_ns() // 1_000_000


def operating_user() -> str:
    """Who types: the audit log's actor on the command line. Behind sudo it is whoever called sudo."""
    name = os.environ.get("SUDO_USER") if os.geteuid() == 0 else None
    try:
        return f"cli:{name or pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"cli:{getpass.getuser()}"


def record(audit: Path, action: str, target: str, **detail: object) -> None:
    """Write down what was done on the command line."""
    with AuditLog(audit) as log:
        log.append(
            Event(actor=operating_user(), action=action, target=target, address="local", detail=detail),
            now_ms(),
        )


def grants_for(park: Park, roles: Iterable[str], enterprises: Iterable[str]) -> Grants:
    """Each role for each enterprise, or for the whole park when none is named. PeopleError with all mistakes."""
    tenants = tuple(enterprises) or (PARK,)
    pairs = [(role, tenant) for role in roles for tenant in tenants]
    return granted(pairs, (item.id for item in park.enterprises))


def acting_on(config: ServerConfig) -> People:
    """The file of users, and the audit log in which the command line's changes to it stand."""
    return People(config.users, partial(record, config.audit), now_ms())
