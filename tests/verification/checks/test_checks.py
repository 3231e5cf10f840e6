"""The checks on a real journal and ledger of a month without faults, each with one thing changed in the registry."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest

from metering.intervals import QUARTER_MS, local_month, to_ms
from metering.registry import Park, parse_registry
from storage.facts.fact import Fact
from storage.facts.kinds import KINDS, MeterFact
from storage.journal import Commit, JournalReader, NewEvent
from storage.journal_writer import JournalWriter
from storage.ledger import EventRow
from storage.months import MonthStore
from tests.verification.conftest import CLOSED_AT_MS, MONTH, PARK, Plant, in_order
from verification.changes import differences
from verification.checks.thresholds import limits
from verification.document import CheckLine, MonthDocument
from verification.measure import changed_serials
from verification.times import midnight_ms

DAY_MS = 96 * QUARTER_MS
GRID = ("m-grid", "energy_import_total")
PROOF = "cd" * 32
Built = Callable[..., list[MonthDocument]]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """Built once: these tests change only facts."""
    park = parse_registry(dict(PARK))
    plant = Plant(tmp_path_factory.mktemp("plant"), park, local_month(MONTH, park.tz))
    plant.build()
    return plant


@pytest.fixture
def judged(plant: Plant) -> Built:
    """The documents with these facts beside those that are in order, at a time."""

    def judge(*facts: Fact, at_ms: int = CLOSED_AT_MS, without: tuple[str, ...] = ()) -> list[MonthDocument]:
        known = [fact for fact in in_order(plant.park) if fact.subject not in without]
        plant.facts = [*known, *facts]
        return plant.check(at_ms)

    return judge


def fact(kind: str, **given: object) -> Fact:
    return KINDS[kind].model_validate(
        {"enterprise": "jingmi", **given} if "meter" not in given or kind == "bill" else given
    )


def of(documents: list[MonthDocument], check: str, scope: str = "jingmi") -> CheckLine:
    document = next(doc for doc in documents if doc.scope.id == scope)
    return next(line for line in document.checks if line.id == check)


def later(days: int) -> int:
    return CLOSED_AT_MS + days * DAY_MS


def test_a_month_in_order_passes_all_seventeen_and_each_says_how_it_was_judged(judged: Built) -> None:
    for document in judged():
        assert [line.id for line in document.checks] == [f"V{n:02d}" for n in range(1, 18)]
        odd = {line.id: line.detail_en for line in document.checks if line.outcome not in ("PASS", "NOT_DUE")}
        # The small park's parents lose more than 5 % on purpose.
        assert set(odd) <= ({"V06"} if document.parents else set()), odd
        assert document.outcome == ("PASS_WITH_FINDINGS" if odd else "PASS")
        for line in document.checks:
            assert line.formula
            assert line.thresholds
            assert all(item.official or "ours" in item.source for item in line.thresholds), line.id


def test_every_threshold_says_whether_it_is_official() -> None:
    assert {limit.official for limit in limits().values()} == {True, False}
    for name, limit in limits().items():
        assert limit.source, name


def bill(plant: Plant, *, off: Fraction = Fraction(0), **given: object) -> Fact:
    """A bill of the boundary meter from the 1st to the 25th: what the meter counted, losses, a refund, and an error."""
    start, end = "2026-10-01", "2026-10-25"
    from_ms, to = (midnight_ms(datetime.fromisoformat(day).date(), plant.park.tz) for day in (start, end))
    kwh = Fraction(plant.position(GRID, to) - plant.position(GRID, from_ms), 1000)
    billed = kwh * (1 + off) + 120 + 30 - 50
    least = {
        "number": "B1", "meter": "m-grid", "start": start, "end": end, "opening": "0", "closing": str(float(kwh * (1 + off) / 80)),
        "multiplier": "80", "billed": str(float(billed)), "transformer_loss": "120", "line_loss": "30", "adjusted": "-50",
    }  # fmt: skip
    return fact("bill", **{**least, **given})


def test_a_bill_is_compared_over_its_own_dates_after_losses_and_refunds(plant: Plant, judged: Built) -> None:
    documents = judged(bill(plant))
    assert of(documents, "V07").outcome == "PASS"
    (line,) = documents[0].bills
    assert (line.start, line.end, line.difference) == ("2026-10-01", "2026-10-25", "0")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"off": Fraction(3, 100)}, "1 beyond the limit"),
        ({"multiplier": "60"}, "1 with another multiplier"),
        ({"opening": "10"}, "1 not adding up"),
        ({"start": "2026-09-25"}, "1 not comparable"),
    ],
)
def test_a_bill_that_does_not_fit_is_a_finding(
    plant: Plant, judged: Built, given: dict[str, object], said: str
) -> None:
    line = of(judged(bill(plant, **given)), "V07")  # type: ignore[arg-type]  # by name
    assert line.outcome == "FINDING"
    assert said in line.detail_en
    assert line.evidence[0].meter == "m-grid"


def test_the_accuracy_class_decides_how_far_a_bill_may_be_off(plant: Plant, judged: Built) -> None:
    close = bill(plant, off=Fraction(15, 1000))
    assert of(judged(close), "V07").outcome == "PASS"
    record = MeterFact.model_validate(
        {"meter": "m-grid", "serial": "x", "valid_from": "2026-09-01", "accuracy_class": "0.5S", "calibrated_until": "2030-01-01",
         "ct": "80", "pt": "1", "ratio_proof": "p"}
    )  # fmt: skip
    assert of(judged(close, record), "V07").outcome == "FINDING"


def test_a_missing_bill_is_asked_for_only_after_its_day(judged: Built) -> None:
    assert of(judged(), "V07").outcome == "NOT_DUE"
    late = of(judged(at_ms=later(20)), "V07")
    assert (late.outcome, late.due) == ("FINDING", "2026-11-15")


@pytest.mark.parametrize(
    ("until", "outcome"), [("2026-10-31", "PASS"), ("2026-10-30", "FAIL"), (None, "FINDING")]
)
def test_calibration_holds_on_the_last_day_too(judged: Built, until: str | None, outcome: str) -> None:
    record = {
        "meter": "m-two",
        "serial": "x",
        "valid_from": "2020-01-01",
        "calibrated_until": until,
        "ct": "1",
        "pt": "1",
        "ratio_proof": "p",
    }
    line = of(judged(MeterFact.model_validate(record), without=("m-two",)), "V08", "guangdian")
    assert line.outcome == outcome
    assert line.meters == (() if outcome == "PASS" else ("m-two",))


@pytest.mark.parametrize(
    ("ct", "proof", "outcome"),
    [("400/5", "photo", "PASS"), ("80", "", "FINDING"), ("60", "photo", "FAIL"), (None, "photo", "FINDING")],
)
def test_a_ratio_equals_its_record_and_is_proven(
    judged: Built, ct: str | None, proof: str, outcome: str
) -> None:
    record = {
        "meter": "m-grid",
        "serial": "x",
        "valid_from": "2020-01-01",
        "calibrated_until": "2030-01-01",
        "ct": ct,
        "ratio_proof": proof,
    }
    assert of(judged(MeterFact.model_validate(record), without=("m-grid",)), "V09").outcome == outcome


def test_a_rise_above_the_rated_power_is_shown_with_its_interval(plant: Plant) -> None:
    plant.facts = in_order(plant.park)
    rated = {
        "serial": "y",
        "valid_from": "2026-09-01",
        "rated_power_kw": "1.09",
        "calibrated_until": "2030-01-01",
    }
    plant.facts.append(MeterFact.model_validate({"meter": "m-two", **rated}))
    # 29.99 kWh in a quarter hour is 119.96 kW.
    line = of(plant.check(CLOSED_AT_MS), "V05", "guangdian")
    assert (line.outcome, line.value) == ("FINDING", "2976")
    assert line.evidence[0].start_ms == plant.month.start_ms
    assert len(line.evidence) == 20


def certificates(**given: object) -> Fact:
    least = {
        "first": "G1", "last": "G1", "production_month": "2026-09", "status": "retired", "retired_on": "2026-11-01", "month": MONTH,
        "evidence_sha256": PROOF,
    }  # fmt: skip
    return fact("certificate", **{**least, **given})


def test_certified_power_leads_to_two_numbers_and_a_refused_claim_takes_the_grids_factor(
    judged: Built,
) -> None:
    accepted, refused = judged(certificates())[0], judged(certificates(status="held"))[0]
    totals = {line.use: int(line.electricity_ug or 0) for line in accepted.totals}
    assert totals["location_national"] - totals["standard"] == 1_000_000 * 530_600
    assert accepted.renewable is not None
    assert {line.use: line.electricity_ug for line in refused.totals}["standard"] == str(
        totals["location_national"]
    )
    line = of(judged(certificates(status="held")), "V11")
    assert (line.outcome, line.value) == ("FINDING", "0 / 1")
    assert "not retired" in line.detail_en


def test_production_is_asked_for_only_after_its_day_and_gives_intensities(judged: Built) -> None:
    assert of(judged(), "V14").outcome == "NOT_DUE"
    assert of(judged(at_ms=later(20)), "V14").outcome == "FINDING"
    output = fact("production", month=MONTH, output_10k_cny="100", value_added_10k_cny="25")
    documents = judged(output, at_ms=later(20))
    assert of(documents, "V14").outcome == "PASS"
    assert of(documents, "V14", "demo").value == "1 / 2"
    lines = {line.id: line for line in documents[0].intensities}
    coal = (
        Fraction(documents[0].energy_total.standard_coal_kgce or 0) / 1000 if documents[0].energy_total else 0
    )
    assert Fraction(lines["tce_per_10k_value_added"].value or 0) == coal / 25
    grade = {line.id: line.grade_en for line in documents[0].grades}
    assert grade["carbon_level"] in ("low", "medium", "high")
    assert grade["carbon_efficiency"] == "—", "no industry benchmark is known"


@pytest.mark.parametrize(("day", "outcome"), [("2026-12-10", "PASS"), ("2026-12-11", "FINDING")])
def test_a_deposit_is_due_forty_days_after_the_month(judged: Built, day: str, outcome: str) -> None:
    line = of(
        judged(fact("deposit", month=MONTH, parameter="electricity", submitted_on=day), at_ms=later(60)),
        "V15",
    )
    assert (line.outcome, line.due) == (outcome, "2026-12-10")
    assert of(judged(), "V15").outcome == "NOT_DUE"


@pytest.mark.parametrize(("year_month", "due"), [("2026-01", "2026-03-12"), ("2026-02", "2026-04-09")])
def test_the_deadline_is_the_one_of_the_rule(year_month: str, due: str) -> None:
    from storage.facts.state import Facts  # noqa: PLC0415
    from verification.accounting.books import Books  # noqa: PLC0415

    assert (Books(Facts(), "x", (), year_month).last + timedelta(days=40)).isoformat() == due


@pytest.mark.parametrize(
    ("off", "photo", "outcome"), [("0", PROOF, "PASS"), ("0.5", PROOF, "FAIL"), ("0", "", "FINDING")]
)
def test_a_display_fits_the_frames_around_it_within_its_resolution(
    plant: Plant, judged: Built, off: str, photo: str, outcome: str
) -> None:
    at = datetime(2026, 10, 31, 23, 40, tzinfo=plant.park.tz)
    count = plant.count(("m-two", "energy_import_total"), to_ms(at))
    shown = Fraction(count, 100) + Fraction(off) * 30
    inspection = fact(
        "inspection",
        meter="m-two",
        at=at.replace(tzinfo=None).isoformat(),
        reading=str(float(shown)),
        resolution="0.01",
        photo_sha256=photo,
    )
    line = of(judged(inspection), "V17", "guangdian")
    assert line.outcome == outcome
    if outcome != "PASS":
        assert line.evidence[0].meter == "m-two"
        assert line.evidence[0].segment is not None


def test_without_a_closed_month_there_is_nothing_to_compare_with_and_a_check_stores_nothing(
    plant: Plant, judged: Built
) -> None:
    documents = judged()
    assert of(documents, "V13").outcome == "NOT_DUE"
    with MonthStore(plant.folder / "months.sqlite") as months:
        assert months.list() == [], "a check stores nothing"


def test_the_open_month_is_judged_up_to_the_last_midnight(judged: Built) -> None:
    # Meters are read near both edges only: at noon of the 1st half a day is there, and the frames go until 01:00.
    documents = judged(at_ms=to_ms(datetime(2026, 10, 12, 4, tzinfo=UTC)))
    assert documents[0].end.startswith("2026-10-12T00:00")
    assert of(documents, "V01").value == "100.00 %"
    assert documents[0].meters[0].points_expected == 11 * 96
    assert len(documents[0].daily) == 11


def test_evidence_and_other_months_are_no_difference_of_figures(judged: Built) -> None:
    documents = judged()
    again = judged(certificates(status="held"))
    changed = {change.path for change in differences(documents[0], again[0])}
    assert any("certificates" in path for path in changed)
    assert not any(".evidence[" in path for path in changed)


SWAP_AT = "2026-10-12T03:10:00"


def heard(plant: Plant, serial: str, at: str) -> None:
    """Ingest heard another serial number of the line's meter."""
    t_ms = to_ms(datetime.fromisoformat(at).replace(tzinfo=plant.park.tz))
    writer = JournalWriter(plant.folder / "journal.sqlite")
    detail = {"meter": "m-line", "serial": serial, "expected": "A1", "before": "A1"}
    writer.commit(Commit(events=[NewEvent(t_ms, "gw1", "serial_changed", detail)]), t_ms)
    writer.close()


