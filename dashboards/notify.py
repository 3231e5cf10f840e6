"""Who is told: contact points, mute timings and the route that takes our alerts."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from dashboards.names import APP, PREFIX
from dashboards.settings import Contact, Days, GrafanaSettings, Route, Shift

Json = dict[str, Any]
HOLIDAYS = f"{PREFIX}holidays"
OURS = [[APP[0], "=", APP[1]]]
"""The matcher of our route; it is how a push finds it again among others."""
_WORKING_DAYS = [["when", "=", "working-days"]]
_DAY_ENDS = "24:00"


def receiver(contact: str) -> str:
    """Name of a contact point."""
    return f"{PREFIX}{contact}"


def contact_points(settings: GrafanaSettings, secret: Callable[[Path], str]) -> list[Json]:
    """Every way of every contact. Those of one name are told together; `secret` reads a file."""
    return [point for contact in settings.contacts for point in _ways(contact, secret)]


def _ways(contact: Contact, secret: Callable[[Path], str]) -> Iterator[Json]:
    def point(kind: str, settings: Json) -> Json:
        return {
            "uid": f"{PREFIX}{contact.name}-{kind}",
            "name": receiver(contact.name),
            "type": kind,
            "settings": settings,
        }

    yield point("email", {"addresses": ";".join(contact.emails), "singleEmail": True})
    if contact.webhook_file is not None:
        yield point("webhook", {"url": secret(contact.webhook_file), "httpMethod": "POST"})
    if contact.wecom_file is not None:
        yield point("wecom", {"url": secret(contact.wecom_file), "msgtype": "markdown"})
    if contact.dingding_file is not None:
        yield point("dingding", {"url": secret(contact.dingding_file), "msgType": "link"})


def _months(days: Days, zone: str) -> Iterator[Json]:
    """Days as Grafana writes them: a piece for each calendar month."""
    at = days.first
    while at <= days.last:
        next_month = date(at.year + at.month // 12, at.month % 12 + 1, 1)
        end = min(days.last, next_month - timedelta(days=1))
        yield {
            "years": [str(at.year)],
            "months": [str(at.month)],
            "days_of_month": [f"{at.day}:{end.day}"],
            "location": zone,
        }
        at = next_month


def _off_duty(shift: Shift, zone: str) -> Json:
    """The hours outside a shift. Grafana's times may not cross midnight."""
    by_day = shift.start < shift.end
    spans = [("00:00", shift.start), (shift.end, _DAY_ENDS)] if by_day else [(shift.end, shift.start)]
    times = [{"start_time": start, "end_time": end} for start, end in spans if start != end]
    return {"times": times, "location": zone}


def _shift_name(i: int, shift: Shift) -> str:
    return f"{PREFIX}off-duty-{i}-{shift.contact}"


def _shutdown_name(enterprise: str) -> str:
    return f"{PREFIX}shutdown-{enterprise}"


def mute_timings(settings: GrafanaSettings) -> list[Json]:
    """Holidays, shutdowns, and the hours outside shifts."""
    out: dict[str, list[Json]] = {}
    for holiday in settings.holidays:
        out.setdefault(HOLIDAYS, []).extend(_months(holiday, settings.zone))
    for shutdown in settings.shutdowns:
        out.setdefault(_shutdown_name(shutdown.enterprise), []).extend(_months(shutdown, settings.zone))
    for i, shift in enumerate(settings.shifts):
        out[_shift_name(i, shift)] = [_off_duty(shift, settings.zone)]
    return [{"name": name, "time_intervals": intervals} for name, intervals in out.items()]


def route(settings: GrafanaSettings) -> Json:
    """The route of our alerts: additional shifts, then enterprises, then the first contact.

    Alerts are grouped by gateway, so that what fails together arrives together.
    """
    routes = [
        {
            "receiver": receiver(shift.contact),
            "object_matchers": [["severity", "=", shift.severity]],
            "mute_time_intervals": [_shift_name(i, shift)],
            "continue": True,
        }
        for i, shift in enumerate(settings.shifts)
    ]
    for each in settings.routes:
        routes += _enterprise(each, settings)
    if settings.holidays:
        routes.append({"object_matchers": _WORKING_DAYS, "mute_time_intervals": [HOLIDAYS]})
    return {
        "receiver": receiver(settings.contacts[0].name),
        "object_matchers": OURS,
        "group_by": ["grafana_folder", "alertname", "enterprise", "scope", "gateway"],
        "group_wait": "1m",
        "group_interval": "5m",
        "repeat_interval": "12h",
        "routes": routes,
    }


def _enterprise(each: Route, settings: GrafanaSettings) -> list[Json]:
    """Meters carry `enterprise`, totals of an enterprise `scope`, gateways only their own name."""
    matchers = [["enterprise", "=", each.enterprise], ["scope", "=", each.enterprise]]
    if each.gateways:
        matchers.append(["gateway", "=~", "|".join(each.gateways)])
    stopped = (
        [_shutdown_name(each.enterprise)]
        if any(s.enterprise == each.enterprise for s in settings.shutdowns)
        else []
    )
    out: list[Json] = []
    for matcher in matchers:
        one: Json = {"receiver": receiver(each.contact), "object_matchers": [matcher]}
        if stopped:
            one["mute_time_intervals"] = stopped
        if settings.holidays:
            one["routes"] = [{"object_matchers": _WORKING_DAYS, "mute_time_intervals": [*stopped, HOLIDAYS]}]
        out.append(one)
    return out
