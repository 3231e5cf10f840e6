"""The state of gateways, meters and our own services, by the projector's clock. What was not written then is never made up."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from metering.intervals import QUARTER_MS, quarter_start
from metering.registry import Park
from storage.journal import JournalReader
from storage.ledger import LedgerReader
from storage.line_protocol import Field, point, series
from stream.projection.clocks import Clocks
from stream.projection.schema import ROLES, Tags

TICK_S = 15.0
Fields = list[tuple[str, Field]]


class States:
    """One picture of everything that can be silent or behind."""

    def __init__(self, park: Park, tags: Tags, data: Path, probes: Mapping[str, Callable[[], bool]]) -> None:
        self._park, self._data, self._probes = park, data, probes
        self._clocks = Clocks()
        self._gateways = {gateway.id: series("gateway", {"gateway": gateway.id}) for gateway in park.gateways}
        self._meters = {meter.id: series("meter_state", tags.place(meter.id)) for meter in park.meters}
        self._roles = {role: series("pipeline", {"role": role}) for role in ROLES}

    def lines(
        self, journal: JournalReader | None, ledger: LedgerReader | None, projected: int, now_ms: int
    ) -> Iterator[str]:
        """All lines of a moment; `projected` is the last segment whose readings the store has."""
        found = [*self._of_meters(ledger, now_ms)] if ledger is not None else []
        if journal is not None:
            found += [
                *self._of_gateways(journal, now_ms),
                *self._of_roles(journal, ledger, projected, now_ms),
            ]
        found += [(self._roles[role], [("up", float(probe()))]) for role, probe in self._probes.items()]
        stamp = now_ms - now_ms % 1000
        for key, fields in found:
            line = point(key, fields, stamp)
            if line is not None:
                yield line

    def _of_gateways(self, journal: JournalReader, now_ms: int) -> Iterator[tuple[str, Fields]]:
        """Also those that never spoke: they are offline, and have no age."""
        known = {row.gateway: row for row in journal.gateways()}
        ahead_s = self._clocks.ahead_s(journal)
        for gateway, key in self._gateways.items():
            row = known.get(gateway)
            age_s = (now_ms - row.last_t_ms) / 1000 if row is not None and row.last_t_ms else None
            online, number = (row.online, row.number) if row is not None else (False, 0)
            yield (
                key,
                [
                    ("online", online),
                    ("backlog_age_s", age_s),
                    ("accepted_frames", number),
                    ("clock_ahead_s", ahead_s.get(gateway)),
                ],
            )

    def _of_meters(self, ledger: LedgerReader, now_ms: int) -> Iterator[tuple[str, Fields]]:
        seen: dict[str, int] = {}
        for row in ledger.latest():
            seen[row.meter] = max(row.t_ms, seen.get(row.meter, 0))
        pending: set[str] = set()
        for total in ledger.progress():
            seen[total.meter] = max(total.t_ms, seen.get(total.meter, 0))
            if total.pending:
                pending.add(total.meter)
        for meter in self._park.meters:
            age_s = (now_ms - seen[meter.id]) / 1000 if meter.id in seen else None
            failed = self._failed_share(ledger, meter.id, tuple(meter.roles), now_ms)
            yield (
                self._meters[meter.id],
                [("age_s", age_s), ("pending", meter.id in pending), ("failed_share", failed)],
            )

    def _failed_share(
        self, ledger: LedgerReader, meter: str, kinds: tuple[str, ...], now_ms: int
    ) -> float | None:
        """Share of the last whole 15 minutes that no two reads enclose, over the meter's totals."""
        if not kinds:
            return None
        end = quarter_start(now_ms)
        rows = [row for kind in kinds for row in ledger.quarters(meter, kind, end - QUARTER_MS, end)]
        return 1.0 - sum(row.coverage_ms for row in rows) / (len(kinds) * QUARTER_MS)

    def _of_roles(
        self, journal: JournalReader, ledger: LedgerReader | None, projected: int, now_ms: int
    ) -> Iterator[tuple[str, Fields]]:
        head = journal.last_segment()
        cursor = ledger.cursor() if ledger is not None else None
        streamed = cursor.segment - 1 if cursor is not None else 0
        newest = journal.created_ms(head)
        free = shutil.disk_usage(self._data).free
        refused = sum(journal.quarantine_counts().values())
        idle_s = (now_ms - newest) / 1000 if newest is not None else None
        yield (
            self._roles["ingest"],
            [("lag_s", idle_s), ("quarantined_total", refused), ("disk_free_bytes", free)],
        )
        for role, done in (("stream", streamed), ("projector", projected)):
            oldest = journal.created_ms(done + 1) if done < head else None
            lag_s = (now_ms - oldest) / 1000 if oldest is not None else 0.0
            yield (
                self._roles[role],
                [("lag_s", lag_s), ("segments_behind", head - done), ("disk_free_bytes", free)],
            )
