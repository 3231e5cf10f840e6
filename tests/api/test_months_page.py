"""The regulator's and the enterprise's page in a real Chromium: a month from its finding to the stamped scan, by two people."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import httpx
import jsonschema
import msgspec
import pytest

from api.app import create_app
from api.settings import ApiSettings
from metering.intervals import local_month
from metering.registry import Park, load_registry, parse_registry
from storage.audit import AuditLog
from storage.months import MonthStore
from storage.registry import RegistryReader
from tanyun.desk import RESTATEMENT, MonthDesk
from tanyun.exchanges import ExchangeDesk
from tests.api.conftest import ParkFiles, _served
from tests.api.test_page import Tab, browser, sign_in
from tests.verification.conftest import CLOSED_AT_MS, MONTH, PARK, Plant, in_order
from verification.lifecycle import Action, Wish

__all__ = ["browser"]
"""The fixture of the other page's tests."""

pytestmark = pytest.mark.browser

SCAN = b"%PDF-1.7 a stamped scan"


@dataclass(frozen=True)
class Served:
    """A served park with one closed month of two enterprises, and people."""

    url: str
    folder: Path
    desk: MonthDesk
    park: Park


def toml(value: object) -> str:
    """Enough TOML for a registry: JSON's texts, numbers and inline tables are TOML's but for the colon."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def park_file() -> str:
    """The registry as an operator writes it: a table for each meter."""
    *rest, (_key, meters) = PARK.items()
    lines = [f"{key} = {toml(value)}" for key, value in rest]
    for meter in msgspec.convert(meters, list[dict[str, object]]):
        lines += ["", "[[meters]]", *(f"{key} = {toml(value)}" for key, value in meter.items())]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("desk")
    park = parse_registry(msgspec.convert(PARK, dict[str, object]))
    plant = Plant(folder, park, local_month(MONTH, park.tz))
    plant.facts = in_order(park)
    plant.pending = {"m-press"}
    plant.build()
    rows = plant.close()
    plant.rates["m-two", "energy_import_total"] += 60  # as if its ratio had been wrong
    plant.build()
    rows = plant.close("ct_corrected：m-two", at_ms=CLOSED_AT_MS + 1000)
    (folder / "park.toml").write_text(park_file(), encoding="utf-8")
    desk = MonthDesk(
        folder / "months.sqlite", folder / "lifecycle.db", folder / "attachments", lambda: CLOSED_AT_MS
    )
    with MonthStore(folder / "months.sqlite", writable=False) as months:
        desk.note_closed(sorted(months.list(), key=lambda row: row.revision), "cli:li", "operator")
    files = ParkFiles(folder, park)
    for name, grant in {
        "li": ("operator", "*"),
        "wang": ("regulator", "*"),
        "chen": ("enterprise", "guangdian"),
        "zhao": ("enterprise", "jingmi"),
    }.items():
        files.user(name, grant)
    assert rows
    settings = ApiSettings(
        park=folder / "park.toml", ledger=folder / "ledger.sqlite", journal=folder / "journal.sqlite", months=folder / "months.sqlite",
        reports=folder / "reports", users=folder / "users.db", audit=folder / "audit.db", facts=folder / "registry.db", burst=1e6,
    )  # fmt: skip
    exchanges = ExchangeDesk(
        folder / "park.toml",
        folder / "ledger.sqlite",
        folder / "journal.sqlite",
        folder / "attachments",
        lambda: CLOSED_AT_MS,
    )
    with _served(create_app(settings, lambda: CLOSED_AT_MS, desk, exchanges)) as url:
        yield Served(url, folder, desk, park)


class Person:
    """A browser tab of somebody who has signed in."""

    def __init__(self, port: int, url: str, name: str) -> None:
        self.tab, self._url = Tab(port), url
        self.tab.size(1280)
        self.tab.language("zh-CN")
        self.tab.call("Network.clearBrowserCookies")
        self.tab.open(f"{url}/login")
        self.tab.wait("document.documentElement.dataset.ready")
        sign_in(self.tab, name)

    def go(self, path: str, condition: str) -> Tab:
        self.tab.open("about:blank")
        self.tab.open(self._url + path)
        self.tab.wait(condition)
        return self.tab

    def leave(self) -> None:
        self.tab.call("Storage.clearDataForOrigin", origin=self._url, storageTypes="all")
        self.tab.close()


CHOSEN = "!document.querySelector('#detail').hidden && document.querySelectorAll('#parts table').length"


def test_a_month_goes_from_its_finding_to_the_stamped_scan_by_two_people(  # noqa: PLR0915  one story
    served: Served,
    browser: int,
    tmp_path: Path,
) -> None:
    desk = served.desk
    (standing,) = [s for s in desk.board("2026-11-03") if s.scope_id == "guangdian"]
    assert (standing.status, standing.revision) == ("provisional", 2)

    chen = Person(browser, served.url, "chen")
    tab = chen.go(f"/form?month={MONTH}", "document.querySelectorAll('#fields input').length === 10")
    values = {"output_10k_cny": "1234.5", "value_added_10k_cny": "321.25", "diesel_t": "1.5"}
    for name, value in values.items():
        tab.run(f"document.querySelector('#f-{name}').value = {value!r}")
    tab.click("#form button")
    tab.wait("document.querySelector('#saved').innerText.includes('已保存')")
    for number in range(tab.run("document.querySelectorAll('.finding').length")):
        tab.run(f"document.querySelectorAll('.finding textarea')[{number}].value = '分表后装，见说明'")
        tab.run(f"document.querySelectorAll('.finding')[{number}].requestSubmit()")
        tab.wait(f"document.querySelectorAll('.finding .said').length >= {number + 1}")
    tab.size(390, 844)
    tab.screenshot(tmp_path / "form_phone.png")
    assert tab.run("document.documentElement.scrollWidth <= innerWidth")
    chen.leave()
    with RegistryReader(served.folder / "registry.db") as registry:
        said = registry.rows()
    assert {row.kind for row in said} == {"production", "energy"}
    assert {row.who for row in said} == {"chen"}

    li = Person(browser, served.url, "li")
    tab = li.go(f"/months#{MONTH}/enterprise/guangdian", CHOSEN)
    assert "ct_corrected" in tab.text("#revision")
    tab.wait("document.querySelector('#do-send')")
    assert not tab.run("!!document.querySelector('#do-approve')")
    tab.click("#do-send")
    tab.wait("document.querySelector('#chips').innerText.includes('核查中')")
    li.leave()

    wang = Person(browser, served.url, "wang")
    tab = wang.go(
        f"/months#{MONTH}/enterprise/guangdian", f"{CHOSEN} && document.querySelector('#do-approve')"
    )
    for words in ("版次之间的差异", "V16", "一致", "核查通过", "91,035.840"):
        assert words in tab.text("#detail"), words
    tab.screenshot(tmp_path / "months.png")
    tab.click("#do-return")
    tab.wait("!document.querySelector('#notice').hidden")  # without a reason
    tab.click("#do-approve")
    tab.wait("document.querySelector('#chips').innerText.includes('已核查')")
    wang.leave()

    chen = Person(browser, served.url, "chen")
    tab = chen.go(f"/form?month={MONTH}", "document.querySelector('#state').innerText.includes('已核查')")
    tab.run(
        "(() => { const all = new DataTransfer(); all.items.add(new File(["
        + json.dumps(SCAN.decode())
        + "], '盖章件.pdf'));"
        " document.querySelector('#scan-file').files = all.files; })()"
    )
    tab.click("#scan button")
    tab.wait("document.querySelector('#scanned').innerText.includes('已上传')")
    chen.leave()
    life = desk.life(
        desk_subject := next(s for s in desk.acts() if s.scope_id == "guangdian" and s.revision == 2)
    )
    assert life is not None
    assert desk_subject.month == MONTH
    assert [a.action for a in life.acts if a.action != "answer"] == ["close", "send", "approve", "attach"]
    assert life.acts[-1].file_sha256 == hashlib.sha256(SCAN).hexdigest()
    assert desk.attachment(life.acts[-1].file_sha256) == SCAN
    with AuditLog(served.folder / "audit.db") as log:
        actions = {entry.action for entry in log.entries()}
    assert {"form.state", "month.send", "month.approve", "month.attach"} <= actions


def test_the_board_shows_every_scope_and_can_be_used_with_the_keyboard(
    served: Served,
    browser: int,
    tmp_path: Path,
) -> None:
    wang = Person(browser, served.url, "wang")
    tab = wang.go("/months", "document.querySelectorAll('.cell').length === 3")
    assert "示范高新区" in tab.text("#board")
    tab.run("document.querySelector('.cell').focus()")
    for kind in ("keyDown", "keyUp"):
        tab.call(
            "Input.dispatchKeyEvent",
            type=kind,
            key="Enter",
            code="Enter",
            windowsVirtualKeyCode=13,
            text="\r" if kind == "keyDown" else "",
        )
    tab.wait(CHOSEN)
    tab.run(
        "document.querySelector('#revision').value = '1'; document.querySelector('#revision').onchange?.()"
    )
    tab.click("#lang")
    tab.wait("document.querySelector('#board').innerText.includes('Provisional')")
    tab.size(1280, dark=True)
    tab.screenshot(tmp_path / "board_dark.png")
    assert tab.problems == []
    wang.leave()


def test_an_enterprise_sees_only_its_own_months_and_cannot_approve(served: Served) -> None:
    key = ParkFiles(served.folder, served.park).key(("enterprise", "guangdian"))
    with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {key}"}) as client:
        board = client.get("/api/v1/board").json()
        assert {standing["scope_id"] for standing in board} == {"guangdian"}
        assert client.get(f"/api/v1/months/{MONTH}/enterprise/jingmi/life").status_code == 404
        assert client.get(f"/api/v1/forms/{MONTH}/jingmi").status_code == 404
        path = f"/api/v1/months/{MONTH}/enterprise/guangdian/review/approve"
        assert client.post(path, json={}).status_code == 403
        assert client.post("/api/v1/uploads/files", content=b"MZ").status_code == 422
        kept = client.post("/api/v1/uploads/files", content=SCAN + b"2").json()["sha256"]
        # Kept, but no act names it: nobody gets it.
        assert client.get(f"/api/v1/months/{MONTH}/enterprise/guangdian/files/{kept}").status_code == 404


def test_a_whole_restatement_is_approved_on_the_page_by_somebody_else(
    tmp_path_factory: pytest.TempPathFactory, browser: int, tmp_path: Path
) -> None:
    """Two scopes that one cause restated: one button, both verified; who handed them over cannot."""
    with contextmanager(served.__wrapped__)(tmp_path_factory) as own:  # type: ignore[attr-defined]  # the fixture's function
        cause, desk = "3f2a90c1d4e5b678", own.desk
        subjects = [s for s in desk.acts() if s.revision == 2]
        assert len(subjects) == 2
        desk.act_on(subjects, Wish(Action.SEND, "li", "operator", CLOSED_AT_MS, f"{RESTATEMENT}{cause}"))
        for subject in subjects:
            life = desk.life(subject)
            assert life is not None
            for check in life.unanswered:
                desk.act(subject, "answer", actor="li", role="operator", reason="说明", check=check)
        files = ParkFiles(own.folder, own.park)
        path = f"/api/v1/restatements/{cause}"
        for grant, told in ((("enterprise", "guangdian"), 404), (("regulator", "*"), 200)):
            headers = {"Authorization": f"Bearer {files.key(grant)}"}
            assert httpx.get(own.url + path, headers=headers).status_code == told
        wang = Person(browser, own.url, "wang")
        tab = wang.go(
            f"/months#{MONTH}/enterprise/guangdian", f"{CHOSEN} && document.querySelector('#do-approve-all')"
        )
        assert "整批更正核查通过 (2: 2026-10)" in tab.text("#decide")
        tab.screenshot(tmp_path / "restatement.png")
        tab.click("#do-approve-all")
        tab.wait("document.querySelector('#chips').innerText.includes('已核查')")
        wang.leave()
        assert {s.status for s in desk.board("2026-11-03") if s.revision == 2} == {"verified"}
        with AuditLog(own.folder / "audit.db") as log:
            (entry,) = [e for e in log.entries() if e.target == f"restatement {cause}"]
        assert (entry.actor, entry.outcome) == ("wang", "ok")


def test_a_meter_exchanged_at_three_in_the_morning_is_completed_on_the_page(
    tmp_path_factory: pytest.TempPathFactory, browser: int, tmp_path: Path
) -> None:
    """换表待确认: by the enterprise whose meter it is, with both displays and a photo, after the last total that counted."""
    with contextmanager(served.__wrapped__)(tmp_path_factory) as own:  # type: ignore[attr-defined]  # the fixture's function
        files, path = ParkFiles(own.folder, own.park), "/api/v1/meters/m-press/exchange"
        for grant, told in (
            (("enterprise", "guangdian"), 404),
            (("regulator", "*"), 403),
            (("operator", "*"), 409),
        ):
            headers = {"Authorization": f"Bearer {files.key(grant)}"}
            assert httpx.post(own.url + path, headers=headers, json={}).status_code == told
        others = httpx.get(
            f"{own.url}/api/v1/exchanges/pending",
            headers={"Authorization": f"Bearer {files.key(('enterprise', 'guangdian'))}"},
        )
        assert others.json() == []

        zhao = Person(browser, own.url, "zhao")
        tab = zhao.go(f"/form?month={MONTH}", "document.querySelector('form[data-meter=m-press]')")
        for words in ("换表待确认", "m-press 冲压机", "2026-11-01 00:00:00", "kWh"):
            assert words in tab.text("#exchanges"), words
        values = {
            "at": "2026-10-30T03:07:00", "serial": "20261101", "closing.energy_import_total": "34772.56",
            "opening.energy_import_total": "0.12",
        }  # fmt: skip
        for name, value in values.items():
            tab.run(
                f"document.querySelector('form[data-meter=m-press] [name={json.dumps(name)}]').value = {value!r}"
            )
        tab.run("document.querySelector('form[data-meter=m-press] textarea').value = '显示屏损坏'")
        photo = json.dumps("\u00ff\u00d8\u00ff two displays")
        tab.run(
            f"(() => {{ const all = new DataTransfer(); const bytes = Uint8Array.from({photo}, c => c.charCodeAt(0));"
            " all.items.add(new File([bytes], 'both.jpg'));"
            " document.querySelector('form[data-meter=m-press] [type=file]').files = all.files; })()"
        )
        send = "document.querySelector('form[data-meter=m-press]').requestSubmit()"
        tab.run(send)
        tab.wait("!document.querySelector('#notice').hidden")  # before the last total that counted
        assert "2026-11-01T00:00:00+08:00" in tab.text("#notice")
        tab.size(390, 844)
        tab.screenshot(tmp_path / "exchange_phone.png")
        assert tab.run("document.documentElement.scrollWidth <= innerWidth")
        tab.run("document.querySelector('form[data-meter=m-press] [name=at]').value = '2026-11-01T03:07:00'")
        tab.run(send)
        tab.wait("document.querySelector('#exchanges').innerText.includes('已登记')")
        zhao.leave()

        meter = load_registry(own.folder / "park.toml").meter("m-press")
        assert meter is not None
        (exchange,) = meter.exchanges
        assert (str(exchange.at), exchange.serial) == ("2026-11-01 03:07:00", "20261101")
        assert exchange.closing == {"energy_import_total": Decimal("34772.56")}
        digest = hashlib.sha256(b"\xff\xd8\xff two displays").hexdigest()
        assert digest in exchange.reason
        assert own.desk.attachment(digest) is not None
        with AuditLog(own.folder / "audit.db") as log:
            done = [(e.actor, e.outcome) for e in log.entries() if e.action == "meter.exchange"]
        assert done[-2:] == [("zhao", "refused"), ("zhao", "ok")]


def test_the_schema_of_a_report_is_published_to_everybody(served: Served) -> None:
    answer = httpx.get(f"{served.url}/api/v1/schemas/month")
    assert answer.headers["content-type"] == "application/schema+json"
    published = json.loads((Path(__file__).parents[2] / "docs/month-document.schema.json").read_text("utf-8"))
    assert answer.json() == published
    jsonschema.Draft202012Validator.check_schema(answer.json())
    with MonthStore(served.folder / "months.sqlite", writable=False) as months:
        for row in months.list(MONTH):
            jsonschema.Draft202012Validator(answer.json()).validate(json.loads(row.document))
