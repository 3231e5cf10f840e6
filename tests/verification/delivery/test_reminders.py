"""Reminders: once per deadline and stage, by the working-day calendar, through the same post as everything else."""

import email
from datetime import datetime, timedelta
from email.policy import default
from pathlib import Path
from zoneinfo import ZoneInfo

from factors.holidays import Calendar
from metering.intervals import to_ms
from storage.audit import AuditLog
from tanyun.config import ServerConfig
from tanyun.desk import note_closed, subject_of
from tanyun.post import PostOffice
from tests.verification.conftest import CLOSED_AT_MS, Plant
from tests.verification.delivery.conftest import Certificate, Mailbox
from verification.deadlines import DEADLINES, Deadline, due
from verification.delivery.config import HttpsTarget
from verification.delivery.reminders import LATE, due_reminders, parcel, stage_of
from verification.evidence import signing
from verification.lifecycle import Status

ZONE = ZoneInfo("Asia/Shanghai")
CALENDAR = Calendar.load()
DEPOSIT = next(rule for rule in DEADLINES if rule.id == "deposit")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


def target(**more: object) -> HttpsTarget:
    given = {"kind": "https", "name": "office", "url": "https://127.0.0.1:1/x", "content": ["reminder"]}
    return HttpsTarget.model_validate(given | more)


def stages(rule: Deadline, month: str, first: str, days: int) -> list[str | None]:
    found = due(rule, month, CALENDAR)
    return [stage_of(found, CALENDAR, (at(first) + timedelta(days=number)).date()) for number in range(days)]


def test_a_stage_lasts_until_the_next_one_and_late_begins_on_a_working_day() -> None:
    """October's deposit is due on 2026-12-10: ten days before is Monday 30 November, three before Monday 7 December."""
    found = stages(DEPOSIT, "2026-10", "2026-11-28", 16)
    assert found[:2] == [None, None]
    assert found[2:9] == ["2026-11-30"] * 7
    assert found[9:13] == ["2026-12-07"] * 4
    assert found[13:] == [LATE, LATE, LATE]


def test_a_deadline_that_passes_in_the_holidays_is_late_on_the_next_working_day() -> None:
    """August's deposit is due on Saturday 10 October 2026, a worked one; the Sunday after is free."""
    assert stages(DEPOSIT, "2026-08", "2026-10-10", 3) == ["2026-09-30", None, LATE]


def test_what_is_done_is_not_called_to_mind() -> None:
    months = {
        ("2026-10", "a"): Status.SUBMITTED,
        ("2026-10", "b"): Status.VERIFIED,
        ("2026-10", "c"): Status.RESTATED,
        ("2026-10", "d"): Status.OPEN,
    }
    found = list(due_reminders(target(), months, [DEPOSIT], CALENDAR, at("2026-12-07T09:00")))
    assert [reminder.scope for reminder in found] == ["b", "d"]
    assert not list(
        due_reminders(target(), months, [DEPOSIT], CALENDAR, at("2026-12-07T07:00"))
    )  # before its hour
    some = target(scopes=["d"])
    assert [r.scope for r in due_reminders(some, months, [DEPOSIT], CALENDAR, at("2026-12-07T09:00"))] == [
        "d"
    ]
    assert not list(
        due_reminders(target(content=["pdf"]), months, [DEPOSIT], CALENDAR, at("2026-12-07T09:00"))
    )


def test_a_reminder_is_the_same_parcel_all_through_its_stage_and_another_one_in_the_next() -> None:
    months = {("2026-10", "b"): Status.VERIFIED}

    def key(now: str) -> str:
        (found,) = due_reminders(target(), months, [DEPOSIT], CALENDAR, at(now))
        return parcel(target(), found, "乙").key

    assert key("2026-11-30T09:00") == key("2026-12-06T20:00") != key("2026-12-07T09:00")
    assert key("2026-12-10T09:00") != key("2026-12-11T09:00") == key("2026-12-20T09:00")


def office(
    plant: Plant, mailbox: Mailbox, certificate: Certificate, folder: Path, now: list[int]
) -> PostOffice:
    for name in ("journal", "ledger", "months"):
        (folder / f"{name}.db").symlink_to(folder / f"{name}.sqlite")
    signing.generate(folder / "key.pem")
    (folder / "delivery.toml").write_text(
        f'signing_key = "key.pem"\n[[target]]\nkind = "smtp"\nname = "office"\nhost = "127.0.0.1"\nport = {mailbox.port}\n'
        f'sender = "tanyun@example.cn"\nto = ["carbon@example.cn"]\nca_file = "{certificate.cert}"\n'
        'content = ["reminder"]\nscopes = ["guangdian"]\nhour = 0\n',
        encoding="utf-8",
    )
    config = ServerConfig.model_validate(
        {
            "registry": "park.toml", "data": folder, "reports": folder / "r", "delivery": folder / "delivery.toml",
            "broker": {"host": "127.0.0.1", "user": "u", "password_file": "p"},
        }
    )  # fmt: skip
    return PostOffice.of(config, plant.park, lambda: now[0])


def test_reminders_reach_a_mail_server_once_per_stage_and_the_audit_log(
    plant: Plant, mailbox: Mailbox, certificate: Certificate, tmp_path: Path
) -> None:
    plant.build()
    now = [to_ms(at("2026-11-09T09:00"))]
    post = office(plant, mailbox, certificate, tmp_path, now)
    # Nobody has closed October: the form was to be in by 13 November, a reminder 5 days before.
    assert [o.state for o in post.run(dry=True)] == ["dry"]
    assert not mailbox.mails
    assert [o.state for o in post.run()] == ["receipted"]
    assert [o.state for o in post.run()] == ["done"]
    (mail,) = (email.message_from_bytes(raw, policy=default) for raw in mailbox.mails)
    assert "示范光电有限公司 2026-10" in str(mail["Subject"])
    assert "2026-11-13" in str(mail["Subject"])
    rows = plant.close()
    note_closed(post.config, rows, "li", CLOSED_AT_MS)
    now[0] = to_ms(at("2026-11-12T09:00"))
    assert [o.state for o in post.run()] == [
        "receipted"
    ]  # the next stage: one day left, and only provisional
    subject = next(subject_of(row) for row in rows if row.scope_id == "guangdian")
    post.desk.act(subject, "send", actor="li", role="operator")
    assert not list(post.run())  # what the form's deadline asked for is done
    assert len(mailbox.mails) == 2
    with AuditLog(post.config.audit) as log:
        sent = [entry for entry in log.entries() if entry.action == "delivery.attempt"]
    assert len(sent) == 2


def test_a_reminder_that_the_mail_server_refused_is_tried_again(
    plant: Plant, mailbox: Mailbox, certificate: Certificate, tmp_path: Path
) -> None:
    plant.build()
    now = [to_ms(at("2026-11-09T09:00"))]
    post = office(plant, mailbox, certificate, tmp_path, now)
    mailbox.answer = "451 4.3.0 try again"
    assert [o.state for o in post.run()] == ["failed"]
    mailbox.answer = "250 2.0.0 Ok"
    assert [o.state for o in post.run()] == ["waiting"]
    now[0] += 120_000
    assert [o.state for o in post.run()] == ["receipted"]
    assert len(mailbox.mails) == 1
