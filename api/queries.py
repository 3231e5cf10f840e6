"""Questions to the ledger and journal that several routes ask; `live` makes the document of the page and the stream."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from api.inventory import Flow, Key, flows, tally
from api.models import FiguresOut, GatewayOut, LiveOut, MeterOut, MeterState, PeriodOut, RatioOut, RoleOut
from api.sources import Sources
from metering.dated import Ratios, ratio_history
from metering.intervals import (
    HOUR_MS,
    MINUTE_MS,
    QUARTER_MS,
    Span,
    iso,
    local_day,
    local_month,
    month_of,
    quarter_start,
    to_local,
)
from metering.registry import Enterprise, Gateway, Meter, Park
from metering.roles import ROLE_LABELS, Role
from storage.journal import GatewayRow
from storage.ledger import IntervalRow, LatestRow, LedgerReader, ProgressRow

Use = Literal["enterprise", "park"]
Mode = Literal["live", "catching_up", "idle"]
CATCHING_UP_AFTER_MS = HOUR_MS
ARRIVED_LATELY_MS = 2 * MINUTE_MS
CATCHING_UP_SILENT_MS = HOUR_MS


class Moment(NamedTuple):
    """What time a picture is for, and from when on a reading is fresh."""

    now_ms: int
    as_of_ms: int
    mode: Mode
    fresh_from_ms: int


class Newest(NamedTuple):
    """The newest readings and how far each total has been accounted."""

    latest: dict[Key, LatestRow]
    progress: dict[Key, ProgressRow]


def newest(ledger: LedgerReader) -> Newest:
    latest = {(row.meter, row.reading_type): row for row in ledger.latest()}
    return Newest(latest, {(row.meter, row.reading_type): row for row in ledger.progress()})


def moment(sources: Sources, rows: Iterable[LatestRow]) -> Moment:
    """While old readings arrive, the picture is for the newest of them; otherwise for now."""
    now_ms = sources.clock()
    found = [(row.t_ms, row.received_ms) for row in rows]
    newest_ms = max((t_ms for t_ms, _ in found), default=0)
    arriving = max((received for _, received in found), default=0) > now_ms - ARRIVED_LATELY_MS
    if arriving and newest_ms < now_ms - CATCHING_UP_AFTER_MS:
        return Moment(now_ms, newest_ms, "catching_up", newest_ms - CATCHING_UP_SILENT_MS)
    fresh_from_ms = now_ms - sources.settings.silent_after_s * 1000
    return Moment(now_ms, now_ms, "live" if arriving else "idle", fresh_from_ms)


def today(sources: Sources) -> date:
    """The local date now: factors are those known on it."""
    return to_local(sources.clock(), sources.zone).date()


def live(sources: Sources) -> LiveOut:
    """Power now, energy and emission of today and of the month, and the state of every gateway and meter."""
    with sources.ledger() as ledger:
        change_seq = ledger.change_seq()  # first: what is read after it is at least as new
        readings = newest(ledger)
        at = moment(sources, readings.latest.values())
        picture = _Picture(sources, ledger, readings, at)
    park = picture.park
    return LiveOut(
        change_seq=change_seq,
        now_ms=at.now_ms,
        as_of_ms=at.as_of_ms,
        mode=at.mode,
        as_of=iso(at.as_of_ms - at.as_of_ms % 1000, sources.zone),
        zone=park.zone,
        day_start_ms=picture.day.start_ms,
        day_end_ms=picture.day.end_ms,
        month=picture.month,
        provisional=True,
        park=picture.figures("park", park, park.meters),
        enterprises=[picture.figures("enterprise", e, park.meters_of(e.id)) for e in park.enterprises],
        gateways=gateways(sources),
        meters=meters(park, readings, at),
        factors=sources.inventory.in_force(picture.month, today(sources)),
    )


class _Picture:
    """The rows of one live document, read once for all scopes."""

    def __init__(self, sources: Sources, ledger: LedgerReader, readings: Newest, at: Moment) -> None:
        self.sources, self.readings, self.at = sources, readings, at
        self.day = local_day(at.as_of_ms, sources.zone)
        self.month = month_of(at.as_of_ms, sources.zone)
        self.park = sources.park_in(self.month)
        keys = _formula_keys(self.park)
        month_start_ms = local_month(self.month, sources.zone).start_ms
        past = sources.past_days.sums(ledger, keys, Span(month_start_ms, self.day.start_ms))
        self.rows = {key: rows for key in keys if (rows := ledger.intervals(*key, *self.day))}
        self.day_sums = {key: sum(row.energy for row in rows) for key, rows in self.rows.items()}
        known = past.keys() | self.day_sums.keys()
        self.month_sums = {key: past.get(key, 0) + self.day_sums.get(key, 0) for key in known}

    def figures(self, use: Use, scope: Park | Enterprise, members: Sequence[Meter]) -> FiguresOut:
        terms = flows(members, scope.formula)
        boundary = _meters_with(members, Role.GRID_BOUNDARY)
        powers, missing = self._powers(boundary)
        pv, _ = self._powers(_meters_with(members, Role.PV_GENERATION))
        return FiguresOut(
            id=scope.id, name=scope.name, name_en=scope.name_en,
            power_w=sum(max(power, 0.0) for power in powers) if powers else None,
            export_w=sum(max(-power, 0.0) for power in powers) if powers else None,
            pv_w=sum(abs(power) for power in pv) if pv else None,
            power_missing=missing,
            today=self._period(use, terms, self.day_sums),
            month=self._period(use, terms, self.month_sums),
            power_15min_w=self._profile(terms),
        )  # fmt: skip

    def _powers(self, meter_ids: Iterable[str]) -> tuple[list[float], list[str]]:
        known, missing = [], []
        for meter_id in meter_ids:
            power = fresh_power(self.readings, self.at, meter_id)
            if power is None:
                missing.append(meter_id)
            else:
                known.append(power)
        return known, missing

    def _period(self, use: Use, terms: Sequence[Flow], sums: Mapping[Key, int]) -> PeriodOut:
        total = tally(terms, sums)
        emissions = self.sources.inventory.figures(use, total.energy_wh, self.month, today(self.sources))
        return PeriodOut(energy_wh=total.energy_wh, emissions=emissions, missing_meters=list(total.missing))

    def _profile(self, terms: Sequence[Flow]) -> list[int | None]:
        means = [(flow.sign, quarter_means(self.rows.get(flow.key, []))) for flow in terms]
        starts = range(self.day.start_ms, quarter_start(self.at.as_of_ms), QUARTER_MS)
        return [_signed_sum([(sign, of_flow.get(start)) for sign, of_flow in means]) for start in starts]


def _formula_keys(park: Park) -> list[Key]:
    terms = list(flows(park.meters, park.formula))
    for enterprise in park.enterprises:
        terms += flows(park.meters_of(enterprise.id), enterprise.formula)
    return list(dict.fromkeys(flow.key for flow in terms))


def _meters_with(members: Iterable[Meter], role: Role) -> list[str]:
    return [meter.id for meter in members if role in meter.roles.values()]


def _signed_sum(parts: Sequence[tuple[int, int | None]]) -> int | None:
    known = [sign * power for sign, power in parts if power is not None]
    return sum(known) if parts and len(known) == len(parts) else None


def quarter_means(rows: Iterable[IntervalRow]) -> dict[int, int]:
    """Mean power in W of each 15-minute interval that is closed.

    The running one is left out: on a coarse total, which steps by many kWh, its mean says little until the end.
    """
    energy: dict[int, int] = defaultdict(int)
    length_ms: dict[int, int] = defaultdict(int)
    for row in rows:
        if row.closed:
            start_ms = quarter_start(row.start_ms)
            energy[start_ms] += row.energy
            length_ms[start_ms] += row.end_ms - row.start_ms
    return {start_ms: round(energy[start_ms] * HOUR_MS / length_ms[start_ms]) for start_ms in energy}


def fresh_power(readings: Newest, at: Moment, meter_id: str) -> float | None:
    """The meter's active power in W, unless its last reading is too old."""
    row = readings.latest.get((meter_id, "power_active"))
    return row.value if row is not None and row.t_ms >= at.fresh_from_ms else None


