"""The second factor: RFC 6238's own figures, each code once, recovery codes, and roles that may not come in without."""

import base64
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from api.rights import Role
from api.second_factor import STEP_MS, code_at, new_recovery_codes, recovery_digest, step_of, uri
from storage.users import SCHEMA_VERSION, UserRow, UserStore
from tanyun.commands.people import user as user_commands
from tests.api.conftest import NOW_MS, PASSWORD, ParkFiles
from tests.api.test_session import SESSION, Browser, audited
from tests.storage.test_old_files import OLD, built

SECRET = b"12345678901234567890"
Browse = Callable[[str], Browser]


@pytest.mark.parametrize(
    ("at_s", "code"),
    [(59, "94287082"), (1111111109, "07081804"), (1111111111, "14050471"), (1234567890, "89005924"), (2000000000, "69279037"),
     (20000000000, "65353130")],
)  # fmt: skip
def test_codes_are_those_of_rfc_6238_appendix_b(at_s: int, code: str) -> None:
    assert code_at(SECRET, at_s * 1000 // STEP_MS, digits=8) == code


@given(now=st.integers(0, 1 << 40), away=st.integers(-5, 5))
@settings(max_examples=200)
def test_a_code_is_good_for_its_step_and_the_ones_beside_it(now: int, away: int) -> None:
    step = now // STEP_MS + away
    if step < 0:
        return
    found = step_of(SECRET, code_at(SECRET, step), now)
    near = {now // STEP_MS + i for i in (-1, 0, 1)}
    if step in near:
        assert found is not None
        assert code_at(SECRET, found) == code_at(SECRET, step)
    elif code_at(SECRET, step) not in {code_at(SECRET, n) for n in near if n >= 0}:
        assert found is None


@given(st.text(max_size=50))
@settings(max_examples=100)
def test_whatever_is_typed_is_a_code_or_none(text: str) -> None:
    recovery_digest(text)
    assert step_of(SECRET, text, NOW_MS) is None or re.fullmatch("[0-9]{6}", text)


def test_an_app_gets_the_secret_as_a_link() -> None:
    link = urlsplit(uri(SECRET, "ann", "tanyun 园区"))
    asked = parse_qs(link.query)
    assert (link.scheme, link.netloc) == ("otpauth", "totp")
    assert base64.b32decode(asked["secret"][0]) == SECRET
    assert (asked["issuer"], asked["digits"], asked["period"]) == (["tanyun 园区"], ["6"], ["30"])


def test_recovery_codes_differ_and_may_be_typed_in_any_grouping() -> None:
    codes = new_recovery_codes()
    assert len({recovery_digest(code) for code in codes}) == len(codes) == 8
    assert recovery_digest(codes[0].upper().replace("-", " ")) == recovery_digest(codes[0])


@pytest.fixture
def park(new_park: Any) -> ParkFiles:
    found: ParkFiles = new_park()
    found.user("ann", ("administrator", "*"))
    return found


@pytest.fixture
def browse() -> Iterator[Browse]:
    """Opens browsers, which are closed at the end."""
    opened: list[Browser] = []

    def start(url: str) -> Browser:
        opened.append(Browser(url))
        return opened[-1]

    yield start
    for browser in opened:
        browser.http.close()


def give(park: ParkFiles, name: str = "ann") -> list[str]:
    """A second factor for a user; its recovery codes."""
    codes = new_recovery_codes()
    with UserStore(park.folder / "users.db") as store:
        assert store.set_second_factor(name, SECRET, map(recovery_digest, codes), NOW_MS)
    return codes


def enter(browser: Browser, code: str, password: str = PASSWORD) -> int:
    return browser.ask("POST", SESSION, json={"name": "ann", "password": password, "code": code}).status_code


def test_the_password_alone_lets_nobody_in_and_a_code_is_good_once(
    park: ParkFiles, serve: Any, browse: Browse
) -> None:
    give(park)
    now = NOW_MS
    with serve(park=park, clock=lambda: now) as url:
        browser = browse(url)
        answer = browser.sign_in("ann")
        assert (answer.status_code, answer.json()["title"]) == (401, "second factor")
        assert not browser.cookies
        code = code_at(SECRET, NOW_MS // STEP_MS)
        assert enter(browser, code, "another long phrase") == 401
        assert enter(browser, code) == 200
        assert browser.ask("GET", "/api/v1/users").status_code == 200
        assert enter(browser, code) == 401, "a code that somebody watched is worth nothing"
        assert enter(browser, code_at(SECRET, NOW_MS // STEP_MS - 1)) == 401, "nor one from before it"
        now += 2 * STEP_MS
        assert enter(browser, code_at(SECRET, now // STEP_MS)) == 200
    assert ("ann", "session.begin", "refused") in audited(park)


def test_a_wrong_password_is_told_in_the_same_words_whether_there_is_a_second_factor(
    park: ParkFiles, serve: Any, browse: Browse
) -> None:
    park.user("bob", ("operator", "*"))
    give(park)
    with serve(park=park) as url:
        told = {browse(url).sign_in(name, "not the right one").text for name in ("ann", "bob", "nobody")}
    assert len(told) == 1


def test_a_recovery_code_opens_once_and_says_how_many_are_left(
    park: ParkFiles, serve: Any, browse: Browse
) -> None:
    codes = give(park)
    with serve(park=park) as url:
        browser = browse(url)
        assert enter(browser, codes[3].upper()) == 200
        assert enter(browser, codes[3]) == 401
        assert enter(browser, codes[0]) == 200
    with closing(sqlite3.connect(park.folder / "audit.db")) as db:
        details = db.execute(
            "SELECT detail FROM entry WHERE action='session.recovery_code' ORDER BY id"
        ).fetchall()
    assert [detail for (detail,) in details] == ['{"left":7}', '{"left":6}']
    with closing(sqlite3.connect(park.folder / "users.db")) as db:
        assert not any(code.replace("-", "") in str(row) for code in codes for row in db.iterdump())


def test_codes_are_guessed_no_faster_than_passwords(park: ParkFiles, serve: Any, browse: Browse) -> None:
    give(park)
    with serve(park=park) as url:
        browser = browse(url)
        wrong = [c for i in range(1_000) if step_of(SECRET, c := f"{i:06}", NOW_MS) is None]
        assert [enter(browser, code) for code in wrong[:6]] == [401] * 5 + [429]


def test_a_role_that_demands_it_keeps_out_who_has_none(park: ParkFiles, serve: Any, browse: Browse) -> None:
    park.user("bob", ("operator", "*"))
    with serve(park=park, second_factor_roles=frozenset({Role.ADMINISTRATOR})) as url:
        assert browse(url).sign_in("ann").status_code == 401
        assert browse(url).sign_in("bob").status_code == 200
        give(park)
        assert enter(browse(url), code_at(SECRET, NOW_MS // STEP_MS)) == 200


def test_a_new_factor_ends_open_sessions_and_the_old_one(park: ParkFiles, serve: Any, browse: Browse) -> None:
    with serve(park=park) as url:
        browser = browse(url)
        assert browser.sign_in("ann").status_code == 200
        old = give(park)
        assert browser.ask("GET", "/api/v1/users").status_code == 401
        give(park)
        assert enter(browser, old[0]) == 401


def test_the_command_line_gives_and_takes_it(tmp_path: Path, park: ParkFiles) -> None:
    config = tmp_path / "server.toml"
    config.write_text(
        f'registry = "{park.folder}/park.toml"\ndata = "{park.folder}"\nreports = "r"\n'
        '[broker]\nport = 1\nuser = "host"\npassword_file = "x"\n[api]\nsecond_factor_roles = ["administrator"]\n',
        encoding="utf-8",
    )
    run = CliRunner()
    done = run.invoke(user_commands, ["second-factor", "ann", "--config", str(config)])
    assert done.exit_code == 0, done.output
    secret = base64.b32decode(parse_qs(urlsplit(done.stdout.splitlines()[0]).query)["secret"][0])
    codes = re.findall(r"^  ([a-z2-7-]+)$", done.output, re.MULTILINE)
    with UserStore(park.folder / "users.db") as store:
        assert store.second_factor("ann") == secret
        assert store.use_recovery_code("ann", recovery_digest(codes[7])) == 7
    audit = (park.folder / "audit.db").read_bytes()
    assert not any(code.encode() in audit for code in codes)
    for expected in (0, 1):
        done = run.invoke(user_commands, ["second-factor", "ann", "--off", "--config", str(config)])
        assert done.exit_code == expected, done.output
    assert run.invoke(user_commands, ["second-factor", "nobody", "--config", str(config)]).exit_code == 1


def test_a_file_of_users_from_before_second_factors_goes_on(tmp_path: Path) -> None:
    path = built(OLD / "users-1.sql", tmp_path)
    with UserStore(path) as store:
        ann = store.user("ann")
        assert ann is not None
        assert ann.grants == (("administrator", "*"),)
        assert (key := store.key("4f1c09ab")) is not None
        assert key.label == "prometheus"
        assert store.second_factor("ann") is None
        assert store.set_second_factor("ann", SECRET, [b"d"], NOW_MS)
    with UserStore(path) as store:
        store.add_user(UserRow("new", None, "s", False, NOW_MS))
        assert store.second_factor("ann") == SECRET
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
        brought = {row[0]: row[1] for row in db.execute("SELECT name, sql FROM sqlite_master")}
    UserStore(tmp_path / "fresh.db").close()
    with closing(sqlite3.connect(tmp_path / "fresh.db")) as db:
        assert {row[0]: row[1] for row in db.execute("SELECT name, sql FROM sqlite_master")} == brought
