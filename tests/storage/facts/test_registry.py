import sqlite3
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.facts.kinds import EnterpriseFact, MeterFact, ProductionFact
from storage.facts.state import Facts
from storage.registry import EMPTY, RegistryReader, RegistryWriter, verify_chain

Make = Callable[..., Any]


class Told:
    """An audit log that remembers."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str, object]] = []

    def record(self, *, actor: str, action: str, subject: str, detail: Mapping[str, object]) -> None:
        self.lines.append((actor, action, subject, detail["why"]))


@pytest.fixture
def writer(tmp_path: Path) -> RegistryWriter:
    return RegistryWriter(tmp_path / "registry.db")


def test_what_is_there_already_makes_no_revision(writer: RegistryWriter, fact: Make) -> None:
    first = writer.apply([fact("enterprise"), fact("meter")], "li", "first", 1)
    assert first.number == 1
    assert writer.apply([fact("meter")], "wang", "again", 2) == first


def test_a_correction_keeps_what_was_said_before(writer: RegistryWriter, fact: Make) -> None:
    writer.apply([fact("production")], "li", "form", 1)
    writer.apply([fact("production", output_10k_cny="99")], "wang", "typo", 2)
    (now,) = writer.facts().of(ProductionFact)
    (then,) = writer.facts(at=1).of(ProductionFact)
    assert (str(now.output_10k_cny), str(then.output_10k_cny)) == ("99", "1250.5")
    assert [(row.who, row.why) for row in writer.history("production", "a")] == [
        ("li", "form"),
        ("wang", "typo"),
    ]


def test_a_withdrawn_fact_is_gone_and_its_history_stays(writer: RegistryWriter, fact: Make) -> None:
    writer.apply([fact("meter")], "li", "first", 1)
    writer.apply([], "li", "wrong meter", 2, withdrawn=[fact("meter")])
    assert writer.facts().of(MeterFact) == []
    assert len(writer.history("meter")) == 2
    assert writer.apply([], "li", "once more", 3, withdrawn=[fact("meter")]).number == 2


def test_every_change_is_told_to_the_audit_log_once(tmp_path: Path, fact: Make) -> None:
    told = Told()
    writer = RegistryWriter(tmp_path / "registry.db", told)
    writer.apply([fact("meter"), fact("production")], "li", "first", 1)
    writer.apply([fact("meter")], "li", "again", 2)
    assert sorted(told.lines) == [
        ("li", "registry.meter.set", "m", "first"),
        ("li", "registry.production.set", "a", "first"),
    ]


def test_nothing_of_a_registry_can_be_changed_in_place(
    writer: RegistryWriter, fact: Make, tmp_path: Path
) -> None:
    writer.apply([fact("meter")], "li", "first", 1)
    db = sqlite3.connect(tmp_path / "registry.db")
    for statement in (
        "UPDATE fact SET value='{}'",
        "DELETE FROM fact",
        "UPDATE revision SET who='x'",
        "DELETE FROM revision",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(statement)


def test_a_row_changed_behind_our_back_breaks_the_chain(
    writer: RegistryWriter, fact: Make, tmp_path: Path
) -> None:
    for number in range(1, 4):
        writer.apply([fact("production", output_10k_cny=str(number))], "li", "form", number)
    assert verify_chain(writer) is None
    db = sqlite3.connect(tmp_path / "registry.db")
    db.execute("DROP TRIGGER fact_is_kept")
    db.execute("UPDATE fact SET value=replace(value, '\"2\"', '\"7\"') WHERE revision=2")
    db.commit()
    assert verify_chain(writer) == 2


def test_an_empty_registry_is_revision_zero(writer: RegistryWriter, tmp_path: Path) -> None:
    assert writer.head() == EMPTY
    with RegistryReader(tmp_path / "registry.db") as reader:
        assert reader.facts() == Facts()


def test_a_state_holds_until_its_end_or_the_next_one(fact: Make) -> None:
    first = fact("enterprise", valid_from="2026-01-01", name="旧名")
    second = fact("enterprise", valid_from="2026-06-01", name="新名", valid_to="2026-09-01")
    facts = Facts((second, first))
    names = {
        day: found.name if (found := facts.in_force(EnterpriseFact, "a", date.fromisoformat(day))) else None
        for day in ("2025-12-31", "2026-01-01", "2026-05-31", "2026-06-01", "2026-08-31", "2026-09-01")
    }
    assert list(names.values()) == [None, "旧名", "旧名", "新名", "新名", None]


@given(
    st.lists(
        st.tuples(st.integers(1, 28), st.integers(0, 20)), max_size=6, unique_by=lambda t: t[0]
    )
)
def test_states_through_a_span_are_those_in_force_on_some_of_its_days(spans: list[tuple[int, int]]) -> None:
    states = tuple(
        _state(day, day + length if length and day + length <= 31 else None) for day, length in spans
    )
    facts = Facts(states)
    days = [date(2026, 1, day) for day in range(10, 20)]
    slow = {found.serial for day in days if (found := facts.in_force(MeterFact, "m", day))}
    assert {state.serial for state in facts.through(MeterFact, "m", days[0], date(2026, 1, 20))} == slow


def _state(first: int, end: int | None) -> MeterFact:
    until = None if end is None else date(2026, 1, end)
    return MeterFact(meter="m", serial=str(first), valid_from=date(2026, 1, first), valid_to=until)