def with_exchange(**exchange: object) -> Park:
    """The park that declares an exchange of the line's meter, or none."""
    data = json.loads(json.dumps(PARK))
    line = next(meter for meter in data["meters"] if meter["id"] == "m-line")
    line["serial"] = "A1"
    if exchange:
        shown = {"energy_import_total": "1"}
        line["exchanges"] = [{"closing": shown, "opening": shown, **exchange}]
    return parse_registry(data)


@pytest.mark.parametrize(
    ("exchange", "undeclared"),
    [
        ({}, True),
        ({"at": "2026-10-12T03:00:00", "serial": "B2"}, False),
        ({"at": "2026-10-12T03:00:00"}, False),
        ({"at": "2026-10-12T03:00:00", "serial": "C3"}, True),
        ({"at": "2026-08-12T03:00:00"}, True),
    ],
)
def test_another_serial_number_without_a_declared_exchange_is_a_finding(
    tmp_path: Path, exchange: dict[str, object], undeclared: bool
) -> None:
    park = parse_registry(dict(PARK))
    plant = Plant(tmp_path, park, local_month(MONTH, park.tz), facts=in_order(park))
    plant.build()
    heard(plant, "B2", SWAP_AT)
    heard(plant, "A1", "2026-10-13T00:00:00")  # what the registry names is never odd
    heard(plant, "Z9", "2026-11-01T00:00:01")  # another month
    found = changed_events(with_exchange(**exchange), plant)
    assert [event.detail["serial"] for event in found] == (["B2"] if undeclared else [])


def changed_events(park: Park, plant: Plant) -> list[EventRow]:
    with JournalReader(plant.folder / "journal.sqlite") as journal:
        return list(changed_serials(park, journal, plant.month))


def test_a_changed_serial_number_is_in_v04_and_among_the_events(tmp_path: Path) -> None:
    park = parse_registry(dict(PARK))
    plant = Plant(tmp_path, park, local_month(MONTH, park.tz), facts=in_order(park))
    plant.build()
    heard(plant, "B2", SWAP_AT)
    documents = plant.check(CLOSED_AT_MS)
    line = of(documents, "V04")
    assert (line.outcome, line.meters) == ("FINDING", ("m-line",))
    (event,) = next(doc for doc in documents if doc.scope.id == "jingmi").events
    assert (event.kind, event.count, event.meter) == ("serial_changed", 1, "m-line")
    assert "换表待确认" in event.label_zh
    assert of(documents, "V04", "guangdian").outcome == "PASS"
