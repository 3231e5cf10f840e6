from importlib import resources
from pathlib import Path

import pytest

from metering.intervals import local_month
from metering.registry import Park, load_registry
from storage.facts.judge import mistakes
from storage.facts.kinds import BillFact, EnterpriseFact, MeterFact
from storage.facts.state import Facts
from storage.journal import Offset
from storage.ledger import IntervalRow, LedgerReader, Results, Snapshot
from storage.ledger_writer import LedgerWriter
from tanyun.demo.facts import facts


@pytest.fixture
def park() -> Park:
    return load_registry(Path(str(resources.files("tanyun") / "demo" / "park.toml")))


def test_the_demos_facts_are_judged_like_everybody_elses(park: Park, tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path / "ledger.db")
    start = local_month("2026-10", park.tz).start_ms
    row = IntervalRow(
        "hj-gate",
        "energy_import_total",
        start,
        start + 900_000,
        0,
        1,
        0,
        123_456_789,
        None,
        None,
        0,
        True,
        0,
        True,
    )
    writer.commit(Snapshot("x", Offset(1, 0), 1, b""), Results(intervals=[row]))
    writer.close()
    with LedgerReader(tmp_path / "ledger.db") as ledger:
        found = facts(park, "2026-10", ledger)
    assert mistakes(found, Facts(), park) == []
    known = Facts(found)
    assert {fact.subject for fact in known.of(EnterpriseFact)} == {e.id for e in park.enterprises}
    assert {fact.subject for fact in known.of(MeterFact)} == {m.id for m in park.meters}
    (bill,) = [fact for fact in known.of(BillFact) if fact.meter == "hj-gate"]
    assert (str(bill.billed), str(bill.multiplier)) == ("123457", "1500")
