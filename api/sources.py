"""What the routes read from: the registry and factors in memory, the other roles' files opened for one request."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Depends, Request

from api.errors import not_ready, unknown
from api.inventory import Inventory
from api.past_days import PastDays
from api.settings import ApiSettings
from metering.registry import Enterprise, Meter, Park
from storage.journal import JournalReader
from storage.ledger import LedgerReader
from storage.months import MonthStore


def system_clock() -> int:
    """UTC milliseconds now."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything a route may read."""

    settings: ApiSettings
    park: Park
    inventory: Inventory
    clock: Callable[[], int] = system_clock
    past_days: PastDays = field(default_factory=PastDays)

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


def _sources(request: Request) -> Sources:
    sources = request.app.state.sources
    assert isinstance(sources, Sources)  # noqa: S101  set by create_app
    return sources


SourcesDep = Annotated[Sources, Depends(_sources)]
