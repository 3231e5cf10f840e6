"""The life of a month: transitions, four eyes, findings, what blocks *verified*."""

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import attachments
from storage.lifecycle import Act, LifecycleStore, OvertakenError, Subject
from storage.months import MonthRow
from verification.document import MonthDocument, parse
from verification.lifecycle import (
    TRANSITIONS,
    Action,
    RefusedError,
    Status,
    Wish,
    act,
    obstacles,
    refusals,
    status_of,
)

OF = Subject("2026-10", "enterprise", "jingmi", 1)


@pytest.fixture
def document(month_rows: list[MonthRow]) -> MonthDocument:
    """A month with nothing to answer."""
    return with_checks(parse(month_rows[0].document), "PASS")


def with_checks(document: MonthDocument, outcome: str) -> MonthDocument:
    checks = tuple(msgspec.structs.replace(check, outcome=outcome) for check in document.checks)
    return msgspec.structs.replace(document, checks=checks)


def live(document: MonthDocument, *steps: tuple[Action, str], acts: tuple[Act, ...] = ()) -> list[Act]:
    found = list(acts)
    for at, (action, actor) in enumerate(steps):
        wish = Wish(action, actor, "role", at, "because", "V01", "0" * 64, "scan.pdf")
        found.append(act(OF, document, found, wish))
    return found


PREPARED = ((Action.CLOSE, "li"), (Action.SEND, "li"))


def test_a_month_is_closed_sent_approved_submitted_and_restated(document: MonthDocument) -> None:
    acts = live(document, *PREPARED, (Action.APPROVE, "wang"), (Action.SUBMIT, "li"), (Action.RESTATE, "li"))
    assert [a.status for a in acts] == ["provisional", "under_review", "verified", "submitted", "restated"]
    assert acts[2].actor == "wang"
    assert acts[2].of == OF


def test_who_prepared_cannot_approve(document: MonthDocument) -> None:
    with pytest.raises(RefusedError, match="li prepared this month"):
        live(document, *PREPARED, (Action.APPROVE, "li"))


def test_who_only_answered_a_finding_has_prepared_too(document: MonthDocument) -> None:
    finding = with_checks(document, "FINDING")
    acts = live(finding, *PREPARED, (Action.ANSWER, "zhao"))
    assert any(
        "zhao prepared" in reason for reason in refusals(finding, acts, Wish(Action.APPROVE, "zhao", "r", 9))
    )


def test_a_minor_finding_may_be_answered_and_keeps_nothing_from_being_verified(
    document: MonthDocument,
) -> None:
    """V06 is minor: losses are normal, and whoever sees it may say why."""
    checks = tuple(
        msgspec.structs.replace(c, outcome="FINDING" if c.id == "V06" else "PASS") for c in document.checks
    )
    finding = msgspec.structs.replace(document, checks=checks)
    acts = live(finding, *PREPARED)
    assert obstacles(finding, acts) == []
    said = Wish(Action.ANSWER, "zhao", "enterprise", 9, "losses of the old line", "V06")
    assert act(OF, finding, acts, said).subject == "V06"
    unknown = Wish(Action.ANSWER, "zhao", "enterprise", 9, "why not", "V05")
    assert refusals(finding, acts, unknown) == ["there is no finding V05"]


def test_an_unanswered_finding_blocks_and_its_answer_opens(document: MonthDocument) -> None:
    checks = tuple(
        msgspec.structs.replace(c, outcome="FINDING" if c.id == "V01" else "PASS") for c in document.checks
    )
    finding = msgspec.structs.replace(document, checks=checks)
    acts = live(finding, *PREPARED)
    assert any("V01" in reason for reason in obstacles(finding, acts))
    acts = live(finding, (Action.ANSWER, "li"), (Action.APPROVE, "wang"), acts=tuple(acts))
    assert status_of(acts) is Status.VERIFIED


@pytest.mark.parametrize("outcome", ["FAIL", "INSUFFICIENT_DATA"])
def test_a_failed_check_blocks_verified_even_when_answered(document: MonthDocument, outcome: str) -> None:
    bad = with_checks(document, outcome)
    acts = live(bad, *PREPARED, (Action.ANSWER, "li"))
    with pytest.raises(RefusedError, match=outcome):
        live(bad, (Action.APPROVE, "wang"), acts=tuple(acts))


