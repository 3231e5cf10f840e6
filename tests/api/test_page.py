"""The page in a real headless Chromium, driven through the DevTools protocol."""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import websocket

from api.second_factor import STEP_MS, code_at, new_secret
from storage.users import UserStore
from tests.api.conftest import NOW_MS

pytestmark = pytest.mark.browser

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0",
]  # fmt: skip
WAIT_S = 45.0
PASSWORD = "a long enough phrase"


class Tab:
    """One tab of the browser."""

    def __init__(self, port: int) -> None:
        target = httpx.put(f"http://127.0.0.1:{port}/json/new?about:blank").json()
        self._id, address = target["id"], target["webSocketDebuggerUrl"]
        self._socket = websocket.create_connection(address, timeout=WAIT_S, suppress_origin=True)
        self._port, self._number = port, 0
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: object) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(message["params"]["exceptionDetails"]))
        if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.problems.append(str(message["params"]["entry"]["text"]))

    def size(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def language(self, language: str) -> None:
        self.call("Emulation.setUserAgentOverride", userAgent="test", acceptLanguage=language)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until the condition holds; the page is asked again and again."""
        deadline = time.monotonic() + WAIT_S
        tried = f"(() => {{ try {{ return !!({condition}) }} catch {{ return false }} }})()"  # the page may be changing
        while not self.run(tried):
            assert time.monotonic() < deadline, f"{condition} never came: {self.text()[:400]} {self.problems}"
            time.sleep(0.02)

    def text(self, selector: str = "body") -> str:
        return str(self.run(f"document.querySelector({selector!r})?.innerText ?? ''"))

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({selector!r}).click()")

    def screenshot(self, path: Path) -> None:
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(answer["data"]))

    def close(self) -> None:
        self._socket.close()
        httpx.get(f"http://127.0.0.1:{self._port}/json/close/{self._id}")


def _devtools_port(folder: Path, process: subprocess.Popen[bytes]) -> int:
    deadline, file = time.monotonic() + WAIT_S, folder / "DevToolsActivePort"
    while not file.exists() or not file.read_text().strip():  # there, but not written yet
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.skip("Chromium is there but does not start")
        time.sleep(0.02)
    return int(file.read_text().splitlines()[0])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A running browser; the port of its DevTools."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium was found")
    folder = tmp_path_factory.mktemp("chromium")
    process = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield _devtools_port(folder, process)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def url(serve: Any, files: Any) -> Iterator[str]:
    """A served park with a user `operator`."""
    files.user("operator", ("operator", "*"))
    with serve() as found:
        yield found


@pytest.fixture
def tab(browser: int, url: str) -> Iterator[Tab]:
    """A fresh tab, desktop size, Chinese, nothing remembered."""
    found = Tab(browser)
    found.size(1280)
    found.language("zh-CN")
    found.call("Network.clearBrowserCookies")
    found.open(f"{url}/login")
    found.wait("document.documentElement.dataset.ready")
    sign_in(found)
    found.problems.clear()
    yield found
    found.call("Storage.clearDataForOrigin", origin=url, storageTypes="all")
    found.close()


def sign_in(tab: Tab, name: str = "operator") -> None:
    """Through the form, as a person would."""
    tab.run(
        f"document.querySelector('#name').value = {name!r}; document.querySelector('#password').value = {PASSWORD!r}"
    )
    tab.click("#enter")
    tab.wait("location.pathname !== '/login'")


def ready(tab: Tab, url: str) -> None:
    tab.open(url)
    tab.wait("document.documentElement.dataset.ready && document.querySelector('#months table')")


def test_page_shows_the_park_without_an_error_in_the_console(tab: Tab, url: str) -> None:
    ready(tab, url)
    text = tab.text()
    for words in ("示范高新区", "示范新材料有限公司", "27,301", "省级平均（园区口径）", "安徽", "暂定"):
        assert words in text
    assert tab.run("document.querySelectorAll('.enterprise').length") == 3
    assert tab.run("document.querySelectorAll('.meters tbody tr').length") == 12
    assert tab.problems == []


def test_states_of_meters_and_gateways_are_words_and_not_colours_alone(tab: Tab, url: str) -> None:
    ready(tab, url)
    chips = tab.run("[...document.querySelectorAll('.meters .chip')].map(c => c.innerText)")
    assert {"正常", "无响应", "待确认", "未上线"} == set(chips)
    assert "离线" in tab.text("#gateways")


def test_verified_months_show_outcome_both_park_figures_and_reports(tab: Tab, url: str) -> None:
    ready(tab, url)
    text = tab.text("#months")
    for words in ("通过（有提示）", "数据不足", "全国平均（企业口径）", "省级平均（园区口径）", "PDF"):
        assert words in text
    hrefs = tab.run("[...document.querySelectorAll('#months a')].map(a => a.getAttribute('href'))")
    for kind in ("pdf", "xlsx", "json", "csv"):
        assert f"/api/v1/reports/2026-10/enterprise/ent-a/{kind}?revision=2" in hrefs
    assert len(hrefs) == 4 * 4  # each of the four months on the page in each form


def test_language_follows_the_browser_and_the_choice_is_remembered(tab: Tab, url: str) -> None:
    tab.language("en-US")
    ready(tab, url)
    assert "Energy today" in tab.text()
    assert "Demo New Materials" in tab.text()
    tab.click("#lang")
    assert "今日电量" in tab.text()
    ready(tab, url)
    assert "今日电量" in tab.text()
    assert tab.run("document.documentElement.lang") == "zh-CN"


def test_theme_follows_the_system_and_can_be_switched(tab: Tab, url: str) -> None:
    tab.size(1280, dark=True)
    ready(tab, url)
    background = "getComputedStyle(document.body).backgroundColor"
    dark = tab.run(background)
    tab.click("#theme")
    assert tab.run(background) != dark
    tab.click("#theme")
    assert tab.run(background) == dark


def test_nothing_is_wider_than_a_phone(tab: Tab, url: str) -> None:
    tab.size(390, 844)
    ready(tab, url)
    assert tab.run("document.documentElement.scrollWidth") <= 390


def test_everything_that_can_be_clicked_has_a_name_and_can_be_focused(tab: Tab, url: str) -> None:
    ready(tab, url)
    nameless = "[...document.querySelectorAll('a,button')].filter(n => !(n.innerText || n.getAttribute('aria-label')))"
    assert tab.run(f"{nameless}.length") == 0
    tab.run("document.querySelector('#park-chart svg').focus()")
    for kind in ("keyDown", "keyUp"):
        tab.call("Input.dispatchKeyEvent", type=kind, key="ArrowLeft", code="ArrowLeft")
    assert "14:15" in tab.run("document.querySelector('.tip-text').textContent")


def test_a_stranger_is_sent_to_the_login_page_and_back_after_signing_in(
    tab: Tab, files: Any, url: str
) -> None:
    files.user("li", ("verifier", "*"))
    tab.call("Network.clearBrowserCookies")
    tab.open(f"{url}/docs?x=1#routes")
    tab.wait("location.pathname === '/login' && document.documentElement.dataset.ready")
    assert "示范" not in tab.text()
    for password in ("wrong", PASSWORD):
        tab.run(
            f"document.querySelector('#name').value = 'li'; document.querySelector('#password').value = '{password}'"
        )
        tab.click("#enter")
        if password == "wrong":
            tab.wait("document.querySelector('#wrong').innerText === '用户名或密码不正确。'")
            assert tab.run("document.activeElement.id") == "password"
    tab.wait("location.pathname === '/docs'")
    assert tab.run("location.search + location.hash") == "?x=1#routes"
    assert "__Host-tanyun" not in tab.run("document.cookie")  # out of reach of scripts


def test_the_code_of_a_second_factor_is_asked_for_once_the_password_was_right(
    tab: Tab, files: Any, url: str
) -> None:
    files.user("ann-2", ("administrator", "*"))
    secret = new_secret()
    with UserStore(files.folder / "users.db") as store:
        store.set_second_factor("ann-2", secret, [], 0)
    tab.call("Network.clearBrowserCookies")
    tab.open(f"{url}/login")
    tab.wait("document.documentElement.dataset.ready")
    assert tab.run("document.querySelector('#code').hidden")
    tab.run(
        f"document.querySelector('#name').value = 'ann-2'; document.querySelector('#password').value = {PASSWORD!r}"
    )
    tab.click("#enter")
    tab.wait("!document.querySelector('#code').hidden && document.activeElement.id === 'code'")
    tab.run("document.querySelector('#code').value = '12345'")
    tab.click("#enter")
    tab.wait("document.querySelector('#wrong').innerText.startsWith('验证码不正确')")
    tab.run(f"document.querySelector('#code').value = '{code_at(secret, NOW_MS // STEP_MS)}'")
    tab.click("#enter")
    tab.wait("location.pathname !== '/login'")


def test_the_login_page_never_sends_anybody_elsewhere(tab: Tab, url: str) -> None:
    for elsewhere in ("https://evil.example/", "//evil.example/", "javascript:alert(1)", "/login"):
        tab.open(f"{url}/login?next={quote(elsewhere, safe='')}")
        tab.wait("document.documentElement.dataset.ready")
        sign_in(tab)
        tab.wait(f"location.href === {url + '/'!r}")


def test_signing_out_leads_to_the_login_page_and_the_data_are_gone(tab: Tab, url: str) -> None:
    ready(tab, url)
    tab.wait("!document.querySelector('#user').hidden")
    assert tab.text("#user-name") == "operator"
    tab.wait("!document.querySelector('#to-months').hidden")
    assert tab.run("document.querySelector('#to-months').getAttribute('href')") == "/months"
    tab.click("#sign-out")
    tab.wait("location.pathname === '/login'")
    assert tab.run("fetch('/api/v1/live').then((answer) => answer.status)") == 401


def test_an_enterprise_sees_itself_and_nobody_else(browser: int, url: str, files: Any) -> None:
    tab = Tab(browser)
    tab.size(390, 844)
    tab.language("zh-CN")
    tab.call("Network.clearBrowserCookies")
    tab.open(f"{url}/login")
    tab.wait("document.documentElement.dataset.ready")
    sign_in(tab, files.user("wang", ("enterprise", "ent-b")))
    ready(tab, url)
    text = tab.text()
    assert tab.text("#park-name") == "示范新材料有限公司"
    assert "示范精密机械" not in text
    assert "示范高新区" not in text
    tab.wait("!document.querySelector('#to-form').hidden && !document.querySelector('#to-months').hidden")
    assert tab.run("document.querySelectorAll('.meters tbody tr').length") == 3
    assert tab.run("document.documentElement.scrollWidth") <= 390
    assert tab.problems == []
    tab.close()


def test_who_may_see_no_month_is_shown_no_way_there(browser: int, url: str, files: Any) -> None:
    tab = Tab(browser)
    tab.call("Network.clearBrowserCookies")
    tab.open(f"{url}/login")
    tab.wait("document.documentElement.dataset.ready")
    sign_in(tab, files.user("installer-zhao", ("installer", "*")))
    ready_without_months(tab, url)
    assert tab.run("document.querySelector('#to-months').hidden && document.querySelector('#to-form').hidden")
    tab.close()


def ready_without_months(tab: Tab, url: str) -> None:
    """The page with its user's name, which comes after the links were judged."""
    tab.wait(f"location.href === {url + '/'!r} && !document.querySelector('#user').hidden")
    tab.wait("document.documentElement.dataset.linked")


def test_page_follows_the_ledger_and_says_when_the_server_is_gone(
    tab: Tab, serve: Any, new_park: Any
) -> None:
    park = new_park()
    park.user("operator", ("operator", "*"))
    with serve(park=park) as url:
        tab.open(f"{url}/login")
        tab.wait("document.documentElement.dataset.ready")
        sign_in(tab)
        ready(tab, url)
        before = tab.text("#kpis")
        park.add_power("b-in", 9_000_000.0)
        tab.wait(f"document.querySelector('#kpis').innerText !== {before!r}")
    tab.wait("document.querySelector('#connection').dataset.state === 'reconnecting'")
    tab.wait("!document.querySelector('#notice').hidden")


def test_api_documentation_works_offline(tab: Tab, url: str) -> None:
    tab.open(f"{url}/docs")
    tab.wait("document.documentElement.dataset.ready")
    assert "/api/v1/emissions" in tab.text()
    assert tab.problems == []
