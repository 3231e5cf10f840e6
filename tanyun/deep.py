"""`tanyun doctor --deep`: do the stores say what they said when they were written, and does the ledger follow from the journal?

Reads everything, changes nothing; an hour or more for years of data. The ledger is recomputed into a scratch file.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from factors.policy import enterprise_policy
from factors.table import FactorTable
from metering.i18n import _
from metering.registry import Park
from storage import sealed_index
from storage.errors import StoreError
from storage.journal import JournalReader, Offset
from storage.ledger import IntervalRow, LedgerReader
from storage.months import MonthStore, digest_of
from stream.context import Context
from stream.policy import Policy
from stream.runner import Runner
from stream.state import StateError
from tanyun.config import ServerConfig
from tanyun.doctor import Diagnosis

_SHOWN = 3


def examine(config: ServerConfig, park: Park) -> Iterator[Diagnosis]:
    """The hash chain, the frames' index, the ledger against the journal, the months' digests."""
    yield check_chain(config.journal)
    yield check_index(config.journal)
    yield check_ledger(config, park)
    yield check_months(config.months)


def check_chain(journal: Path) -> Diagnosis:
    """Every segment's Merkle root and the chain over them, from the stored bytes."""
    if not journal.exists():
        return _absent("deep:chain", journal)
    try:
        with JournalReader(journal) as reader:
            count = reader.verify_chain()
    except (StoreError, sqlite3.DatabaseError) as error:
        return _fault("deep:chain", f"{journal}: {error}", _restore_cure())
    return Diagnosis("deep:chain", ok=True, fault=_("{count} segments").format(count=count))


def check_index(journal: Path) -> Diagnosis:
    """Numbers of an outbox are there once and without a hole, but for ranges declared lost; each points at a record that is there."""
    if not journal.exists():
        return _absent("deep:frames", journal)
    db = sqlite3.connect(f"{journal.resolve().as_uri()}?mode=ro", uri=True)
    try:
        _lay_out(db)
        wrong = [*_dangling(db), *_holes(db)]
        count = db.execute("SELECT count(*) FROM indexed").fetchone()[0]
    except (StoreError, sqlite3.DatabaseError) as error:
        wrong, count = [str(error)], 0
    finally:
        db.close()
    if wrong:
        return _fault("deep:frames", f"{journal}: {'; '.join(wrong[:_SHOWN])}", _restore_cure())
    return Diagnosis("deep:frames", ok=True, fault=_("{count} frames").format(count=count))


def _lay_out(db: sqlite3.Connection) -> None:
    """The whole index as one table: the rows of frames, and those in the blocks of sealed ones."""
    db.execute("CREATE TEMP TABLE indexed AS SELECT gateway, epoch, number, segment, idx FROM frame")
    sealed = sealed_index.everything(db)
    db.executemany(
        "INSERT INTO indexed VALUES(?,?,?,?,?)",
        ((gateway, row.epoch, row.number, row.segment, row.idx) for gateway, row in sealed),
    )


def _dangling(db: sqlite3.Connection) -> Iterator[str]:
    query = (
        "SELECT gateway, epoch, number, segment FROM indexed f WHERE segment > 0 "
        "AND NOT EXISTS(SELECT 1 FROM segment s WHERE s.id = f.segment AND f.idx < s.frames) LIMIT 3"
    )
    text = _(
        "frame {number} of {gateway} (epoch {epoch}) points at segment {segment}, which does not have it"
    )
    for gateway, epoch, number, segment in db.execute(query):
        yield text.format(gateway=gateway, epoch=epoch, number=number, segment=segment)


def _holes(db: sqlite3.Connection) -> Iterator[str]:
    """Holes between numbers that no event of loss or thinning explains."""
    query = (
        "SELECT gateway, epoch, before + 1, number - 1 FROM (SELECT gateway, epoch, number, "
        "lag(number, 1, 0) OVER (PARTITION BY gateway, epoch ORDER BY number) AS before FROM indexed WHERE epoch > 0) "
        "WHERE number > before + 1"
    )
    lost = db.execute(
        "SELECT gateway, json_extract(detail, '$.epoch'), json_extract(detail, '$.first'), json_extract(detail, '$.last') "
        "FROM event WHERE kind IN ('frames_lost', 'frames_thinned')"
    ).fetchall()
    text = _("frames {first} to {last} of {gateway} (epoch {epoch}) are neither there nor declared lost")
    for gateway, epoch, first, last in db.execute(query):
        if not any((g, e) == (gateway, epoch) and f <= first and last <= end for g, e, f, end in lost):
            yield text.format(gateway=gateway, epoch=epoch, first=first, last=last)


