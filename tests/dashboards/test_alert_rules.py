"""Each alert rule on the real InfluxDB: data that must fire it, data that must not, and no data at all."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dashboards import rendered
from tests.dashboards.evaluate import Alarm, firing, numbers
from tests.dashboards.macros import seconds
from tests.dashboards.month import DAY, HOUR, MINUTE, PARK, history, live
from tests.dashboards.store import Store

Json = dict[str, Any]
Lines = list[str]
RULES: dict[str, Json] = {rule["uid"]: rule for group in rendered.alert_groups() for rule in group["rules"]}
REPOSITORY = Path(__file__).parents[2]
E1 = "enterprise=hengjing,gateway=gw1,meter=m1"
SCOPE = "scope_kind=enterprise,scope=hengjing,method=national"


@dataclass(frozen=True, slots=True)
class Case:
    """Lines of a data set that fires and of one that does not, as functions of now."""

    fires: Callable[[int], Lines]
    calm: Callable[[int], Lines]
    who: dict[str, str]
    """Labels of the instance that fires."""
    policy: str = "live"


def gateway(now: int, online: float = 1.0, backlog: float = 10.0, ahead: float = -0.1) -> Lines:
    fields = f"online={online},backlog_age_s={backlog},clock_ahead_s={ahead},accepted_frames=9.0"
    return [f"gateway,gateway=gw1 {fields} {now - 15_000}"]


def meter(now: int, age: float, **of_gateway: float) -> Lines:
    return [
        f"meter_state,{E1} age_s={age},pending=0.0,failed_share=0.0 {now - 15_000}",
        *gateway(now, **of_gateway),
    ]


def gauges(now: int, kind: str, values: Callable[[int], float], count: int = 110) -> Lines:
    return [f"reading,{E1},reading_type={kind} value={values(i)} {now - i * MINUTE}" for i in range(count)]


def currents(now: int, *phases: float) -> Lines:
    out: Lines = []
    for i, amperes in enumerate(phases, 1):
        out += [
            f"reading,{E1},reading_type=current_l{i} value={amperes} {now - back * MINUTE}"
            for back in range(15)
        ]
    return out


def demand(now: int, watts: float, contract: float | None = 100_000.0) -> Lines:
    agreed = "" if contract is None else f",contract_demand_w={contract}"
    return [
        f"boundary,{SCOPE},size=15m demand_w={watts},energy_wh=1.0,emission_g=1.0 {now - 20 * MINUTE}",
        f"forecast,{SCOPE} month_energy_wh=1.0{agreed} {now - 20 * MINUTE}",
    ]


def factor(
    now: int, pf: Callable[[int], float], energy: float = 10_000.0, role: str = "grid_boundary"
) -> tuple[Lines, Lines]:
    interval = f"interval,{E1},role={role},reading_type=energy_import_total,size=15m energy={energy} {now - 30 * MINUTE}"
    return gauges(now, "power_factor", pf, 50), [interval]


def balance(now: int, parent: float, children: float) -> Lines:
    return [
        f"balance,enterprise=hengjing,meter=m1 in_wh={parent},out_wh={children},unmetered_share=0.0 {now - i * 15 * MINUTE}"
        for i in range(1, 90)
    ]


def forecast(now: int, emission: float, budget: float | None) -> Lines:
    planned = "" if budget is None else f",budget_emission_g={budget}"
    return [f"forecast,{SCOPE} forecast_emission_g={emission}{planned} {now - 20 * MINUTE}"]


def complete(now: int, share: float, elapsed: float) -> Lines:
    """The forecast goes on at the pace of what is measured, so it knows the measured share of the month."""
    return [
        f"boundary,{SCOPE},size=month complete={share},energy_wh=1.0 {now - 12 * DAY}",
        f"forecast,{SCOPE} month_energy_wh={elapsed * share},forecast_energy_wh=1.0 {now - 20 * MINUTE}",
    ]


def quarter(now: int, emission: str) -> Lines:
    return [f"boundary,{SCOPE},size=15m energy_wh=5.0{emission} {now - i * 15 * MINUTE}" for i in range(1, 9)]


def month(now: int, closed: float, began_days_ago: int) -> Lines:
    return [f"month,{SCOPE} closed={closed},revision=0.0 {now - began_days_ago * DAY}"]


def service(now: int, role: str = "stream", lag: float = 1.0, disk: float = 9e10) -> Lines:
    return [
        f"pipeline,role={role} lag_s={lag},segments_behind=0.0,quarantined_total=5.0,disk_free_bytes={disk} {now - i * 15_000}"
        for i in range(1, 5)
    ]


def ingest(now: int, idle: float, online: float = 1.0) -> Lines:
    return [*service(now, "ingest", lag=idle), *gateway(now, online=online)]


def api(now: int, up: float) -> Lines:
    return [f"pipeline,role=api up={up} {now - 15_000}"]


def refused(now: int, newest: float) -> Lines:
    return [*service(now), f"pipeline,role=stream lag_s=1.0,quarantined_total={newest} {now - 1000}"]


GW, M = {"gateway": "gw1"}, {"enterprise": "hengjing", "gateway": "gw1", "meter": "m1"}
S = {"scope_kind": "enterprise", "scope": "hengjing"}
PARENT = {"enterprise": "hengjing", "meter": "m1"}
CASES: dict[str, list[Case]] = {
    "gateway-silent": [Case(lambda n: gateway(n, online=0.0), gateway, GW)],
    "gateway-backlog": [
        Case(lambda n: gateway(n, backlog=2400.0), lambda n: gateway(n, backlog=600.0), GW),
        Case(lambda n: gateway(n, backlog=2400.0), lambda n: gateway(n, online=0.0, backlog=2400.0), GW),
    ],
    "gateway-clock": [
        Case(lambda n: gateway(n, ahead=300.0), lambda n: gateway(n, ahead=2.0), GW),
        Case(lambda n: gateway(n, ahead=-90.0), lambda n: gateway(n, backlog=90_000.0), GW),
    ],
    "meter-silent": [
        Case(lambda n: meter(n, 1200.0), lambda n: meter(n, 300.0), M),
        Case(lambda n: meter(n, 1200.0), lambda n: meter(n, 1200.0, online=0.0), M),
        Case(lambda n: meter(n, 90_000.0, backlog=80_000.0), lambda n: meter(n, 80_060.0, backlog=80_000.0), M),
    ],
    "meter-frozen": [
        Case(lambda n: gauges(n, "voltage_l1", lambda _: 230.1), lambda n: gauges(n, "voltage_l1", lambda i: 230 + i % 2 / 10),
             M | {"reading_type": "voltage_l1"}),
        Case(lambda n: gauges(n, "power_active", lambda _: 512.0), lambda n: gauges(n, "power_active", lambda _: 0.0),
             M | {"reading_type": "power_active"}),
        Case(lambda n: gauges(n, "flow", lambda _: -3.0), lambda n: gauges(n, "flow", lambda _: 3.0, 5), M | {"reading_type": "flow"}),
    ],
    "demand-near-contract": [
        Case(lambda n: demand(n, 95_000.0), lambda n: demand(n, 85_000.0), {"scope": "hengjing"}, "history"),
        Case(lambda n: demand(n, 95_000.0), lambda n: demand(n, 95_000.0, None), {"scope": "hengjing"}, "history"),
    ],
    "phase-imbalance": [
        Case(lambda n: currents(n, 60, 60, 40), lambda n: currents(n, 60, 58, 55), M),
        Case(lambda n: currents(n, 60, 60, 0), lambda n: currents(n, 3, 3, 1), M),
    ],
    "balance-mismatch": [
        Case(lambda n: balance(n, 10_000, 9_000), lambda n: balance(n, 10_000, 9_800), PARENT, "history"),
        Case(lambda n: balance(n, 9_000, 10_000), lambda n: balance(n, 200, 150), PARENT, "history"),
    ],
    "carbon-budget": [
        Case(lambda n: forecast(n, 2.1e7, 2e7), lambda n: forecast(n, 1.9e7, 2e7), S, "history"),
        Case(lambda n: forecast(n, 2.1e7, 2e7), lambda n: forecast(n, 2.1e7, None), S, "history"),
    ],
    "factor-missing": [
        Case(lambda n: quarter(n, ""), lambda n: quarter(n, ",emission_g=2.0"), S | {"method": "national"}, "history"),
    ],
    "completeness-low": [
        Case(lambda n: complete(n, 0.8, 0.4), lambda n: complete(n, 0.97, 0.4), S, "history"),
        Case(lambda n: complete(n, 0.93, 0.9), lambda n: complete(n, 0.5, 0.03), S, "history"),
    ],
    "month-overdue": [
        Case(lambda n: month(n, 0.0, 45), lambda n: month(n, 1.0, 45), S, "history"),
        Case(lambda n: month(n, 0.0, 60), lambda n: month(n, 0.0, 38), S, "history"),
    ],
    "service-serving": [Case(lambda n: service(n, "projector", lag=1800.0), lambda n: service(n, "projector"), {})],
    "service-lag": [Case(lambda n: service(n, lag=600.0), lambda n: service(n, lag=20.0), {"role": "stream"})],
    "service-ingest": [
        Case(lambda n: ingest(n, 1200.0), lambda n: ingest(n, 60.0), {}),
        Case(lambda n: ingest(n, 1200.0), lambda n: ingest(n, 1200.0, online=0.0), {}),
    ],
    "service-down": [Case(lambda n: api(n, 0.0), lambda n: api(n, 1.0), {"role": "api"})],
    "service-refused": [Case(lambda n: refused(n, 6.0), lambda n: refused(n, 5.0), {"role": "stream"})],
    "service-disk": [Case(lambda n: service(n, disk=4e9), service, {"role": "stream"})],
}  # fmt: skip
EVERY_CASE = [
    pytest.param(f"tanyun-{key}", case, id=f"{key}-{i}")
    for key, cases in CASES.items()
    for i, case in enumerate(cases)
]


@pytest.mark.parametrize(("uid", "case"), EVERY_CASE)
def test_a_rule_fires_on_the_fault_and_only_on_it(store: Store, now_ms: int, uid: str, case: Case) -> None:
    store.write(case.policy, case.fires(now_ms))
    assert firing(RULES[uid], store, now_ms) == [case.who]
    store.reset()
    store.write(case.policy, case.calm(now_ms))
    assert firing(RULES[uid], store, now_ms) == []


def test_a_poor_power_factor_fires_at_the_grid_meter_under_load_only(store: Store, now_ms: int) -> None:
    rule = RULES["tanyun-power-factor"]

    def fires(**case: Any) -> list[dict[str, str]]:
        store.reset()
        for policy, lines in zip(("live", "history"), factor(now_ms, **case), strict=True):
            store.write(policy, lines)
        return firing(rule, store, now_ms)

    assert fires(pf=lambda _: 0.85) == [M]
    assert fires(pf=lambda i: -0.85 if i % 2 else 0.85) == [M]
    assert not fires(pf=lambda _: 0.95)
    assert not fires(pf=lambda i: -0.95 if i % 2 else 0.95), (
        "the sign says which way reactive power flows, no more"
    )
    assert not fires(pf=lambda _: 0.5, energy=100.0), "nearly no load"
    assert not fires(pf=lambda _: 0.5, role="sub_meter")


def test_every_rule_has_a_case() -> None:
    assert {f"tanyun-{key}" for key in CASES} | {"tanyun-power-factor"} == set(RULES)


def test_nothing_fires_on_a_healthy_month(month_store: Store, now_ms: int) -> None:
    assert {uid: found for uid, rule in RULES.items() if (found := firing(rule, month_store, now_ms))} == {}
    with_answer = {
        uid for uid, rule in RULES.items() if numbers(rule, month_store, now_ms)[rule["condition"]]
    }
    names_only_faults = {"tanyun-meter-frozen", "tanyun-balance-mismatch"}
    assert with_answer >= set(RULES) - names_only_faults, "the healthy park gave them numbers to judge"


def test_without_any_data_only_the_serving_store_is_reported(store: Store, now_ms: int) -> None:
    alarms = {uid: Alarm(rule) for uid, rule in RULES.items()}
    alerting = {
        uid
        for minute in range(0, 30, 5)
        for uid, alarm in alarms.items()
        if alarm.evaluate(store, now_ms + minute * MINUTE)
    }
    assert alerting == {"tanyun-service-serving"}


def test_when_the_projector_stops_nothing_else_fires_or_clears(store: Store, now_ms: int) -> None:
    start = now_ms - DAY
    store.write("live", [*gateway(start, online=0.0), *service(start, "projector")])
    alarms = {uid: Alarm(rule) for uid, rule in RULES.items()}
    seen = [{uid for uid, a in alarms.items() if a.evaluate(store, start + m * MINUTE)} for m in range(40)]
    assert seen[5] == {"tanyun-gateway-silent"}
    assert seen[-1] == {"tanyun-gateway-silent", "tanyun-service-serving"}


@pytest.mark.parametrize(("minutes", "alerts"), [(4, 0), (9, 1)])
def test_a_short_reconnect_stays_silent(store: Store, now_ms: int, minutes: int, alerts: int) -> None:
    alarm, seen = Alarm(RULES["tanyun-gateway-silent"]), 0
    for minute in range(20):
        t = now_ms - DAY + minute * MINUTE
        store.write("live", gateway(t, online=float(not 5 <= minute < 5 + minutes)))
        seen = max(seen, len(alarm.evaluate(store, t)))
    assert seen == alerts


def test_every_rule_says_all_that_an_operator_needs() -> None:
    boards = {board["uid"]: board for board in rendered.boards()}
    for uid, rule in RULES.items():
        notes, labels = rule["annotations"], rule["labels"]
        panels = {str(p["id"]): p["type"] for p in boards[notes["__dashboardUid__"]]["panels"]}
        assert panels[notes["__panelId__"]] not in {"row", "alertlist"}, uid
        assert {"summary", "description", "todo", "runbook_url"} <= set(notes)
        assert len(notes["description"].splitlines()) == len(notes["todo"].splitlines()) == 2, (
            "中文 and English"
        )
        assert (REPOSITORY / notes["runbook_url"]).is_file(), notes["runbook_url"]
        assert labels["app"] == "tanyun"
        assert labels["severity"] in {"critical", "warning"}
        assert rule["noDataState"] in {"OK", "KeepLast", "Alerting"}
        assert rule["execErrState"] in {"KeepLast", "Alerting"}
        assert len(uid) <= 40, "Grafana's limit"


def test_every_rule_is_whole() -> None:
    for group in rendered.alert_groups():
        for rule in group["rules"]:
            known: set[str] = set()
            for step in rule["data"]:
                model, ref = step["model"], step["refId"]
                assert ref == model["refId"] not in known
                assert step["datasourceUid"] == model["datasource"]["uid"] in {"__expr__", "tanyun-influx"}
                if step["datasourceUid"] == "tanyun-influx":
                    assert "$timeFilter" in model["query"]
                    assert model["resultFormat"] == "time_series"
                    assert step["relativeTimeRange"]["from"] > step["relativeTimeRange"]["to"] >= 0
                elif model["type"] != "math":
                    assert model["expression"] in known
                known.add(ref)
            assert rule["condition"] in known
            assert seconds(rule["for"]) % group["interval"] == 0, "a pending time is a number of evaluations"
            assert seconds(rule["for"]) >= 300, "longer than a reconnect"


def test_a_silent_gateway_holds_back_the_alerts_of_its_meters(store: Store, now_ms: int) -> None:
    """Ten meters, one alert."""
    start = now_ms - 3 * HOUR
    store.write("live", live(PARK, start, start + HOUR))
    store.write("history", history(PARK, start - DAY, start + HOUR))
    alarms = {uid: Alarm(rule) for uid, rule in RULES.items() if rule["ruleGroup"] == "tanyun-fleet"}
    alerting = set()
    for minute in range(60, 150):
        t = start + minute * MINUTE
        silent_s = (minute - 60) * 60.0
        store.write("live", [
            *(f"gateway,gateway={g} online=0.0,backlog_age_s={silent_s} {t}" for g in ("gw-hengjing", "gw-yuntu")),
            *(f"meter_state,{m.tags} age_s={silent_s + 12} {t}" for m in PARK),
        ])  # fmt: skip
        if minute % 5 == 0:
            alerting |= {uid for uid, alarm in alarms.items() if alarm.evaluate(store, t)}
    assert alerting == {"tanyun-gateway-silent"}


def test_every_runbook_is_about_its_rule() -> None:
    pages = {
        path.stem: path.read_text(encoding="utf-8")
        for path in (REPOSITORY / "docs" / "runbooks").glob("*.md")
    }
    assert {f"tanyun-{name}" for name in pages} == set(RULES)
    for name, page in pages.items():
        rule = RULES[f"tanyun-{name}"]
        assert page.splitlines()[0].removeprefix("# ").replace(" / ", " ") == rule["title"]
        for line in rule["annotations"]["description"].splitlines():
            assert line in page, name
