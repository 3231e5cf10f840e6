"""`tanyun grafana` against a server that keeps Grafana's HTTP contract."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from dashboards import names, rendered
from tanyun.commands.grafana import grafana as command
from tests.fakes.grafana import TOKEN, Grafana

ROBOT = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=very-secret"
SETTINGS = """
url = "{url}"
token_file = "token"
runbooks = "https://docs.example.invalid/runbooks/"
[influx]
url = "http://127.0.0.1:8086"
user = "grafana"
password_file = "password"
[[contacts]]
name = "operators"
emails = ["a@example.invalid", "b@example.invalid"]
wecom_file = "robot"
[[contacts]]
name = "hengjing"
emails = ["hj@example.invalid"]
dingding_file = "robot"
webhook_file = "robot"
[[routes]]
enterprise = "hengjing"
contact = "hengjing"
gateways = ["gw-hengjing"]
[[shifts]]
contact = "operators"
start = "20:00"
end = "08:00"
[[holidays]]
name = "春节 2027"
first = 2027-01-28
last = 2027-02-11
[[shutdowns]]
enterprise = "hengjing"
first = 2027-02-01
last = 2027-02-15
[[site_plans]]
name = "north"
title = "北区"
image = "public/img/north.png"
[[site_plans.places]]
gateway = "gw-hengjing"
x = 12.5
y = 40
"""


@pytest.fixture
def server() -> Iterator[Grafana]:
    with Grafana() as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, server: Grafana) -> Path:
    for name, text in (("token", TOKEN), ("password", "pw"), ("robot", ROBOT)):
        (tmp_path / name).write_text(text + "\n", encoding="utf-8")
    path = tmp_path / "grafana.toml"
    path.write_text(SETTINGS.format(url=server.url), encoding="utf-8")
    return path


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--config", str(config)])


def push(config: Path, *arguments: str) -> dict[str, list[str]]:
    """Action → names."""
    result = run(config, "push", "--json", *arguments)
    assert result.exit_code == 0, result.output
    out: dict[str, list[str]] = {}
    for change in json.loads(result.output):
        out.setdefault(change["action"], []).append(change["name"])
    return out


def state(server: Grafana) -> Any:
    kept = (
        server.folders,
        server.datasources,
        server.dashboards,
        server.groups,
        server.points,
        server.timings,
        server.policies,
    )
    return copy.deepcopy(kept)


def test_a_push_puts_everything_there_and_a_second_one_changes_nothing(server: Grafana, config: Path) -> None:
    first = push(config)
    assert set(first) == {"create"}
    assert set(server.dashboards) == {*rendered.BOARDS, "tanyun-plan-north"}
    assert {name for _, name in server.groups} == {
        "tanyun-fleet",
        "tanyun-energy",
        "tanyun-month",
        "tanyun-service",
    }
    assert server.datasources[names.DATASOURCE]["secureJsonFields"] == {"password": True}
    assert server.points["tanyun-operators-wecom"]["settings"]["url"] == ROBOT
    rule = server.groups[names.FOLDER, "tanyun-fleet"]["rules"][0]
    assert rule["annotations"]["runbook_url"] == "https://docs.example.invalid/runbooks/gateway-silent.md"
    before, server.writes = state(server), []
    assert set(push(config)) == {"same"}
    assert server.writes == []
    assert state(server) == before


def test_a_dry_run_shows_all_and_writes_nothing(server: Grafana, config: Path) -> None:
    result = run(config, "push", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "+ dashboard tanyun-fleet" in result.output
    assert server.writes == []


def test_what_others_made_is_left_as_it_is(server: Grafana, config: Path) -> None:
    server.dashboards["theirs"] = {
        "dashboard": {"title": "Theirs", "tags": ["tanyun"], "version": 3},
        "meta": {"folderUid": "x"},
    }
    server.timings["weekends"] = {"name": "weekends", "time_intervals": [{"weekdays": ["saturday"]}]}
    theirs = {
        "receiver": "grafana-default-email",
        "object_matchers": [["team", "=", "it"]],
        "mute_time_intervals": ["weekends"],
    }
    server.policies["routes"] = [theirs]
    push(config)
    group = server.groups[names.FOLDER, "tanyun-fleet"]
    foreign = {**copy.deepcopy(group["rules"][0]), "uid": "hand-made", "title": "hand made"}
    group["rules"].append(foreign)
    del group["rules"][0]
    assert push(config)["update"] == ["tanyun-fleet"]
    assert server.dashboards["theirs"]["dashboard"]["version"] == 3
    assert "weekends" in server.timings
    assert theirs in server.policies["routes"]
    assert server.policies["receiver"] == "grafana-default-email"
    assert [r["uid"] for r in server.groups[names.FOLDER, "tanyun-fleet"]["rules"]][-1] == "hand-made"
    assert set(push(config)) == {"same"}


def test_what_was_edited_by_hand_is_shown_and_put_back(server: Grafana, config: Path) -> None:
    push(config)
    server.dashboards[names.FLEET]["dashboard"]["panels"][2]["title"] = "mine"
    server.groups[names.FOLDER, "tanyun-service"]["rules"][0]["for"] = "1h"
    result = run(config, "push", "--dry-run")
    assert "~ dashboard tanyun-fleet" in result.output
    assert "panels[2].title: 'mine' →" in result.output
    assert "rules[0].for: '1h' → '5m'" in result.output
    assert set(push(config)["update"]) == {names.FLEET, "tanyun-service"}
    assert set(push(config)) == {"same"}


def test_what_we_no_longer_want_goes_and_only_that(server: Grafana, config: Path) -> None:
    push(config)
    text = config.read_text(encoding="utf-8")
    config.write_text(
        text.split("[[shutdowns]]")[0].replace('dingding_file = "robot"\n', ""), encoding="utf-8"
    )
    old = {
        "dashboard": {"title": "Old", "tags": ["tanyun"], "uid": "tanyun-old", "version": 1},
        "meta": {"folderUid": names.FOLDER},
    }
    server.dashboards["tanyun-old"] = old
    assert push(config)["delete"] == [
        "tanyun-old", "tanyun-plan-north", "tanyun-hengjing-dingding", "tanyun-shutdown-hengjing",
    ]  # fmt: skip
    assert set(push(config)) == {"same"}


def test_secrets_are_written_again_when_forced_and_never_shown(server: Grafana, config: Path) -> None:
    push(config)
    (config.parent / "robot").write_text("https://new.example.invalid", encoding="utf-8")
    assert set(push(config)) == {"same"}, "Grafana does not tell a secret"
    result = run(config, "push", "--force")
    assert server.points["tanyun-operators-wecom"]["settings"]["url"] == "https://new.example.invalid"
    for text in (result.output, run(config, "push", "--force", "--json").output):
        assert "very-secret" not in text
        assert "new.example" not in text


def test_a_grafana_that_refuses_or_is_not_there_is_a_sentence(server: Grafana, config: Path) -> None:
    (config.parent / "token").write_text("wrong", encoding="utf-8")
    refused = run(config, "push")
    assert (refused.exit_code, "refuses" in refused.output) == (1, True)
    config.write_text(
        config.read_text(encoding="utf-8").replace(server.url, "http://127.0.0.1:9"), encoding="utf-8"
    )
    gone = run(config, "push")
    assert (gone.exit_code, "does not answer" in gone.output) == (1, True)
    config.write_text('url = "http://127.0.0.1:9"\ntoken_file = "t"\ncolour = 1\n', encoding="utf-8")
    wrong = run(config, "push")
    assert wrong.exit_code == 78
    assert "colour" in wrong.output
    assert "contacts" in wrong.output


def test_every_contact_has_e_mail_beside_its_robots(server: Grafana, config: Path) -> None:
    push(config)
    kinds: dict[str, set[str]] = {}
    for point in server.points.values():
        kinds.setdefault(point["name"], set()).add(point["type"])
    assert kinds["tanyun-operators"] == {"email", "wecom"}
    assert kinds["tanyun-hengjing"] == {"email", "dingding", "webhook"}


def test_routes_go_by_shift_enterprise_and_holiday(server: Grafana, config: Path) -> None:
    push(config)
    ours = server.policies["routes"][0]
    matchers = [route["object_matchers"][0] for route in ours["routes"]]
    assert matchers == [
        ["severity", "=", "critical"], ["enterprise", "=", "hengjing"], ["scope", "=", "hengjing"],
        ["gateway", "=~", "gw-hengjing"], ["when", "=", "working-days"],
    ]  # fmt: skip
    assert ours["routes"][0]["continue"] is True
    assert ours["routes"][1]["mute_time_intervals"] == ["tanyun-shutdown-hengjing"]
    holidays = server.timings["tanyun-holidays"]["time_intervals"]
    assert [(i["months"], i["days_of_month"]) for i in holidays] == [(["1"], ["28:31"]), (["2"], ["1:11"])]
    off = server.timings["tanyun-off-duty-0-operators"]["time_intervals"][0]
    assert off["times"] == [{"start_time": "08:00", "end_time": "20:00"}]


def test_files_hold_the_same_as_a_push(server: Grafana, config: Path, tmp_path: Path) -> None:
    push(config)
    result = run(config, "render", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    files = {
        p.name: yaml.safe_load(p.read_text(encoding="utf-8")) for p in (tmp_path / "out").rglob("*.yaml")
    }
    assert all(document["apiVersion"] == 1 for document in files.values())
    pushed = {rule["uid"] for group in server.groups.values() for rule in group["rules"]}
    assert {
        rule["uid"] for group in files["tanyun-rules.yaml"]["groups"] for rule in group["rules"]
    } == pushed
    receivers = {
        r["uid"] for p in files["tanyun-contact-points.yaml"]["contactPoints"] for r in p["receivers"]
    }
    assert receivers == {uid for uid in server.points if uid.startswith("tanyun-")}
    assert {t["name"] for t in files["tanyun-mute-timings.yaml"]["muteTimes"]} == set(server.timings)
    assert (
        files["tanyun-policies.yaml"]["policies"][0]["routes"][0]["routes"]
        == server.policies["routes"][0]["routes"]
    )
    points = next((tmp_path / "out").rglob("tanyun-contact-points.yaml"))
    assert points.stat().st_mode & 0o007 == 0, "it holds the robots' addresses"
    rules = next((tmp_path / "out").rglob("tanyun-datasource*.yaml"), None)
    source = files["tanyun.yaml"]
    assert rules is None
    assert "pw" not in json.dumps(source)
