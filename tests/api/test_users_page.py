"""The administrator's page in a real Chromium: a user invited, changed and kept out, by mouse, by keyboard and in both languages."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.rights import Permission, Role
from api.routes.page import STATIC
from storage.audit import AuditLog
from tests.api.conftest import PASSWORD
from tests.api.test_page import Tab, browser, sign_in

__all__ = ["browser"]
"""The fixture of the other page's tests."""

pytestmark = pytest.mark.browser
NEW = "a new and longer phrase"


@pytest.fixture(scope="module")
def park(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tests.api.conftest import write_park  # noqa: PLC0415  a park of this module's own

    found = write_park(tmp_path_factory.mktemp("users"))
    found.user("ann", ("administrator", "*"))
    found.user("old-li", ("operator", "*"), ("verifier", "ent-b"))
    return found


@pytest.fixture(scope="module")
def url(serve: Any, park: Any) -> Iterator[str]:
    with serve(park=park) as found:
        yield found


@pytest.fixture
def tab(browser: int, url: str) -> Iterator[Tab]:
    """The administrator's page, Chinese."""
    found = Tab(browser)
    found.size(1280)
    found.language("zh-CN")
    found.call("Network.clearBrowserCookies")
    found.open(f"{url}/login")
    found.wait("document.documentElement.dataset.ready")
    sign_in(found, "ann")
    found.problems.clear()
    found.open(f"{url}/users")
    found.wait("document.documentElement.dataset.ready && document.querySelector('#users tr')")
    yield found
    found.call("Storage.clearDataForOrigin", origin=url, storageTypes="all")
    found.close()


def row(name: str) -> str:
    return f"document.querySelector('[data-user={name}]')"


def press(tab: Tab, key: str, *, shift: bool = False) -> None:
    codes = {"Tab": 9, "Enter": 13, "Escape": 27}
    text = {"text": "\r"} if key == "Enter" else {}
    for kind in ("keyDown", "keyUp"):
        tab.call(
            "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key],
            modifiers=8 if shift else 0, **(text if kind == "keyDown" else {}),
        )  # fmt: skip


def test_a_user_is_invited_and_makes_a_password_of_his_own(
    tab: Tab, url: str, park: Any, tmp_path: Path
) -> None:
    tab.run("document.querySelector('#add-name').value = 'chen'")
    tab.click("#add button.main")
    tab.wait("document.querySelector('#told').open")
    code = tab.text("#told-what")
    assert re.fullmatch("([a-z2-7]{4}-){3}[a-z2-7]{4}", code)
    tab.screenshot(tmp_path / "code.png")
    tab.click("#told-close")
    tab.wait(f"{row('chen')}.innerText.includes('一次性代码有效至')")
    assert "企业 · 示范精密机械有限公司" in tab.run(f"{row('chen')}.innerText")
    # A dialog tells that it was closed afterwards.
    tab.wait("document.querySelector('#told-what').innerText === ''")
    assert code not in tab.run("document.documentElement.outerHTML")
    tab.screenshot(tmp_path / "users.png")
    assert tab.problems == []
    tab.call("Network.clearBrowserCookies")
    tab.open(f"{url}/login")
    tab.wait("document.querySelector('#use-code') && document.documentElement.dataset.ready")
    tab.click("#use-code")
    tab.wait("location.pathname === '/welcome' && document.documentElement.dataset.ready")
    fill = {"name": "chen", "code": "aaaa-aaaa-aaaa-aaaa", "password": NEW, "again": NEW}
    for name, value in fill.items():
        tab.run(f"document.querySelector('#{name}').value = {value!r}")
    tab.click("#enter")
    tab.wait("document.querySelector('#wrong').innerText.startsWith('用户名或代码不正确')")
    tab.run(f"document.querySelector('#code').value = {code!r}")
    tab.screenshot(tmp_path / "welcome.png")
    tab.click("#enter")
    tab.wait("location.pathname === '/login' && document.documentElement.dataset.ready")
    tab.run(
        f"document.querySelector('#name').value = 'chen'; document.querySelector('#password').value = {NEW!r}"
    )
    tab.click("#enter")
    tab.wait("location.pathname === '/'")
    with AuditLog(park.folder / "audit.db", writable=False) as log:
        done = [
            (entry.actor, entry.action, entry.outcome)
            for entry in log.entries()
            if entry.target == "chen" or entry.actor == "chen"
        ]
    assert done == [
        ("ann", "user.add", "ok"), ("ann", "user.code", "ok"), ("chen", "session.code", "refused"),
        ("chen", "session.code", "ok"), ("chen", "session.begin", "ok"),
    ]  # fmt: skip


def test_roles_second_factor_and_being_kept_out_are_changed_with_the_keyboard_alone(tab: Tab) -> None:
    def act(key: str) -> None:
        tab.run(f"{row('old-li')}.querySelector('[data-act={key}]').focus()")
        press(tab, "Enter")

    act("disable")
    tab.wait("document.querySelector('#sure').open && document.activeElement.id === 'sure-no'")
    press(tab, "Enter")  # what is near at hand does nothing
    tab.wait("!document.querySelector('#sure').open")
    assert "已停用" not in tab.run(f"{row('old-li')}.innerText")
    act("disable")
    tab.wait("document.querySelector('#sure').open")
    press(tab, "Tab", shift=True)
    press(tab, "Enter")
    tab.wait(f"{row('old-li')}.innerText.includes('已停用')")
    tab.wait("document.querySelector('#done').innerText.includes('old-li')")
    act("give_factor")
    tab.wait("document.querySelector('#sure').open")
    press(tab, "Tab", shift=True)
    press(tab, "Enter")
    tab.wait(
        "document.querySelector('#told').open && document.querySelectorAll('#told .secret').length === 9"
    )
    assert tab.text("#told .secret").startswith("otpauth://totp/")
    press(tab, "Escape")
    tab.wait(f"{row('old-li')}.querySelector('[data-act=drop_factor]')")
    assert not tab.run("document.querySelectorAll('#told .secret').length")
    act("change_roles")
    tab.wait(
        "document.querySelector('#change').open && document.querySelectorAll('#change .role').length === 2"
    )
    tab.run("document.querySelector('#change .role button').click()")
    tab.run("document.querySelector('#change-form').requestSubmit()")
    tab.wait(f"{row('old-li')}.querySelectorAll('li').length === 1")
    assert tab.problems == []


def test_a_closing_that_is_told_late_does_not_answer_the_next_question(tab: Tab) -> None:
    give = f"{row('old-li')}.querySelector('[data-act=give_factor]').click()"
    tab.run(f"{give}; document.querySelector('#sure-no').click(); {give}")
    tab.wait("document.querySelector('#sure').open")
    tab.click("#sure-yes")
    tab.wait("document.querySelector('#told').open")
    assert tab.run(
        "document.querySelector('#told').close(); document.querySelector('#told').showModal();"
        "new Promise((done) => setTimeout(() => done(document.querySelectorAll('#told .secret').length), 200))"
    )
    assert tab.problems == []


def test_a_mistake_is_told_and_nobody_can_lock_himself_out(tab: Tab) -> None:
    assert not tab.run(f"!!{row('ann')}.querySelector('[data-act=disable]')")
    tab.run("document.querySelector('#add-name').value = 'ann'")
    tab.click("#add button.main")
    tab.wait(
        "!document.querySelector('#notice').hidden && document.querySelector('#notice').innerText.includes('ann')"
    )
    tab.click("[data-user=ann] [data-act=change_roles]")
    tab.wait("document.querySelector('#change').open")
    tab.run("document.querySelector('#change .role button').click()")
    tab.run("document.querySelector('#change-form').requestSubmit()")
    tab.wait("!document.querySelector('#change').open && !document.querySelector('#notice').hidden")
    assert "系统管理员" in tab.run(f"{row('ann')}.innerText")


def test_a_key_is_made_shown_once_and_revoked(tab: Tab, tmp_path: Path) -> None:
    tab.run("document.querySelector('#key-label').value = 'SCADA'")
    tab.run("document.querySelector('#key-only input[value=\"data.view\"]').checked = true")
    tab.click("#add-key button.main")
    tab.wait("document.querySelector('#told').open")
    key = tab.text("#told-what")
    assert key.startswith("tk_")
    tab.click("#told-close")
    assert "data.view" in tab.text("#keys")
    tab.screenshot(tmp_path / "keys.png")
    tab.click("#keys [data-act=revoke]")
    tab.wait("document.querySelector('#sure').open")
    tab.click("#sure-yes")
    tab.wait("document.querySelector('#keys').innerText.includes('已吊销')")
    assert key not in tab.run("document.documentElement.outerHTML")


def test_it_is_told_in_english_fits_a_phone_and_every_control_has_a_name(tab: Tab, tmp_path: Path) -> None:
    tab.click("#lang")
    tab.wait("document.querySelector('#h-users').innerText === 'Users'")
    tab.wait(
        f"{row('old-li')}.innerText.includes('Demo New Materials') || {row('old-li')}.innerText.includes('Operator')"
    )
    tab.size(390, 844)
    tab.screenshot(tmp_path / "phone.png")
    assert tab.run("document.documentElement.scrollWidth <= innerWidth")
    nameless = (
        "[...document.querySelectorAll('a,button,input,select')].filter("
        "n => !(n.innerText || n.getAttribute('aria-label') || n.closest('label') || n.labels?.length))"
    )
    assert tab.run(f"{nameless}.map(n => n.outerHTML)") == []


def test_who_is_no_administrator_sees_no_users(tab: Tab, url: str, park: Any) -> None:
    park.user("sun", ("verifier", "*"))
    tab.call("Network.clearBrowserCookies")
    tab.open(f"{url}/login")
    tab.wait("location.pathname === '/login' && document.documentElement.dataset.ready")
    sign_in(tab, "sun")
    tab.wait("document.documentElement.dataset.linked")
    assert tab.run("document.querySelector('#to-users').hidden")
    tab.open(f"{url}/users")
    tab.wait("location.pathname === '/users' && !document.querySelector('#notice').hidden")
    assert "ann" not in tab.text("#users")


def test_the_page_names_every_role_and_permission_that_there_is() -> None:
    text = (STATIC / "users.js").read_text(encoding="utf-8")
    words = (STATIC / "words.js").read_text(encoding="utf-8")
    assert all(f'"{item.value}"' in text for item in Permission)
    assert all(f'"{role.value}"' in text and f"role_{role.value}:" in words for role in Role)
    used = set(re.findall(r"\bw\(\"(\w+)\"", text)) | set(
        re.findall(r'data-w="(\w+)"', (STATIC / "users.html").read_text("utf-8"))
    )
    assert not [key for key in used if f" {key}: [" not in words]
    assert PASSWORD not in text