def test_a_pending_event_blocks_verified(document: MonthDocument) -> None:
    meters = (msgspec.structs.replace(document.meters[0], pending=True), *document.meters[1:])
    pending = msgspec.structs.replace(document, meters=meters)
    acts = live(pending, *PREPARED)
    with pytest.raises(RefusedError, match=meters[0].meter):
        live(pending, (Action.APPROVE, "wang"), acts=tuple(acts))


def test_every_reason_is_told_at_once(document: MonthDocument) -> None:
    found = refusals(with_checks(document, "FAIL"), [], Wish(Action.RETURN, "wang", "verifier", 0))
    assert len(found) == 2  # not under review, and without a reason
    found = refusals(document, [], Wish(Action.ATTACH, "li", "enterprise", 0))
    assert len(found) == 2  # not verified yet, and without a file


def test_a_finding_that_does_not_exist_cannot_be_answered(document: MonthDocument) -> None:
    acts = live(document, *PREPARED)
    wish = Wish(Action.ANSWER, "li", "enterprise", 0, "because", "V99")
    assert refusals(document, acts, wish) == ["there is no finding V99"]


def test_no_order_of_wishes_reaches_verified_without_two_people(document: MonthDocument) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.sampled_from(list(Action)), max_size=12))
    def tried(actions: list[Action]) -> None:
        acts: list[Act] = []
        for at, action in enumerate(actions):
            wish = Wish(action, "alone", "administrator", at, "because", "", "0" * 64)
            if not refusals(document, acts, wish):
                acts.append(act(OF, document, acts, wish))
        assert status_of(acts) not in {Status.VERIFIED, Status.SUBMITTED}
        for before, after in pairwise(acts):
            assert Status(before.status) in TRANSITIONS[Action(after.action)].start

    tried()


# ------------------------------------------------------------------------------------------------ the store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LifecycleStore]:
    with LifecycleStore(tmp_path / "lifecycle.db") as opened:
        yield opened


def test_acts_read_back_in_order_with_their_place(store: LifecycleStore, document: MonthDocument) -> None:
    acts = live(document, *PREPARED)
    stored = store.append(acts, 0)
    assert [a.id for a in stored] == [1, 2]
    assert store.acts(OF) == stored == store.everything("2026-10")
    assert store.acts(OF._replace(revision=2)) == []


def test_what_was_done_cannot_be_changed_or_deleted(store: LifecycleStore, document: MonthDocument) -> None:
    store.append(live(document, *PREPARED), 0)
    for statement in ("UPDATE act SET actor='x'", "DELETE FROM act"):
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            store._db.execute(statement)


def test_an_act_decided_on_an_older_state_is_refused(store: LifecycleStore, document: MonthDocument) -> None:
    first, second = live(document, *PREPARED)
    store.append([first], 0)
    seen = store.newest_id()
    store.append([second], seen)
    approved = live(document, (Action.RETURN, "wang"), acts=(first, second))[-1]
    with pytest.raises(OvertakenError, match="send"):
        store.append([approved], seen)
    assert store.acts(OF)[-1].action == "send"


def test_acts_of_several_months_are_stored_all_or_none(
    store: LifecycleStore, document: MonthDocument
) -> None:
    (first,) = live(document, (Action.CLOSE, "li"))
    store.append([first], 0)
    other = msgspec.structs.replace(first, month="2026-09")
    with pytest.raises(OvertakenError):
        store.append([other, first], 0)
    assert store.everything("2026-09") == []


# ------------------------------------------------------------------------------------------- attached files


def test_a_file_is_kept_under_its_digest_once(tmp_path: Path) -> None:
    data = b"%PDF-1.7 a stamped scan"
    digest = attachments.keep(tmp_path, data)
    assert attachments.keep(tmp_path, data) == digest
    assert attachments.read(tmp_path, digest) == data
    assert [p.name for p in tmp_path.iterdir()] == [digest]


@pytest.mark.parametrize("data", [b"", b"MZ a program", b"%PDF-" + bytes(attachments.MAX_BYTES)])
def test_an_empty_a_foreign_and_a_huge_file_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(attachments.AttachmentError):
        attachments.keep(tmp_path / "files", data)
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize("name", ["../months.db", "0" * 63, "/etc/passwd"])
def test_a_digest_that_is_none_opens_no_file(tmp_path: Path, name: str) -> None:
    assert attachments.read(tmp_path, name) is None
