"""What people do at the pages of an office's server, in a real browser."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from api.app import create_app
from tanyun.commands.roles import api_settings
from tanyun.desk import desk_of
from tanyun.exchanges import exchanges_of
from tests.api.conftest import PASSWORD, _served
from tests.api.test_page import Tab, sign_in
from tests.e2e.office import Office

PEOPLE = {
    "li": ("operator", ()),
    "wang": ("regulator", ()),
    "chen": ("enterprise", ("--enterprise", "plant")),
}
"""Who works at the pages: name → role and the rest of `tanyun user add`."""
FINDINGS = "document.querySelectorAll('.finding[data-check]')"


class Pages:
    """The pages, served anew for each visit: a role ends when its registry changes, and is started again."""

    def __init__(self, office: Office, browser: int, shots: Path) -> None:
        self.office, self._browser, self._shots = office, browser, shots
        (office.folder / "first-password").write_text(f"{PASSWORD}\n", encoding="utf-8")
        for name, (role, rest) in PEOPLE.items():
            words = ("--password-file", str(office.folder / "first-password"))
            office.type("user", "add", name, "--role", role, *rest, *words)

    @contextmanager
    def visit(
        self, name: str, path: str, shown: str, *, phone: bool = False, shot: str = ""
    ) -> Iterator[Tab]:
        """Somebody signs in and opens a page; `shown` holds once it is there."""
        config, clock = self.office.config, self._clock
        app = create_app(api_settings(config), clock, desk_of(config, clock), exchanges_of(config, clock))
        tab = Tab(self._browser)
        with _served(app) as url:
            tab.size(*((390, 844) if phone else (1280, 900)))
            tab.language("zh-CN")
            tab.call("Network.clearBrowserCookies")
            tab.open(f"{url}/login")
            tab.wait("document.documentElement.dataset.ready")
            sign_in(tab, name)
            tab.open("about:blank")
            tab.problems.clear()
            tab.open(url + path)
            tab.wait(shown)
            yield tab
            if shot:
                tab.screenshot(self._shots / f"{shot}.png")
            if phone:
                assert tab.run("document.documentElement.scrollWidth <= innerWidth")
            tab.close()

    def _clock(self) -> int:
        return self.office.now_ms

    def fill_form(self, month: str, values: Mapping[str, str], *, shot: str = "") -> None:
        """The enterprise states its month."""
        path, shown = f"/form?month={month}", "document.querySelectorAll('#fields input').length === 10"
        with self.visit("chen", path, shown, phone=True, shot=shot) as tab:
            for name, value in values.items():
                tab.run(f"document.querySelector('#f-{name}').value = {value!r}")
            tab.click("#form button")
            tab.wait("document.querySelector('#saved').innerText.includes('已保存')")
            assert tab.problems == []

    def answer_findings(self, month: str, *, shot: str = "") -> int:
        """The enterprise answers what it has not answered, each with a photo; how many there were."""
        path, shown = f"/form?month={month}", "document.querySelector('#state').innerText"
        with self.visit("chen", path, shown, phone=True, shot=shot) as tab:
            open_ = f"[...{FINDINGS}].filter(f => !f.querySelector('.said'))"
            count = int(tab.run(f"{open_}.length"))
            for left in range(count, 0, -1):
                tab.run(f"{open_}[0].querySelector('textarea').value = '已查明，见照片'")
                tab.run(f"{_file('seen.jpg')}; {open_}[0].querySelector('[type=file]').files = all.files")
                tab.run(f"{open_}[0].requestSubmit()")
                tab.wait(f"{open_}.length === {left - 1}")
            assert tab.problems == []
        return count

    def decide(
        self, name: str, month: str, action: str, then: str, *, reason: str = "", shot: str = ""
    ) -> None:
        """Somebody presses a button of a month; `then` is what its chips say afterwards."""
        with self.month(name, month, f"document.querySelector('#do-{action}')", shot=shot) as tab:
            tab.run(f"document.querySelector('#reason').value = {json.dumps(reason)}")
            tab.click(f"#do-{action}")
            tab.wait(f"document.querySelector('#chips').innerText.includes({then!r})")
            assert tab.problems == []

    @contextmanager
    def month(self, name: str, month: str, shown: str = "true", *, shot: str = "") -> Iterator[Tab]:
        """The regulator's page of the enterprise's month."""
        chosen = "!document.querySelector('#detail').hidden && document.querySelector('#parts table')"
        with self.visit(name, f"/months#{month}/enterprise/plant", f"{chosen} && {shown}", shot=shot) as tab:
            yield tab

    def exchange(self, month: str, meter: str, values: Mapping[str, str], *, shot: str = "") -> None:
        """The enterprise completes an exchanged meter, with a photo."""
        form = f"document.querySelector('form[data-meter={meter}]')"
        with self.visit("chen", f"/form?month={month}", form, phone=True, shot=shot) as tab:
            for name, value in values.items():
                tab.run(f"{form}.querySelector('[name={json.dumps(name)}]').value = {value!r}")
            tab.run(f"{_file('both.jpg')}; {form}.querySelector('[type=file]').files = all.files")
            tab.run(f"{form}.requestSubmit()")
            tab.wait("document.querySelector('#exchanges').innerText.includes('已登记')")
            assert tab.problems == []

    def upload_scan(self, month: str, *, shot: str = "") -> None:
        """The enterprise uploads the stamped scan of a verified month."""
        path, shown = f"/form?month={month}", "document.querySelector('#state').innerText.includes('已核查')"
        with self.visit("chen", path, shown, phone=True, shot=shot) as tab:
            tab.run(f"{_file('盖章件.jpg')}; document.querySelector('#scan-file').files = all.files")
            tab.click("#scan button")
            tab.wait("document.querySelector('#scanned').innerText.includes('已上传')")
            assert tab.problems == []

    @staticmethod
    def drilled(tab: Tab, total: str, day: str, quarter: str) -> str:
        """From a total of the month down to its readings of a quarter hour; what is told there."""
        at = f"document.querySelector('[data-total=\"{total}\"]')"
        tab.run("document.querySelectorAll('details.part').forEach(d => d.open = true)")
        tab.run(f"{at}.open = true")
        found = ""
        for words in ("逐日", day, quarter):
            found = f"[...{at}.querySelectorAll('summary')].find(s => s.textContent.startsWith({words!r}))"
            tab.wait(found)
            tab.run(f"{found}.parentElement.open = true")
        tab.wait(f"{found}.parentElement.querySelector('.inside tbody td')")
        return str(tab.run(f"{at}.innerText"))


def _file(name: str) -> str:
    """Script: `all` holds a JPEG of that name."""
    content = json.dumps("\u00ff\u00d8\u00ff a photo")
    return (
        f"var all = new DataTransfer(); all.items.add(new File([Uint8Array.from({content}, c => c.charCodeAt(0))],"
        f" {json.dumps(name)}, {{type: 'image/jpeg'}}))"
    )
