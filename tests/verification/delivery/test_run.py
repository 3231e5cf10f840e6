"""When something is due, how often it is tried, and that every attempt is kept."""

import sqlite3
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from factors.holidays import Calendar
from metering.config import ConfigError
from metering.intervals import MINUTE_MS
from storage.deliveries import Attempt, DeliveryStore
from storage.lifecycle import Subject
from tests.verification.delivery.conftest import Certificate, Web
from verification.delivery.config import HttpsTarget, load_delivery
from verification.delivery.parcels import (
    WAITS_MINUTES,
    File,
    Parcel,
    due_months,
    head_is_due,
    next_attempt_ms,
)
from verification.delivery.run import Post, deliver
from verification.lifecycle import Status

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ZONE = ZoneInfo("Asia/Shanghai")
CALENDAR = Calendar.load()
PARCEL = Parcel("regulator", "2026-10", (File("a.json", "application/json", b"{}"),))


def target(**more: object) -> HttpsTarget:
    return HttpsTarget.model_validate(
        {"kind": "https", "name": "regulator", "url": "https://127.0.0.1:1/x"} | more
    )


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


def subject(month: str = "2026-09", scope: str = "a", revision: int = 1) -> Subject:
    return Subject(month, "enterprise", scope, revision)


def test_a_month_is_due_when_its_status_and_its_day_have_come() -> None:
    months = {
        subject(scope="a"): Status.VERIFIED,
        subject(scope="b"): Status.UNDER_REVIEW,
        subject(scope="c"): Status.RESTATED,
    }

    def due(now: str) -> list[str]:
        return [s.scope_id for s in due_months(target(day=10, hour=8), months, at(now), CALENDAR)]

    assert due("2026-10-09T12:00") == []
    assert due("2026-10-10T07:59") == []
    assert due("2026-10-10T08:00") == ["a"]
    assert due("2026-12-01T08:00") == ["a"]


def test_a_target_can_ask_for_some_scopes_and_for_working_days_only() -> None:
    months = {subject(scope="a"): Status.SUBMITTED, subject(scope="b"): Status.SUBMITTED}
    wanted = target(scopes=("b",), workdays_only=True, status="submitted")
    assert list(due_months(wanted, months, at("2026-10-07T09:00"), CALENDAR)) == []  # National Day holidays
    assert [s.scope_id for s in due_months(wanted, months, at("2026-10-10T09:00"), CALENDAR)] == [
        "b"
    ]  # a worked Saturday


def test_a_chain_head_goes_out_every_day_holidays_too() -> None:
    heads = target(content=("head",), hour=6, workdays_only=True)
    assert head_is_due(heads, at("2026-10-01T06:00"))
    assert not head_is_due(heads, at("2026-10-01T05:59"))
    assert not head_is_due(target(), at("2026-10-01T06:00"))
    assert list(due_months(heads, {subject(): Status.VERIFIED}, at("2026-12-01T12:00"), CALENDAR)) == []


def test_waits_grow_and_never_end() -> None:
    attempts: list[Attempt] = []
    waits = []
    for number in range(9):
        attempts.append(Attempt("k", number * 10**8, "failed", ""))
        waits.append((next_attempt_ms(attempts) - attempts[-1].at_ms) // MINUTE_MS)
    assert waits == [*WAITS_MINUTES[1:], 360, 360, 360]
    assert next_attempt_ms([]) == 0


class Log:
    """An audit log in memory."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, str, str]] = []

    def record(self, *, actor: str, action: str, subject: str, detail: Mapping[str, str]) -> None:
        self.entries.append((actor, action, subject, detail["outcome"]))


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_793_500_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DeliveryStore]:
    with DeliveryStore(tmp_path / "deliveries.db") as opened:
        yield opened


def test_it_is_tried_until_there_is_a_receipt_and_then_never_again(
    store: DeliveryStore, web: Web, certificate: Certificate
) -> None:
    log, clock = Log(), Clock()
    post = Post(store, KEY, log, clock, "cli:wang")
    there = target(url=web.url, ca_file=certificate.cert)
    states = []
    web.status = 503
    for minutes, status in ((0, 503), (0, 503), (1, 503), (1, 503), (5, 200), (0, 200), (600, 200)):
        clock.now_ms += minutes * MINUTE_MS
        web.status = status
        states += [outcome.state for outcome in deliver(post, [(there, PARCEL)])]
    assert states == ["failed", "waiting", "failed", "waiting", "receipted", "done", "done"]
    assert len(web.requests) == 3
    assert [entry[3] for entry in log.entries] == ["failed", "failed", "receipted"]
    assert {entry[:3] for entry in log.entries} == {("cli:wang", "delivery.attempt", "regulator")}
    attempts = store.attempts(PARCEL.key)
    assert [a.outcome for a in attempts] == ["failed", "failed", "receipted"]
    assert attempts[-1].receipt == web.receipt
    (row,) = store.parcels()
    assert row.files == tuple(file.digest for file in PARCEL.files)


def test_a_dry_run_sends_and_keeps_nothing(store: DeliveryStore, web: Web, certificate: Certificate) -> None:
    log = Log()
    post = Post(store, KEY, log, Clock(), "cli:wang")
    (outcome,) = deliver(post, [(target(url=web.url, ca_file=certificate.cert), PARCEL)], dry=True)
    assert outcome.state == "dry"
    assert (web.requests, log.entries, store.parcels(), store.attempts()) == ([], [], [], [])


def test_retrying_does_not_wait(store: DeliveryStore) -> None:
    post = Post(store, KEY, None, Clock(), "cli:wang")
    for _ in range(2):
        (outcome,) = deliver(post, [(target(), PARCEL)], now=True)
        assert outcome.state == "failed"
    assert len(store.attempts()) == 2


def test_other_files_are_another_parcel_and_the_same_ones_are_the_same() -> None:
    other = Parcel("regulator", "2026-10", (File("a.json", "application/json", b"{ }"),))
    assert other.key != PARCEL.key
    assert Parcel("regulator", "another title", PARCEL.files).key == PARCEL.key
    assert Parcel("somebody else", "2026-10", PARCEL.files).key != PARCEL.key


def test_attempts_and_heads_cannot_be_changed(store: DeliveryStore) -> None:
    store.add(PARCEL.row(1))
    store.tried(Attempt(PARCEL.key, 1, "failed", ""))
    assert store.add_head("j", "2026-10-01", b"first") == b"first"
    assert store.add_head("j", "2026-10-01", b"second") == b"first"
    store.add_stamp("j", "2026-10-01", "tsa", b"stamp")
    for statement in (
        "DELETE FROM parcel",
        "UPDATE parcel SET title='x'",
        "DELETE FROM attempt",
        "UPDATE attempt SET outcome='receipted'",
        "DELETE FROM head",
        "UPDATE head SET day='x'",
        "DELETE FROM stamp",
        "UPDATE stamp SET tsa='x'",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="never changes"):
            store._db.execute(statement)


def test_every_mistake_of_the_delivery_file_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "delivery.toml").write_text(
        """
signing_key = "key.pem"
[[target]]
kind = "smtp"
name = "a"
host = "mail.example"
security = "none"
sender = "nobody"
to = []
[[target]]
kind = "https"
name = "a"
url = "http://gov.example/inbox"
[[target]]
kind = "sftp"
name = "c"
host = "x"
user = "u"
""",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as error:
        load_delivery(tmp_path / "delivery.toml")
    for words in ("sender", "to", "url must be https", "known_hosts"):
        assert words in str(error.value), words