def meters(park: Park, readings: Newest, at: Moment) -> list[MeterOut]:
    """Every meter of the registry with its state."""
    return [_meter(park, readings, at, meter) for meter in park.meters]


def _meter(park: Park, readings: Newest, at: Moment, meter: Meter) -> MeterOut:
    seen = [row.t_ms for row in readings.latest.values() if row.meter == meter.id]
    totals = [row for row in readings.progress.values() if row.meter == meter.id]
    last_ms = max([*seen, *(row.t_ms for row in totals)], default=None)
    history = ratio_history(meter, park.tz)
    now = next(ratios for ratios in reversed(history) if ratios.since_ms < at.now_ms)
    return MeterOut(
        id=meter.id, name=meter.name, gateway=meter.gateway, enterprise=park.enterprise_of(meter),
        profile=meter.profile, parent=meter.parent, ct=str(now.ct), pt=str(now.pt),
        ratios=[_ratio(ratios, park.tz) for ratios in history],
        roles=[_role(reading_type, role) for reading_type, role in meter.roles.items()],
        state=_state(last_ms, at, pending=any(row.pending for row in totals)),
        power_w=fresh_power(readings, at, meter.id),
        last_reading_ms=last_ms,
        last_total_ms=max((row.t_ms for row in totals), default=None),
    )  # fmt: skip


