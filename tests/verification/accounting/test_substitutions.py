"""Substitutions: by two people, only where nothing is measured; measured + substituted = reported, each its own line."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
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
from verification.close import MonthClosedError
from verification.document import MonthDocument, exact_decimal, parse
from verification.intervals import holes_between
from verification.restate import compare
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
    measured = burnt.plant.position((METER, KIND), burnt.plant.until_ms[METER]) - burnt.plant.position(
        (METER, KIND), burnt.plant.month.start_ms
    )
    assert line.accepted
    assert (line.amount, line.author, line.approver) == ("812500", "li", "wang")
    assert (line.start, line.end) == ("2026-10-28T09:00:00+08:00", "2026-11-01T00:00:00+08:00")
    assert found["jingmi"].substitutions == ()
    assert len(found["demo"].substitutions) == 1
    for scope, document in found.items():  # what the meters say has not moved
        assert document.energy == without[scope].energy
        assert document.daily == without[scope].daily
        assert [m.energy_wh for m in document.meters] == [m.energy_wh for m in without[scope].meters]
    own = found["guangdian"]
    assert own.energy.purchased_wh is None
    bought = next(line for line in own.reported if line.id == "purchased_wh")
    assert (bought.measured, bought.substituted, bought.reported) == (
        str(measured),
        "812500",
        str(measured + 812_500),
    )
    assert own.meters[0].balance.equal
    assert own.meters[0].balance.journal_wh == own.meters[0].balance.ledger_wh == str(measured)
    ug = 530_600 * (measured + 812_500)
    assert {t.use: t.including_ug for t in own.totals}["standard"] == str(ug)
    assert own.energy_types[0].consumed == exact_decimal(Fraction(measured + 812_500, 1000))
    park = found["demo"]
    assert park.enterprises[1].reported_wh == str(measured + 812_500)
    assert park.enterprises[1].substituted_wh == "812500"
    assert (
        next(e.emission_ug for e in own.emissions if e.primary) == park.enterprises[1].emission_ug == str(ug)
    )
    gate = int(found["jingmi"].energy.grid_import_wh or 0)
    whole = next(line.reported for line in park.reported if line.id == "purchased_wh")
    assert whole == str(gate + measured + 812_500)
    assert_sums(found)


def assert_sums(documents: dict[str, MonthDocument]) -> None:
    """Reported − substituted = measured, of everything that every scope reports."""
    for document in documents.values():
        assert {"purchased_wh", "standard_coal_kgce", *(t.use for t in document.totals)} <= {
            r.id for r in document.reported
        }
        for line in document.reported:
            assert (line.measured is None) == (line.reported is None)
            if line.reported is not None and line.measured is not None:
                assert Fraction(line.reported) - Fraction(line.substituted) == Fraction(line.measured)


def test_a_filled_month_can_be_verified_and_asks_to_be_explained(burnt: Burnt) -> None:
    fact = substitution()
    burnt.plant.facts = [
        *in_order(burnt.plant.park),
        *stored(burnt.folder, ("li", fact), ("wang", approval(fact))),
    ]
    rows = burnt.plant.close()  # although its meter is behind the month's end
    document = next(parse(row.document) for row in rows if row.scope_id == "guangdian")
    found = {check.id: check.outcome for check in document.checks}
    assert (found["V01"], found["V02"], found["V03"], found["V16"]) == (
        "FINDING",
        "PASS",
        "FINDING",
        "PASS",
    )


def test_a_substitution_after_the_close_is_a_restatement_with_a_reason(burnt: Burnt) -> None:
    fact = substitution()
    first = {row.scope_id: row for row in burnt.plant.close(incomplete=True)}
    written = stored(burnt.folder, ("li", fact), ("wang", approval(fact)))
    burnt.plant.facts = [*in_order(burnt.plant.park), *written]
    with pytest.raises(MonthClosedError):
        burnt.plant.close(incomplete=True)
    second = {row.scope_id: row for row in burnt.plant.close("substitution", incomplete=True)}
    assert {scope: row.revision for scope, row in second.items()} == {"jingmi": 1, "guangdian": 2, "demo": 2}
    told = compare(first["guangdian"], second["guangdian"])
    assert {f.name: f.old for f in told.figures}["purchased_wh"] is None
    assert any(change.path == "reported[purchased_wh].substituted" for change in told.changes)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(1, 3 * 96 + 59), max_size=3, unique=True),
    amounts=st.lists(st.integers(0, 10**7), min_size=4, max_size=4),
    leave=st.sampled_from([None, 0, -1]),
)
def test_reported_less_substituted_is_measured_in_every_scope(
    burnt: Burnt, cuts: list[int], amounts: list[int], leave: int | None
) -> None:
    """A hole in pieces, one of them perhaps left out: then nothing is reported."""
    since = datetime.fromisoformat(SINCE)
    ends = [since + timedelta(minutes=15 * cut) for cut in sorted(cuts)] + [
        datetime.fromisoformat("2026-11-01")
    ]
    pieces = list(zip([since, *ends[:-1]], ends, amounts, strict=False))
    if leave is not None:
        pieces.pop(leave)
    facts: list[Fact] = []
    for start, end, amount in pieces:
        fact = substitution(
            start=start.isoformat(), end=end.isoformat(), energy=str(Decimal(amount) / 1000), by="li"
        )
        facts += [fact, signed(approval(fact), "wang")]
    found = lines(burnt.plant, facts)
    assert_sums(found)
    plant = burnt.plant
    measured = plant.position((METER, KIND), plant.until_ms[METER]) - plant.position(
        (METER, KIND), plant.month.start_ms
    )
    whole = next(line for line in found["guangdian"].reported if line.id == "purchased_wh")
    written = sum(amount for *_, amount in pieces)
    assert int(whole.substituted) == written
    assert whole.reported == (str(measured + written) if leave is None else None)


def signed(of: ApprovalFact, who: str) -> ApprovalFact:
    """The approval as the registry gives it: with who wrote it."""
    return of.model_copy(update={"by": who})


def test_two_substitutions_never_stand_for_the_same_time(burnt: Burnt) -> None:
    one_, other = substitution(by="li"), substitution(start="2026-10-30T00:00:00", by="li")
    facts = [f for fact in (one_, other) for f in (fact, signed(approval(fact), "wang"))]
    said = lines(burnt.plant, facts)["guangdian"].substitutions
    assert [line.refused_en for line in said] == ["", "overlaps another substitution"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"end": "2026-11-02T00:00:00"}, "reaches beyond the month"),
        ({"unit": "m3"}, "in a unit that the total does not have"),
    ],
)
def test_what_does_not_fit_the_month_or_the_total_is_refused(
    burnt: Burnt, more: dict[str, object], why: str
) -> None:
    fact = substitution(**more)
    line = one(lines(burnt.plant, stored(burnt.folder, ("li", fact), ("wang", approval(fact)))))
    assert not line.accepted
    assert why in line.refused_en


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
