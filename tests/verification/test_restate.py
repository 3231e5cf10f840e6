"""Restating months: line-level differences, sums over months, one cause, one approval."""

import json
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest

from api.desk import Refused
from storage.lifecycle import Subject
from storage.months import MonthRow, MonthStore
from tanyun.desk import MonthDesk, subject_of
from tests.verification.conftest import CLOSED_AT_MS, Plant
from tests.verification.full_month import changed
from verification.document import parse
from verification.lifecycle import Action, Wish
from verification.restate import canonical, compare, reason, restatement


@pytest.fixture
def pairs(plant: Plant) -> list[tuple[MonthRow, MonthRow]]:
    plant.build()
    before = {row.scope_id: row for row in plant.close()}
    plant.rates["m-two", "energy_import_total"] += 60
    plant.build()
    after = plant.close(reason("ct_corrected", "m-two"), at_ms=CLOSED_AT_MS + 1)
    return [(before[row.scope_id], row) for row in after if row.digest != before[row.scope_id].digest]


def test_every_line_that_differs_is_there_and_figures_add_up_exactly(
    pairs: list[tuple[MonthRow, MonthRow]],
) -> None:
    found = restatement("ct_corrected", "m-two", pairs)
    assert [m.scope_id for m in found.months] == ["guangdian", "demo"]
    month = found.months[0]
    energy = month.figures[0]
    assert int(energy.new or 0) - int(energy.old or 0) == int(energy.difference or 0) != 0
    paths = {change.path for change in month.changes}
    assert {"energy.purchased_wh", "meters[m-two/energy_import_total].energy_wh"} <= paths
    assert (
        found.totals[0].difference == energy.difference
    )  # the park's own line is not added to its enterprises'
    assert Fraction(found.totals[2].new or "0") == Fraction(month.figures[2].new or "0")


def test_the_cause_names_its_content(pairs: list[tuple[MonthRow, MonthRow]]) -> None:
    found = restatement("ct_corrected", "m-two", pairs)
    assert found.cause == restatement("ct_corrected", "m-two", pairs).cause
    assert found.cause != restatement("late_data", "m-two", pairs).cause
    assert json.loads(canonical(found))["months"][0]["new_revision"] == 2


def test_an_unknown_code_and_revisions_in_the_wrong_order_are_refused(
    pairs: list[tuple[MonthRow, MonthRow]],
) -> None:
    with pytest.raises(ValueError, match="ct_corrected"):
        restatement("because", "", pairs)
    old, new = pairs[0]
    with pytest.raises(ValueError, match="older one first"):
        compare(new, old)


def subject_named(scope_id: str, subjects: list[Subject]) -> bool:
    return any(subject.scope_id == scope_id for subject in subjects)


def test_one_approval_covers_all_months_or_none(pairs: list[tuple[MonthRow, MonthRow]], plant: Plant) -> None:
    desk = MonthDesk(
        plant.folder / "months.sqlite", plant.folder / "life.db", plant.folder / "files", lambda: 1
    )
    with MonthStore(desk.months, writable=False) as months:
        desk.note_closed(sorted(months.list(), key=lambda row: row.revision), "li", "operator")
    new = [subject_of(row) for _old, row in pairs]
    assert {s.status for s in desk.board("2026-11-03") if s.revision == 2} == {"provisional"}
    old_life = desk.life(new[0]._replace(revision=1))
    assert old_life is not None
    assert old_life.status == "restated"
    desk.act_on(new, Wish(Action.SEND, "li", "operator", 2))
    with pytest.raises(Refused, match="four eyes"):
        desk.act_on(new, Wish(Action.APPROVE, "li", "operator", 3))
    findings = {subject: desk.life(subject) for subject in new}
    for subject, life in findings.items():
        assert life is not None
        for check in life.unanswered:
            desk.act(subject, "answer", actor="li", role="operator", reason="known", check=check)
    desk.act_on(new, Wish(Action.APPROVE, "wang", "verifier", 4))
    assert {s.status for s in desk.board("2026-11-03") if subject_named(s.scope_id, new)} == {"verified"}


def test_a_revision_stays_byte_for_byte_after_it_was_restated(
    pairs: list[tuple[MonthRow, MonthRow]], plant: Plant
) -> None:
    old, new = pairs[0]
    with MonthStore(plant.folder / "months.sqlite", writable=False) as months:
        assert months.get(old.month, old.scope_kind, old.scope_id, 1) == old
        assert months.get(old.month, old.scope_kind, old.scope_id) == new
    assert parse(new.document).reason == "ct_corrected：m-two"


def test_an_answer_is_carried_over_only_when_the_check_says_the_same(plant: Plant, tmp_path: Path) -> None:
    plant.build()
    row = next(row for row in plant.close() if row.scope_id == "jingmi")
    checks = tuple(
        msgspec.structs.replace(c, severity="major", outcome="FINDING" if c.id in {"V06", "V01"} else "PASS")
        for c in parse(row.document).checks
    )
    first = changed(row, checks=checks)
    other = tuple(msgspec.structs.replace(c, value="other") if c.id == "V01" else c for c in checks)
    second = changed(row, checks=other, revision=2, reason="late_data")
    desk = MonthDesk(tmp_path / "m.db", tmp_path / "l.db", tmp_path / "f", lambda: 1)
    with MonthStore(desk.months) as months:
        months.add([first, msgspec.structs.replace(second, reason="late_data")])
    desk.note_closed([first], "li", "operator")
    for check in ("V06", "V01"):
        desk.act(subject_of(first), "answer", actor="li", role="operator", reason="known", check=check)
    desk.note_closed([second], "li", "operator")
    life = desk.life(subject_of(second))
    assert life is not None
    assert life.unanswered == ("V01",)
