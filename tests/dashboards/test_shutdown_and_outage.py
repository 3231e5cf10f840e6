"""Four days of Spring Festival: one plant is shut down, and the other's gateway is cut off for 48 hours. Which alerts are sent?

The rules are evaluated every half hour over what the store holds at that moment. Muting by holiday and shutdown is Grafana's, after
the rules; here the rules alone have to be quiet about a plant that stands still.
"""

from collections.abc import Iterator

import pytest

from dashboards import rendered
from tests.dashboards.evaluate import Alarm
from tests.dashboards.month import (
    DAY,
    HOUR,
    MINUTE,
    PARK,
    Meter,
    balances,
    boundaries,
    forecasts,
    intervals,
    live,
    readings,
    states,
    wobble,
)
from tests.dashboards.store import Store

STANDING = tuple(meter for meter in PARK if meter.enterprise == "hengjing")
CUT_OFF = tuple(meter for meter in PARK if meter.enterprise == "yuntu")
CUT, BACK, END = 12 * HOUR, 60 * HOUR, 84 * HOUR
EVERY = 30 * MINUTE


def standing(start: int, end: int) -> Iterator[str]:
    """A plant at rest: voltage as ever, nearly no current, badly compensated, losses of the transformer unmetered."""
    for t in range(start, end, 5 * MINUTE):
        for i, meter in enumerate(STANDING):
            at = {
                "voltage_l1": 231.0,
                "current_l1": 1.5,
                "current_l2": 0.4,
                "current_l3": 0.9,
                "power_factor": 0.4,
            }
            for kind, level in at.items():
                yield f"reading,{meter.tags},reading_type={kind} value={level * wobble(t, i):.4f} {t}"
            yield f"reading,{meter.tags},reading_type=power_active value=0.0 {t}"


def standing_history(start: int, end: int) -> Iterator[str]:
    for t in range(start, end, 15 * MINUTE):
        head = "scope_kind=enterprise,scope=hengjing,method=national"
        yield f"boundary,{head},size=15m energy_wh=400.0,emission_g=212.0,complete=1.0,demand_w=1600.0 {t}"
        yield f"balance,enterprise=hengjing,meter=hj-gate in_wh=400.0,out_wh=310.0,unmetered_share=0.225 {t}"
        for meter in STANDING:
            yield (
                f"interval,{meter.tags},role={meter.role},reading_type=energy_import_total,size=15m energy=400.0,emission_g=212.0,"
                f"coverage=1.0,estimated=0.0,edge_read=1.0,quality=0.0,revision=0.0 {t}"
            )


def cut_off_states(since: int, start: int, end: int) -> Iterator[str]:
    """What the projector says of a gateway that is away: ages that grow."""
    for t in range(start, end, MINUTE):
        age = (t - since) / 1000
        yield f"gateway,gateway=gw-yuntu online=0.0,backlog_age_s={age},accepted_frames=1.0 {t}"
        yield from (
            f"meter_state,{m.tags} age_s={age + 12},pending=0.0,failed_share=0.0 {t}" for m in CUT_OFF
        )


def history_of(meters: tuple[Meter, ...], start: int, end: int) -> Iterator[str]:
    yield from intervals(meters, start, end)
    yield from (
        line for line in boundaries(meters, start, end, "15m", 15 * MINUTE) if "scope_kind=park" not in line
    )
    yield from forecasts(meters, start, end)
    yield from balances(meters, start, end)


def of_month(t: int, lost_ms: int) -> str:
    """Completeness of the month to date, ten days old when the story begins."""
    elapsed = 10 * DAY + t
    share = 1 - lost_ms / elapsed
    return f"boundary,scope_kind=enterprise,scope=yuntu,method=national,size=month energy_wh=1.0,complete={share}"


@pytest.mark.slow
def test_only_the_outage_itself_is_reported_and_it_clears(store: Store, now_ms: int) -> None:
    begin = now_ms - 5 * DAY
    begin -= begin % HOUR
    store.write("live", live(PARK, begin - 2 * HOUR, begin, 5 * MINUTE))
    store.write("history", history_of(PARK, begin - DAY, begin))
    alarms = {rule["uid"]: Alarm(rule) for group in rendered.alert_groups() for rule in group["rules"]}
    sent: dict[str, list[int]] = {}
    for after in range(EVERY, END, EVERY):
        t, since = begin + after, begin + after - EVERY
        store.write("live", [*standing(since, t), *states(STANDING, since, t, MINUTE)])
        store.write("history", [*standing_history(since, t), *forecasts(STANDING, since, t)])
        if CUT < after <= BACK:
            store.write("live", cut_off_states(begin + CUT, since, t))
        else:
            late = begin + CUT if after == BACK + EVERY else since
            store.write("live", [*readings(CUT_OFF, late, t, 5 * MINUTE), *states(CUT_OFF, since, t, MINUTE)])
            store.write("history", history_of(CUT_OFF, late, t))
        lost = after - CUT if CUT < after <= BACK else 0
        store.write("history", [f"{of_month(after, lost)} {begin - 10 * DAY}"])
        for uid, alarm in alarms.items():
            for who in alarm.evaluate(store, t):
                sent.setdefault(f"{uid} {who.get('scope') or who.get('gateway')}", []).append(after // HOUR)
    hours = {name: (times[0], times[-1]) for name, times in sent.items()}
    assert set(hours) == {"tanyun-gateway-silent gw-yuntu", "tanyun-completeness-low yuntu"}
    assert hours["tanyun-gateway-silent gw-yuntu"] == (13, 60)
    first, last = hours["tanyun-completeness-low yuntu"]
    assert first >= 36, "told when half of the month's allowance is gone, not before"
    assert last <= 61, "cleared by what the gateway had kept"