def _ratio(ratios: Ratios, zone: ZoneInfo) -> RatioOut:
    since_ms = None if ratios.since_ms < 0 else ratios.since_ms
    since = None if since_ms is None else iso(since_ms, zone)
    return RatioOut(
        since=since, since_ms=since_ms, ct=str(ratios.ct), pt=str(ratios.pt), reason=ratios.reason
    )


def _role(reading_type: str, role: Role) -> RoleOut:
    label_zh, label_en = ROLE_LABELS[role]
    return RoleOut(reading_type=reading_type, role=role.value, label_zh=label_zh, label_en=label_en)


def _state(last_ms: int | None, at: Moment, *, pending: bool) -> MeterState:
    if last_ms is None:
        return MeterState.NEVER
    if pending:
        return MeterState.PENDING
    return MeterState.OK if last_ms >= at.fresh_from_ms else MeterState.SILENT


def gateways(sources: Sources) -> list[GatewayOut]:
    """Every gateway of the registry with what ingest knows of it."""
    rows: dict[str, GatewayRow] = {}
    if sources.settings.journal.exists():
        with sources.journal() as journal:
            rows = {row.gateway: row for row in journal.gateways()}
    owner = {site.id: site.enterprise for site in sources.park.sites}
    return [_gateway(gateway, owner[gateway.site], rows.get(gateway.id)) for gateway in sources.park.gateways]


def _gateway(gateway: Gateway, enterprise: str, row: GatewayRow | None) -> GatewayOut:
    read_ms = row.last_t_ms or None if row is not None else None
    return GatewayOut(
        id=gateway.id, site=gateway.site, enterprise=enterprise,
        online=row.online if row is not None else None,
        since_ms=row.since_ms if row is not None else None,
        last_seen_ms=row.last_received_ms if row is not None else None,
        last_reading_ms=read_ms,
        backlog_ms=max(row.last_received_ms - read_ms, 0) if row is not None and read_ms is not None else None,
        epoch=row.epoch if row is not None else None,
        number=row.number if row is not None else None,
    )  # fmt: skip


def scope_sums(ledger: LedgerReader, terms: Iterable[Flow], spans: Sequence[Span]) -> list[dict[Key, int]]:
    """Energy of each total within each of the adjoining spans, read once per total."""
    sums: list[dict[Key, int]] = [{} for _ in spans]
    whole = Span(spans[0].start_ms, spans[-1].end_ms)
    for key in dict.fromkeys(flow.key for flow in terms):
        for index, energy in bucket_sums(ledger.intervals(*key, *whole), spans).items():
            sums[index][key] = energy
    return sums


def bucket_sums(rows: Iterable[IntervalRow], spans: Sequence[Span]) -> dict[int, int]:
    """Index of the span → energy of the rows in it."""
    return {index: sum(row.energy for row in found) for index, found in group(rows, spans).items()}


def group(rows: Iterable[IntervalRow], spans: Sequence[Span]) -> dict[int, list[IntervalRow]]:
    """Index of the span → its rows; rows in time order, spans adjoining."""
    groups: dict[int, list[IntervalRow]] = defaultdict(list)
    index = 0
    for row in rows:
        while index < len(spans) - 1 and row.start_ms >= spans[index].end_ms:
            index += 1
        groups[index].append(row)
    return groups
