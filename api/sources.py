"""What the routes read from: the registry and factors in memory, the other roles' files opened for one request."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Depends, Request

from api.access import AccessDep
from api.errors import Problem, not_ready, unknown
from api.inventory import Inventory
from api.past_days import PastDays
from api.rights import EVERYTHING, Scope
from api.settings import ApiSettings
from metering.i18n import _
from metering.registry import Enterprise, Meter, Park
from storage.facts.formulas import park_of
from storage.facts.state import Facts
from storage.journal import JournalReader
from storage.known_facts import KnownFacts
from storage.ledger import LedgerReader
from storage.months import MonthStore


def system_clock() -> int:
    """UTC milliseconds now."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything a route may read. `park` holds what the caller may see of the registry, and nothing else."""

    settings: ApiSettings
    park: Park
    inventory: Inventory
    clock: Callable[[], int] = system_clock
    past_days: PastDays = field(default_factory=PastDays)
    known_facts: KnownFacts = field(default_factory=KnownFacts)
    scope: Scope = EVERYTHING

    @property
    def zone(self) -> ZoneInfo:
        return self.park.tz

    @contextmanager
    def ledger(self) -> Iterator[LedgerReader]:
        """The ledger, for one short read; 503 while there is none."""
        try:
            reader = LedgerReader(self.settings.ledger)
        except FileNotFoundError:
            raise not_ready("ledger") from None
        with reader:
            yield reader

    @contextmanager
    def journal(self) -> Iterator[JournalReader]:
        """The journal, for one short read; 503 while there is none."""
        try:
            reader = JournalReader(self.settings.journal)
        except FileNotFoundError:
            raise not_ready("journal") from None
        with reader:
            yield reader

    @contextmanager
    def months(self) -> Iterator[MonthStore | None]:
        """The closed months; None while none has been closed."""
        if not self.settings.months.exists():
            yield None
            return
        with MonthStore(self.settings.months, writable=False) as store:
            yield store

    def facts(self) -> Facts:
        """What the registry of facts says now, of everybody."""
        return self.known_facts.at(self.settings.facts)

    def park_in(self, month: str) -> Park:
        """`park` with every boundary formula as it is in a month: the one that closes it."""
        return park_of(self.park, self.facts(), month)

    def narrowed(self, scope: Scope) -> "Sources":
        """The same for a caller who may see only some enterprises: what belongs to others is not there."""
        if scope.park:
            return self
        park = _part_of(self.park, scope)
        return replace(self, park=park, past_days=PastDays(), scope=scope)

    def sees(self, kind: str, scope_id: str) -> bool:
        """Whether the caller may see figures of that enterprise, or of the park as a whole."""
        return self.scope.park if kind == "park" else self.scope.covers(scope_id)

    def whole_park(self) -> None:
        """403 unless the caller may see the park as a whole."""
        if not self.scope.park:
            text = _("this concerns the whole park, of which you may see single enterprises only")
            raise Problem(403, "forbidden", text)

    def enterprise(self, enterprise_id: str, parameter: str = "enterprise") -> Enterprise:
        """The enterprise, or 404."""
        for enterprise in self.park.enterprises:
            if enterprise.id == enterprise_id:
                return enterprise
        raise unknown(parameter, enterprise_id, "enterprise")

    def meter(self, meter_id: str, parameter: str = "meter") -> Meter:
        """The meter, or 404."""
        meter = self.park.meter(meter_id)
        if meter is None:
            raise unknown(parameter, meter_id, "meter")
        return meter


def _part_of(park: Park, scope: Scope) -> Park:
    """The registry without the enterprises outside `scope`."""
    sites = tuple(site for site in park.sites if scope.covers(site.enterprise))
    at = {site.id for site in sites}
    gateways = tuple(gateway for gateway in park.gateways if gateway.site in at)
    behind = {gateway.id for gateway in gateways}
    kept = {
        "enterprises": tuple(e for e in park.enterprises if scope.covers(e.id)),
        "sites": sites,
        "gateways": gateways,
        "meters": tuple(meter for meter in park.meters if meter.gateway in behind),
    }
    return park.model_copy(update=kept)


def _all(request: Request) -> Sources:
    sources = request.app.state.sources
    assert isinstance(sources, Sources)  # noqa: S101  set by create_app
    return sources


AllSources = Annotated[Sources, Depends(_all)]
"""Without regard to the caller. For routes that say nothing about anybody, or narrow their answer themselves."""


def _sources(sources: AllSources, access: AccessDep) -> Sources:
    return sources.narrowed(access.scope)


SourcesDep = Annotated[Sources, Depends(_sources)]
"""What the caller of this request may see."""
