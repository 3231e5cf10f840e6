"""After a run: the ledger says what the meters' registers say, exactly; nothing twice, nothing missing; disturbances are events."""

import sqlite3
from collections import Counter
from contextlib import closing

from edge_agent.simulator.meters import build_meters
from metering.intervals import QUARTER_MS
from storage.journal import JournalReader
from storage.ledger import LedgerReader
from tests.chaos.chain import Chain
from tests.e2e.expected import simulator_of

_READ_MS = 3_000


def assert_exact(chain: Chain, start_ms: int, until_ms: int) -> int:
    """Every interval from `start_ms` to the last tick `until_ms` is what the registers say; the live rest adds up. How many."""
    meters, checked = build_meters(simulator_of(chain.folder / "demo")), 0
    with LedgerReader(chain.data / "ledger.db") as ledger:
        last = {(row.meter, row.reading_type): row for row in ledger.progress()}
        for meter in chain.layout.park.meters:
            for kind in meter.roles:
                totals = meters[meter.id].totals
                rows = ledger.intervals(meter.id, kind, start_ms, 1 << 60)
                where = (chain.seed, meter.id, kind)
                assert len({(row.start_ms, row.part) for row in rows}) == len(rows), where
                past = [row for row in rows if row.closed and row.end_ms <= until_ms]
                assert [row.start_ms for row in past] == list(range(start_ms, until_ms, QUARTER_MS)), where
                for row in past:
                    said = totals(row.start_ms)[kind], totals(row.end_ms)[kind]
                    assert (row.opening, row.closing) == said, (where, row, said)
                    assert (row.coverage_ms, row.edge_read, row.quality) == (QUARTER_MS, True, 0), (
                        where,
                        row,
                    )
                assert [row.opening for row in rows[1:]] == [row.closing for row in rows[:-1]], where
                end = last[meter.id, kind]
                assert not end.pending, (where, end)
                # Live, a register is read some milliseconds beside its stamp, more on a machine that is busy.
                low, high = totals(end.t_ms - _READ_MS)[kind], totals(end.t_ms + _READ_MS)[kind]
                assert low <= end.position <= high, (where, end, low, high)
                assert sum(row.energy for row in rows) == end.position - totals(start_ms)[kind], where
                checked += len(past)
    return checked


def assert_journal_is_whole(chain: Chain) -> Counter[str]:
    """The chain of digests holds, no number is there twice or missing undeclared; what was quarantined, by reason."""
    with JournalReader(chain.data / "journal.db") as journal:
        journal.verify_chain()
        refused = Counter(journal.quarantine_counts())
    with closing(sqlite3.connect(f"file:{chain.data / 'journal.db'}?mode=ro", uri=True)) as db:
        holes = db.execute(
            "SELECT gateway, epoch, count(*), max(number) FROM frame WHERE epoch > 0 GROUP BY gateway, epoch HAVING count(*) < max(number)"
        ).fetchall()
        lost = db.execute("SELECT count(*) FROM event WHERE kind = 'frames_lost'").fetchone()[0]
    assert not holes or lost, (chain.seed, holes)
    return refused


def events_of(chain: Chain) -> Counter[str]:
    """Kinds of events in journal and ledger."""
    found: Counter[str] = Counter()
    with JournalReader(chain.data / "journal.db") as journal:
        found.update(event.kind for event in journal.events(limit=1 << 20))
    with LedgerReader(chain.data / "ledger.db") as ledger:
        found.update(event.kind for event in ledger.events(limit=1 << 20))
    return found


def assert_visible(chain: Chain, done: Counter[tuple[str, str]]) -> Counter[str]:
    """What was done to a gateway's session, to the broker or to ingest has left events. Which kinds there are."""
    found = events_of(chain)
    died = sum(
        count for (fault, target), count in done.items() if fault in {"kill", "down"} and target == "ingest"
    )
    # Killed twice before it had begun, it has begun once: what it never did left no trace.
    assert found["ingest_started"] >= 1 + min(died, 1), (chain.seed, found)
    if any(target == "broker" and fault in {"kill", "down", "stop"} for fault, target in done):
        assert found["broker_lost"] or found["ingest_started"] > 1, (chain.seed, found)
    for gateway in chain.gateways:
        broken = [
            fault for fault, target in done if target in {gateway, f"edge {gateway}", f"mqtt {gateway}"}
        ]
        if {"kill", "down", "stop", "cut", "power_cut", "torn_tail"} & set(broken):
            assert _found_again(chain, gateway) > 1, (chain.seed, gateway, broken)
    return found


def _found_again(chain: Chain, gateway: str) -> int:
    with JournalReader(chain.data / "journal.db") as journal:
        events = journal.events(limit=1 << 20)
    return sum(event.kind == "gateway_found" and event.gateway == gateway for event in events)


def assert_projected(chain: Chain) -> int:
    """InfluxDB has caught up with the ledger; how many intervals it was told."""
    if chain.influx is None:
        return 0
    with LedgerReader(chain.data / "ledger.db") as ledger:
        head = ledger.change_seq()
    with closing(sqlite3.connect(f"file:{chain.data / 'projector.db'}?mode=ro", uri=True)) as db:
        rows = db.execute(
            "SELECT name, live, (SELECT count(*) FROM gap WHERE source = name) FROM source"
        ).fetchall()
        refused = db.execute("SELECT count(*) FROM refused").fetchone()[0]
    at = {name: (live, gaps) for name, live, gaps in rows}
    assert at["ledger"] == (head, 0), (chain.seed, at, head)
    assert not refused, chain.seed
    return head