def check_ledger(config: ServerConfig, park: Park) -> Diagnosis:
    """Recompute the ledger from the journal up to its own cursor, and compare every closed interval and every position."""
    key = "deep:ledger"
    if not config.ledger.exists() or not config.journal.exists():
        return _absent(key, config.ledger)
    cure = _(
        "stop the stream, move {ledger} and its -wal away and start it again: it is rebuilt from the journal"
    )
    cure = cure.format(ledger=config.ledger)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="tanyun-doctor-") as folder,
            LedgerReader(config.ledger) as ledger,
        ):
            again = Path(folder) / "ledger.db"
            rebuild(config.journal, again, park, ledger.cursor() or Offset(1, 0))
            with LedgerReader(again) as other:
                wrong, count = differences(ledger, other)
    except (StoreError, StateError, sqlite3.DatabaseError) as error:
        return _fault(key, f"{config.ledger}: {error}", cure)
    if wrong:
        return _fault(key, f"{config.ledger}: {'; '.join(wrong[:_SHOWN])}", cure)
    return Diagnosis(
        key, ok=True, fault=_("{count} intervals recomputed from the journal").format(count=count)
    )


def rebuild(journal: Path, ledger: Path, park: Park, end: Offset) -> None:
    """A new ledger from the journal, up to `end` (exclusive)."""
    policy = Policy(FactorTable.load(), enterprise_policy(), park.tz, datetime.now(park.tz).date())
    runner = Runner(journal, ledger, Context(park, policy), end)
    try:
        runner.rebuild()
        while runner.advance():
            pass
    finally:
        runner.close()


def differences(ledger: LedgerReader, other: LedgerReader) -> tuple[list[str], int]:
    """What differs in energy between two ledgers of the same journal, and how many intervals were compared.

    Emissions of an open month follow the factor of the day they were written on, so they are not compared.
    """
    wrong: list[str] = []
    count = 0
    text = "{meter} {kind}: {what}"
    found = {(row.meter, row.reading_type): row for row in ledger.progress()}
    wanted = {(row.meter, row.reading_type): row for row in other.progress()}
    for meter, kind in sorted(found.keys() | wanted.keys()):
        if found.get((meter, kind)) != wanted.get((meter, kind)):
            wrong.append(text.format(meter=meter, kind=kind, what=_("another position")))
        mine, theirs = (_rows(store, meter, kind) for store in (ledger, other))
        count += len(theirs)
        both = mine.keys() & theirs.keys()
        changed = (mine.keys() ^ theirs.keys()) | {start for start in both if mine[start] != theirs[start]}
        wrong += [
            text.format(meter=meter, kind=kind, what=_("interval {start}").format(start=s))
            for s in sorted(changed)
        ]
    return wrong, count


def _rows(ledger: LedgerReader, meter: str, kind: str) -> dict[tuple[int, int], tuple[int, ...]]:
    rows: list[IntervalRow] = ledger.intervals(meter, kind, 0, 1 << 60)
    return {
        (r.start_ms, r.part): (r.end_ms, r.opening, r.closing, r.coverage_ms, r.edge_read, r.quality)
        for r in rows
        if r.closed
    }


def check_months(months: Path) -> Diagnosis:
    """Every closed document against its digest."""
    if not months.exists():
        return _absent("deep:months", months)
    try:
        with MonthStore(months, writable=False) as store:
            rows = store.list()
    except (StoreError, sqlite3.DatabaseError) as error:
        return _fault("deep:months", f"{months}: {error}", _restore_cure())
    wrong = [f"{r.scope_id} {r.month} r{r.revision}" for r in rows if digest_of(r.document) != r.digest]
    if wrong:
        text = _("{path}: these documents are not what was closed: {names}").format(
            path=months, names=", ".join(wrong)
        )
        return _fault("deep:months", text, _restore_cure())
    return Diagnosis("deep:months", ok=True, fault=_("{count} documents").format(count=len(rows)))


def _absent(key: str, path: Path) -> Diagnosis:
    return Diagnosis(key, ok=True, fault=_("{path} does not exist yet").format(path=path))


def _fault(key: str, fault: str, cure: str) -> Diagnosis:
    return Diagnosis(key, ok=False, fault=fault, cure=cure)


def _restore_cure() -> str:
    return _(
        "keep the damaged file, stop tanyun, and restore the last backup (tanyun restore); gateways send again what came after it"
    )
