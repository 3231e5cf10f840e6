"""Who may do what: the one table of roles and permissions, and what a principal may see of a park.

No HTTP in here: the command line and the tests read the same table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from metering.i18n import _

PARK: Final = "*"
"""The tenant of a grant that holds for the whole park; no id of an enterprise can be this."""


class Permission(StrEnum):
    """What a route asks for."""

    SELF = "self"
    """Being somebody: everyone who has signed in."""
    REGISTRY_VIEW = "registry.view"
    REGISTRY_EDIT = "registry.edit"
    DATA_VIEW = "data.view"
    """Readings, intervals, emissions, the live picture."""
    EVENTS_VIEW = "events.view"
    METRICS_VIEW = "metrics.view"
    MONTH_VIEW = "month.view"
    """Month documents, their findings and reports."""
    MONTH_PREPARE = "month.prepare"
    """Close a month, make a revision, hand it over for review."""
    MONTH_REVIEW = "month.review"
    """Approve a month or return it. Four eyes are the life cycle's rule, not this table's."""
    MONTH_SUBMIT = "month.submit"
    FINDING_ANSWER = "finding.answer"
    DELIVERY_SEND = "delivery.send"
    AUDIT_VIEW = "audit.view"
    USERS_MANAGE = "users.manage"
    GATEWAYS_MANAGE = "gateways.manage"


class Role(StrEnum):
    """What a user or a machine is to a tenant."""

    INSTALLER = "installer"
    OPERATOR = "operator"
    ENTERPRISE = "enterprise"
    VERIFIER = "verifier"
    REGULATOR = "regulator"
    ADMINISTRATOR = "administrator"


_P = Permission
_LOOK: Final = frozenset({_P.SELF, _P.REGISTRY_VIEW, _P.DATA_VIEW})
_LOOK_AT_MONTHS: Final = _LOOK | {_P.EVENTS_VIEW, _P.MONTH_VIEW}

RIGHTS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.INSTALLER: _LOOK | {_P.EVENTS_VIEW},
    Role.OPERATOR: _LOOK_AT_MONTHS | {
        _P.REGISTRY_EDIT, _P.METRICS_VIEW, _P.MONTH_PREPARE, _P.MONTH_SUBMIT, _P.FINDING_ANSWER, _P.DELIVERY_SEND,
        _P.GATEWAYS_MANAGE,
    },
    Role.ENTERPRISE: _LOOK | {_P.MONTH_VIEW, _P.FINDING_ANSWER},
    Role.VERIFIER: _LOOK_AT_MONTHS | {_P.MONTH_REVIEW},
    Role.REGULATOR: _LOOK_AT_MONTHS | {_P.MONTH_REVIEW, _P.AUDIT_VIEW},
    # Runs the machine and lets people in; judges no month and answers no finding.
    Role.ADMINISTRATOR: _LOOK | {
        _P.EVENTS_VIEW, _P.METRICS_VIEW, _P.AUDIT_VIEW, _P.USERS_MANAGE, _P.GATEWAYS_MANAGE,
    },
}  # fmt: skip
"""The table. A role that is not granted a permission here does not have it."""

PARK_ONLY: Final = frozenset({Role.ADMINISTRATOR, Role.REGULATOR})
"""Roles that make sense for the whole park alone."""
ENTERPRISE_ONLY: Final = frozenset({Role.ENTERPRISE})
"""Roles that make sense for single enterprises alone."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A role for a tenant: an enterprise's id, or PARK."""

    role: Role
    tenant: str


@dataclass(frozen=True, slots=True)
class Scope:
    """The enterprises that something is allowed for; `park` means all of them and the park itself."""

    park: bool = False
    enterprises: frozenset[str] = frozenset()

    def covers(self, enterprise: str) -> bool:
        """True when the enterprise is one of them."""
        return self.park or enterprise in self.enterprises

    def __bool__(self) -> bool:
        return self.park or bool(self.enterprises)


EVERYTHING: Final = Scope(park=True)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever asks: a user, or a machine with a key. `only` narrows a key to some of its roles' permissions."""

    name: str
    """As the audit log names it: `ann`, or `key:4f1c09ab`."""
    grants: tuple[Grant, ...] = ()
    only: frozenset[Permission] = field(default_factory=frozenset)
    label: str = ""

    def scope(self, permission: Permission) -> Scope:
        """What the permission is held for; an empty scope, which is false, when it is not held at all."""
        if permission is Permission.SELF:
            return EVERYTHING
        if self.only and permission not in self.only:
            return Scope()
        tenants = {grant.tenant for grant in self.grants if permission in RIGHTS[grant.role]}
        return Scope(PARK in tenants, frozenset(tenants - {PARK}))

    def permissions(self) -> dict[str, Scope]:
        """All that are held, with what for."""
        return {item.value: scope for item in Permission if (scope := self.scope(item))}


def grant_mistakes(grants: tuple[Grant, ...], enterprises: frozenset[str]) -> list[str]:
    """What is wrong with grants, one sentence each: an unknown enterprise, or a role given for the wrong kind of tenant."""
    return [text for grant in grants if (text := _mistake(grant, enterprises)) is not None]


def _mistake(grant: Grant, enterprises: frozenset[str]) -> str | None:
    if grant.tenant == PARK:
        text = _("{role} is a role for single enterprises: name them")
        return text.format(role=grant.role.value) if grant.role in ENTERPRISE_ONLY else None
    if grant.role in PARK_ONLY:
        text = _("{role} is a role for the whole park: name no enterprise")
        return text.format(role=grant.role.value)
    if grant.tenant not in enterprises:
        text = _("there is no enterprise {name!r} in the registry; known are {known}")
        return text.format(name=grant.tenant, known=", ".join(sorted(enterprises)))
    return None
