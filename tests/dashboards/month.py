"""A month of a small park, line by line, as the projector writes it (issue 5's contract)."""

from collections.abc import Iterator
from dataclasses import dataclass

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
QUARTER = 15 * MINUTE
ROLES = ("ingest", "stream", "projector", "api")
METHODS = {"national": 530.6, "provincial": 640.0}
GAUGES = {
    "power_active": 40_000.0, "power_reactive": 9_000.0, "voltage_l1": 229.0, "voltage_l2": 230.0, "voltage_l3": 231.0,
    "current_l1": 60.0, "current_l2": 61.0, "current_l3": 59.0, "power_factor": 0.97, "frequency": 50.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter and where it is."""

    enterprise: str
    gateway: str
    meter: str
    role: str = "sub_meter"

    @property
    def tags(self) -> str:
        """As in line protocol."""
        return f"enterprise={self.enterprise},gateway={self.gateway},meter={self.meter}"


PARK = (
    Meter("hengjing", "gw-hengjing", "hj-gate", "grid_boundary"),
    Meter("hengjing", "gw-hengjing", "hj-line1"),
    Meter("yuntu", "gw-yuntu", "yt-gate", "grid_boundary"),
    Meter("yuntu", "gw-yuntu", "yt-hall"),
)


def wobble(t_ms: int, i: int) -> float:
    """A small change from reading to reading, so that nothing looks frozen."""
    return 1 + ((t_ms // 1000 * 7 + i * 13) % 97) / 1000


def readings(meters: tuple[Meter, ...], start: int, end: int, step: int) -> Iterator[str]:
    """Gauges."""
    for t in range(start, end, step):
        for i, meter in enumerate(meters):
            for kind, level in GAUGES.items():
                yield f"reading,{meter.tags},reading_type={kind} value={level * wobble(t, i):.4f} {t}"


def states(meters: tuple[Meter, ...], start: int, end: int, step: int) -> Iterator[str]:
    """Gateways, meters and services."""
    for t in range(start, end, step):
        for gateway in {meter.gateway for meter in meters}:
            yield f"gateway,gateway={gateway} online=1.0,backlog_age_s=12.0,clock_ahead_s=-0.2,accepted_frames={float(t // 15_000)} {t}"
        for meter in meters:
            yield f"meter_state,{meter.tags} age_s=12.0,pending=0.0,failed_share=0.002 {t}"
        for role in ROLES:
            yield f"pipeline,role={role} lag_s=1.5,segments_behind=0.0,quarantined_total=3.0,disk_free_bytes=80000000000.0,up=1.0 {t}"


def intervals(meters: tuple[Meter, ...], start: int, end: int) -> Iterator[str]:
    """Quarters of an hour."""
    for t in range(start, end, QUARTER):
        for i, meter in enumerate(meters):
            energy = 10_000 * wobble(t, i)
            yield (
                f"interval,{meter.tags},role={meter.role},reading_type=energy_import_total,size=15m "
                f"energy={energy:.1f},emission_g={energy * 0.5306:.2f},coverage=1.0,estimated={energy / 50:.1f},"
                f"edge_read=1.0,quality={2.0 if t // QUARTER % 40 == 0 else 0.0},revision=0.0 {t}"
            )


def meter_days(meters: tuple[Meter, ...], start: int, end: int) -> Iterator[str]:
    """The quality of each meter's days."""
    for t in range(start, end, DAY):
        for meter in meters:
            yield f"meter_day,{meter.tags} coverage=0.998,edge_read=0.99,worst=2.0,poor=2.0 {t}"


def scopes(meters: tuple[Meter, ...]) -> list[tuple[str, str]]:
    """The enterprises and the park."""
    return [
        *(("enterprise", name) for name in dict.fromkeys(m.enterprise for m in meters)),
        ("park", "shifan"),
    ]


def boundaries(meters: tuple[Meter, ...], start: int, end: int, size: str, length: int) -> Iterator[str]:
    """Boundary energy and emission of one size."""
    for t in range(start, end, length):
        for kind, scope in scopes(meters):
            for method, grams in METHODS.items():
                wh = 40_000.0 * length / HOUR * wobble(t, len(scope))
                more = {"15m": ",demand_w=41000.0", "day": f",estimated_wh={wh / 50:.1f}"}.get(size, "")
                yield (
                    f"boundary,scope_kind={kind},scope={scope},method={method},size={size} energy_wh={wh:.1f},"
                    f"emission_g={wh / 1000 * grams:.1f},power_w=40000.0,complete=0.995{more} {t}"
                )


def forecasts(meters: tuple[Meter, ...], start: int, end: int, step: int = QUARTER) -> Iterator[str]:
    """Month to date and where it leads."""
    for t in range(start, end, step):
        elapsed = max(0.02, (t % (30 * DAY)) / (30 * DAY))
        for kind, scope in scopes(meters):
            for method, grams in METHODS.items():
                wh = 30_000_000.0
                agreed = (
                    ",budget_emission_g=20000000.0,contract_demand_w=80000.0" if kind == "enterprise" else ""
                )
                yield (
                    f"forecast,scope_kind={kind},scope={scope},method={method} month_energy_wh={wh * elapsed:.1f},"
                    f"month_emission_g={wh * elapsed / 1000 * grams:.1f},forecast_energy_wh={wh},"
                    f"forecast_emission_g={wh / 1000 * grams:.1f}{agreed} {t}"
                )


def balances(meters: tuple[Meter, ...], start: int, end: int) -> Iterator[str]:
    """Parents against their children."""
    for t in range(start, end, QUARTER):
        for meter in (meter for meter in meters if meter.role == "grid_boundary"):
            yield f"balance,enterprise={meter.enterprise},meter={meter.meter} in_wh=10000.0,out_wh=9800.0,unmetered_share=0.02 {t}"


def months(meters: tuple[Meter, ...], newest: int, closed: int = 5) -> Iterator[str]:
    """Closed months, the last of them revised, and the open one; their factors."""
    for back in range(closed + 1):
        t = newest - back * 30 * DAY
        for kind, scope in scopes(meters):
            for method, grams in METHODS.items():
                head = f"scope_kind={kind},scope={scope},method={method}"
                result = (
                    f"outcome={float(back % 2)},completeness=0.991,findings={float(back % 3)},"
                    if back
                    else ""
                )
                yield (
                    f"month,{head} {result}revision={float(2 if back == 1 else min(back, 1))},energy_wh=28000000.0,"
                    f"emission_g={28_000 * grams:.1f},estimated_wh=400000.0,closed={float(back > 0)} {t}"
                )
                yield f"factor,{head},factor_id=cn-{method}-2023 kg_per_kwh={grams / 1000} {t}"


def documents(meters: tuple[Meter, ...], newest: int, closed: int = 5) -> Iterator[str]:
    """What closed months say beyond their figures; the last of them is revised."""
    for back in range(1, closed + 1):
        t = newest - back * 30 * DAY
        for kind, scope in scopes(meters):
            head = f"scope_kind={kind},scope={scope}"
            for method in ("standard", "location_national", "location_provincial", "market"):
                yield f"account,{head},method={method} direct_g=9000000.0,electricity_g=1000000.0,heat_g=5000.0,including_g=10005000.0 {t}"
            yield f"energy_type,{head},kind=electricity consumed=28000.0,standard_coal_kg=3441.2 {t}"
            for period in ("peak", "flat", "valley"):
                yield f"period,{head},kind={period} energy_wh=9333333.0,estimated_wh=0.0,share=0.3333 {t}"
            yield f"intensity,{head},kind=output_value value=0.0123,target=0.011 {t}"
            yield f"revision,{head} revision=1.0,outcome=0.0,energy_wh=27000000.0,emission_g=1.0,changes=0.0 {t + 1}"
            if back == 1:
                yield (
                    f"revision,{head} revision=2.0,outcome=1.0,energy_wh=28000000.0,emission_g=2.0,energy_wh_change=1000000.0,"
                    f'emission_g_change=1.0,changes=1.0,reason="late readings" {t + 2}'
                )
                yield f'change,{head} revision=2.0,path="energy.purchased_wh",old="27000000",new="28000000" {t + 2000}'


def minutes(meters: tuple[Meter, ...], start: int, end: int) -> Iterator[str]:
    """Minutes."""
    for t in range(start - start % MINUTE, end, MINUTE):
        for i, meter in enumerate(meters):
            energy = 667 * wobble(t, i)
            yield (
                f"interval,{meter.tags},role={meter.role},reading_type=energy_import_total,size=1m "
                f"energy={energy:.1f},emission_g={energy * 0.5306:.2f},estimated=0.0 {t}"
            )


def events(meters: tuple[Meter, ...], start: int, end: int) -> Iterator[str]:
    """A late reading a day."""
    for i, t in enumerate(range(start, end, DAY)):
        meter = meters[i % len(meters)]
        yield f'event,meter={meter.meter},gateway={meter.gateway},kind=late_reading count=1.0,detail="2 readings" {t}'


def live(meters: tuple[Meter, ...], start: int, end: int, step: int = MINUTE) -> Iterator[str]:
    """The retention policy `live`."""
    yield from readings(meters, start, end, step)
    yield from states(meters, start, end, step)
    yield from minutes(meters, start, end)


def history(meters: tuple[Meter, ...], start: int, end: int) -> Iterator[str]:
    """The retention policy `history`."""
    start -= start % DAY
    yield from intervals(meters, start, end)
    yield from meter_days(meters, start - 8 * HOUR, end)
    yield from boundaries(meters, start, end, "15m", QUARTER)
    yield from boundaries(meters, start, end, "hour", HOUR)
    yield from boundaries(meters, start - 8 * HOUR, end, "day", DAY)
    yield from boundaries(meters, end - 20 * DAY, end, "month", 30 * DAY)
    yield from forecasts(meters, end - DAY, end)
    yield from forecasts(meters, start, end - DAY, 6 * HOUR)
    yield from balances(meters, start, end)
    yield from months(meters, end - 20 * DAY)
    yield from documents(meters, end - 20 * DAY)
    yield from events(meters, start, end)
