"""换表待确认 on the page: which meters wait for their exchange to be declared, and the declaration itself, written into park.toml."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from api.desk import Refused
from api.exchanges import ExchangeForm, PendingExchange, PendingTotal
from metering.config import ConfigError
from metering.dated import DISPLAY_UNITS, moment_ms
from metering.i18n import _
from metering.intervals import HOUR_MS, Span, iso
from metering.reading_types import READING_TYPES
from metering.registry import Meter, Park, load_registry
from storage.attachments import read
from storage.journal import JournalReader
from storage.ledger import LedgerReader
from tanyun.config import ServerConfig
from tanyun.sheets.dated import with_exchange
from tanyun.sheets.entry import EntryError, checked, replace
from verification.measure import changed_serials

HEARD_MS = 400 * 24 * HOUR_MS
"""How far back serial numbers that changed are looked for: longer than a year of months. Ours."""


@dataclass(frozen=True, slots=True)
class ExchangeDesk:
    """Keeps to `api.exchanges.Exchanges`. Reads the registry's file each time: a declaration changes it."""

    registry: Path
    ledger: Path
    journal: Path
    attachments: Path
    clock: Callable[[], int]

    def pending(self) -> list[PendingExchange]:
        """Meters whose totals wait, or that answer with another serial number, in the order of the registry."""
        park = load_registry(self.registry)
        totals, heard = self._totals(park), self._heard(park)
        return [
            PendingExchange(
                meter=meter.id,
                name=meter.name,
                enterprise=park.enterprise_of(meter),
                totals=totals.get(meter.id, []) or [_total(name, None, park) for name in meter.read_totals],
                serial=heard.get(meter.id, ""),
                declared=_is_declared(meter, totals.get(meter.id, []), park),
            )
            for meter in park.meters
            if meter.id in totals or meter.id in heard
        ]

    def declare(self, meter: str, form: ExchangeForm) -> Mapping[str, Any]:
        """Write it down; what the audit log tells of it. Refused with every reason."""
        waiting = next((item for item in self.pending() if item.meter == meter), None)
        if reasons := list(self._against(waiting, form)):
            raise Refused(reasons)
        before = self.registry.read_text(encoding="utf-8")
        fields = {
            "at": form.at,
            "closing": _shown(form.closing),
            "opening": _shown(form.opening),
            "serial": form.serial.strip(),
            "reason": f"{form.reason.strip()} (photo sha256:{form.photo_sha256})",
        }
        try:
            after = with_exchange(before, meter, fields)
            checked(self.registry, after)
            replace(self.registry, before, after)
        except EntryError as error:
            raise Refused(error.mistakes) from error
        except ConfigError as error:
            raise Refused(error.mistakes) from error
        except OSError as error:
            text = _("the server may not write {file} ({reason}): declare it with `tanyun meters exchange`")
            raise Refused([text.format(file=self.registry.name, reason=error.strerror)]) from error
        return {**fields, "at": form.at.isoformat() if form.at else ""}

    def _against(self, waiting: PendingExchange | None, form: ExchangeForm) -> Iterator[str]:
        if waiting is None or waiting.declared:
            yield _("nothing of this meter waits for an exchange to be declared")
            return
        park = load_registry(self.registry)
        if form.at is None or form.at.tzinfo is not None:
            yield _("when was it exchanged? give the local time")
        else:
            at_ms = moment_ms(form.at, park.tz)
            since = max((total.since_ms for total in waiting.totals if total.since_ms is not None), default=0)
            if not since < at_ms <= self.clock():
                text = _(
                    "the exchange lies after the last total that counted ({since}) and not in the future"
                )
                yield text.format(since=iso(since, park.tz))
        names = [total.reading_type for total in waiting.totals]
        wanted = park.meter(waiting.meter)
        names = list(wanted.read_totals) if wanted is not None else names
        for side in (form.closing, form.opening):
            if set(side) != set(names):
                yield _("both displays are needed for each total: {names}").format(names=", ".join(names))
                break
        if not form.reason.strip():
            yield _("a reason is needed")
        if read(self.attachments, form.photo_sha256) is None:
            yield _("a photo of both displays is needed: upload it first")

    def _totals(self, park: Park) -> dict[str, list[PendingTotal]]:
        found: dict[str, list[PendingTotal]] = {}
        if self.ledger.exists():
            with LedgerReader(self.ledger) as ledger:
                for row in ledger.progress():
                    if row.pending and park.meter(row.meter) is not None:
                        found.setdefault(row.meter, []).append(_total(row.reading_type, row.t_ms, park))
        return found

    def _heard(self, park: Park) -> dict[str, str]:
        """Meter → the serial number that it answers with now, where nobody has declared it."""
        if not self.journal.exists():
            return {}
        now = self.clock()
        with JournalReader(self.journal) as journal:
            events = changed_serials(park, journal, Span(now - HEARD_MS, now))
            return {event.meter: str(event.detail.get("serial", "")) for event in events}


def _total(reading_type: str, since_ms: int | None, park: Park) -> PendingTotal:
    known = READING_TYPES[reading_type]
    return PendingTotal(
        reading_type=reading_type,
        label_zh=known.label_zh,
        label_en=known.label_en,
        unit=DISPLAY_UNITS[known.unit],
        since_ms=since_ms,
        since=None if since_ms is None else iso(since_ms, park.tz),
    )


def _shown(totals: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: format(value, "f") for name, value in totals.items()}


def _is_declared(meter: Meter, totals: list[PendingTotal], park: Park) -> bool:
    """Whether the file has an exchange since the last total that counted: the stream has not taken it up yet."""
    since = [total.since_ms for total in totals if total.since_ms is not None]
    return bool(since) and any(moment_ms(exchange.at, park.tz) > min(since) for exchange in meter.exchanges)


def exchanges_of(config: ServerConfig, clock: Callable[[], int]) -> ExchangeDesk:
    """Those of a server."""
    return ExchangeDesk(config.registry, config.ledger, config.journal, config.attachments, clock)
