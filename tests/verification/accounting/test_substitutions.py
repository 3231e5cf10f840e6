"""Substitutions: by two people, only where nothing is measured, beside the measured figures and in no total."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import tanyun.commands.registry as registry_commands
import tanyun.commands.substitution as substitution_commands
from metering.intervals import QUARTER_MS, Span, iso
from storage.facts.fact import Fact
from storage.facts.kinds import KINDS
from storage.facts.sheets import export_csv
from storage.facts.substitution import ApprovalFact, SubstitutionFact
from storage.registry import RegistryReader, RegistryWriter, canonical_fact, fact_digest
from tanyun.commands import group
from tests.verification.conftest import CLOSED_AT_MS, Plant, in_order
from verification.document import MonthDocument
from verification.evidence.figures import holes_between
from verification.substitution_line import SubstitutionLine

METER, KIND = "m-two", "energy_import_total"
SINCE = "2026-10-28T09:00:00"


def substitution(**more: object) -> Fact:
    return KINDS["substitution"].model_validate(
        {
            "meter": METER, "start": SINCE, "end": "2026-11-01T00:00:00", "energy": "812.5", "method": "check_meter",
            "reason": "表计烧毁", "evidence_sha256": "ab" * 32, **more,
        }
    )  # fmt: skip


def approval(of: Fact) -> ApprovalFact:
    assert isinstance(of, SubstitutionFact)
    return ApprovalFact(meter=of.meter, start=of.start, substitution_sha256=fact_digest(of))


def stored(folder: Path, *written: tuple[str, Fact]) -> list[Fact]:
    """What the registry says after these people wrote these facts."""
    with RegistryWriter(folder / "registry.db") as registry:
        for number, (who, fact) in enumerate(written):
            registry.apply([fact], who, "why", number)
        return list(registry.facts().all)


def lines(plant: Plant, facts: list[Fact]) -> dict[str, MonthDocument]:
    plant.facts = [*in_order(plant.park), *facts]
    return {document.scope.id: document for document in plant.check(CLOSED_AT_MS)}


def one(documents: dict[str, MonthDocument]) -> SubstitutionLine:
    (line,) = documents["guangdian"].substitutions
    return line


@dataclass
class Burnt:
    """A plant whose meter fell silent on the 28th at nine; a quarter hour before was its last total."""

    plant: Plant
    folder: Path


@pytest.fixture
def burnt(plant: Plant, tmp_path: Path) -> Burnt:
    days = 27 * 96 + 9 * 4
    plant.until_ms[METER] = plant.month.start_ms + days * QUARTER_MS
    plant.build()
    return Burnt(plant, tmp_path)


def test_an_approved_substitution_stands_beside_the_measured_figures(burnt: Burnt) -> None:
    fact = substitution()
    without = lines(burnt.plant, [])
    found = lines(burnt.plant, stored(burnt.folder, ("li", fact), ("wang", approval(fact))))
    line = one(found)
    assert line.accepted
    assert (line.amount, line.author, line.approver) == ("812500", "li", "wang")
    assert (line.start, line.end) == ("2026-10-28T09:00:00+08:00", "2026-11-01T00:00:00+08:00")
    assert found["jingmi"].substitutions == ()
    assert len(found["demo"].substitutions) == 1
    for scope, document in found.items():  # nothing else moved
        assert document.energy == without[scope].energy
        assert document.totals == without[scope].totals
        assert document.meters == without[scope].meters
    assert found["guangdian"].energy.purchased_wh is None


def test_who_wrote_it_cannot_approve_it_whatever_the_sheet_says(burnt: Burnt) -> None:
    fact = substitution(by="somebody else")
    line = one(lines(burnt.plant, stored(burnt.folder, ("li", fact), ("li", approval(fact)))))
    assert (line.accepted, line.author, line.approver) == (False, "li", "li")
    assert "同一人" in line.refused_zh


def test_another_wording_needs_another_approval(burnt: Burnt) -> None:
    fact, other = substitution(), substitution(energy="900")
    written = stored(burnt.folder, ("li", fact), ("wang", approval(fact)), ("li", other))
    assert "有变" in one(lines(burnt.plant, written)).refused_zh
    again = stored(burnt.folder, ("wang", approval(other)))
    assert one(lines(burnt.plant, again)).accepted


def test_without_an_approval_it_is_shown_as_such(burnt: Burnt) -> None:
    line = one(lines(burnt.plant, stored(burnt.folder, ("li", substitution()))))
    assert (line.accepted, line.approver, line.refused_en) == (False, "", "not approved yet")


@pytest.mark.parametrize(
    "more", [{"start": "2026-10-28T08:45:00"}, {"start": "2026-10-02T00:00:00", "end": "2026-10-03T00:00:00"}]
)
def test_time_that_is_measured_is_never_substituted(burnt: Burnt, more: dict[str, object]) -> None:
    fact = substitution(**more)
    line = one(lines(burnt.plant, stored(burnt.folder, ("li", fact), ("wang", approval(fact)))))
    assert (line.accepted, line.refused_en) == (False, "the time is measured")


@pytest.mark.parametrize(
    "more",
    [
        {"start": "2026-10-28T09:10:00"},
        {"end": SINCE},
        {"evidence_sha256": ""},
        {"method": "guess"},
        {"energy": "-1"},
    ],
)
def test_a_record_that_is_none_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"start|end|evidence|method|energy"):
        substitution(**more)


def test_who_wrote_a_fact_is_no_part_of_it(tmp_path: Path) -> None:
    fact = substitution()
    (known,) = stored(tmp_path, ("li", fact))
    assert isinstance(known, SubstitutionFact)
    assert known.by == "li"
    assert canonical_fact(known) == canonical_fact(fact)
    assert fact_digest(known) == fact_digest(fact)
    assert b"li" in export_csv(SubstitutionFact, [known])
    assert len(stored(tmp_path, ("wang", known))) == 1  # the same again is no new row, and changes no author
    with RegistryReader(tmp_path / "registry.db") as registry:
        assert [row.who for row in registry.rows()] == ["li"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=8))
def test_holes_are_what_runs_leave_over(pieces: list[tuple[int, int]]) -> None:
    at, runs, covered = 10, [], set()
    for gap, length in pieces:
        runs.append(Span(at + gap, at + gap + length))
        covered |= set(range(at + gap, at + gap + length))
        at += gap + length
    holes = holes_between(runs, Span(10, 60))
    assert {t for hole in holes for t in range(*hole)} == set(range(10, 60)) - covered


def test_two_people_do_it_on_the_command_line(burnt: Burnt, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = burnt.folder
    (folder / "park.toml").write_text(
        'id = "p"\nname = "园"\ngrid_scope = "CN-AH"\nenterprises = [{ id = "a", name = "甲" }]\n'
        'sites = [{ id = "s", enterprise = "a", name = "s" }]\ngateways = [{ id = "g", site = "s" }]\n'
        f'meters = [{{ id = "{METER}", gateway = "g", roles = {{ {KIND} = "grid_boundary" }} }}]\n',
        encoding="utf-8",
    )
    (folder / "server.toml").write_text(
        'registry = "park.toml"\ndata = "data"\nreports = "r"\n[broker]\nhost = "127.0.0.1"\nuser = "u"\npassword_file = "p"\n',
        encoding="utf-8",
    )
    (folder / "check.pdf").write_bytes(b"%PDF-1.7 check meter")

    def run(who: str, *words: str) -> tuple[int, str]:
        for module in (registry_commands, substitution_commands):
            monkeypatch.setattr(module, "operating_user", lambda: who)
        done = CliRunner().invoke(group.root, ["month", *words, "--config", str(folder / "server.toml")])
        return done.exit_code, done.output

    since = ["--from", "2026-10-28 09:00"]
    wanted = [
        "substitute", METER, *since, "--to", "2026-11-01", "--energy", "812.5", "--method", "check_meter", "--reason", "burnt",
        "--evidence", str(folder / "check.pdf"),
    ]  # fmt: skip
    assert run("li", *wanted)[0] == 0
    code, told = run("li", "approve-substitution", METER, *since)
    assert code != 0
    assert "four eyes" in told or "四眼" in told
    assert run("wang", "approve-substitution", METER, "--from", "2026-10-01")[0] != 0
    assert run("wang", "approve-substitution", METER, *since)[0] == 0
    with RegistryReader(folder / "data" / "registry.db") as registry:
        facts = list(registry.facts().all)
        history = [(row.who, row.kind, json.loads(row.value).get("by")) for row in registry.rows()]
    assert history == [("li", "substitution", ""), ("wang", "substitution_approval", "")]
    assert one(lines(burnt.plant, facts)).accepted
    code, told = run("li", *wanted[:1], "nowhere", *wanted[2:])
    assert code != 0
    assert "nowhere" in told


def test_the_silence_is_the_hole(burnt: Burnt) -> None:
    """The times above are those of the plant."""
    assert iso(burnt.plant.until_ms[METER], burnt.plant.park.tz).startswith(SINCE)
