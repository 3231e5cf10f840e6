"""Making an evidence pack: the frames of a closed month, what they are read with, and what was made of them."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from importlib import resources
from itertools import groupby
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from factors.fuel import FuelTable
from factors.table import FactorTable
from metering.dated import DeclaredTotal, Segment, Swap, declared_total
from metering.i18n import _
from metering.intervals import QUARTER_MS, Span
from metering.quality import Quality
from metering.reading_types import INTEGRATED
from metering.registry import Meter, Park
from storage.facts.state import Facts
from storage.journal import Offset
from storage.ledger import FOREVER, EventRow, IntervalRow, LedgerReader
from storage.months import MonthRow, MonthStore
from storage.slices import JournalSlice
from verification.accounting.books import Books
from verification.document import MeterLine, MonthDocument, parse
from verification.evidence import books, judge, periods, signing, tables, track
from verification.evidence import manifest as names
from verification.evidence.births import Key, MeterFacts, dated_of
from verification.evidence.container import ContainerWriter
from verification.evidence.errors import PackError
from verification.evidence.facts import Formula
from verification.evidence.manifest import ChainPart, FileLine, Manifest, Signer
from verification.evidence.proof import encode_block
from verification.evidence.replay import Where
from verification.evidence.selection import DECIDING, Selection, Selector, known_of
from verification.formats import RENDERERS, report_name
from verification.lines import DatedLine, LedgerEnd

_IMPORT = re.compile(rb"^from verification\.evidence\.(\w+) import (?:\([^)]*\)|.*)\n", re.MULTILINE)
"""Lines of the script that stand for another module's text."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a pack's content comes from."""

    park: Park
    journal: Path
    ledger: LedgerReader
    table: FactorTable
    key: Ed25519PrivateKey
    program: str
    """Name and release of this program."""
    profiles: Mapping[str, bytes]
    """Profile name → its file."""
    facts: Callable[[int], Facts]
    """Revision of the registry of facts → what held then."""
    fuels: FuelTable
    months: MonthStore


def pack_name(row: MonthRow) -> str:
    """`<scope>_<month>_r<revision>_evidence.zip`."""
    return f"{row.scope_id}_{row.month}_r{row.revision}_evidence.zip"


def write_pack(row: MonthRow, sources: Sources, folder: Path) -> Path:
    """Write the pack of a stored revision; one that is there with the same bytes is left alone.

    Raises:
        PackError: another file has its name, or the stores are no longer those that the month was closed on.
    """
    document = parse(row.document)
    end = Offset(document.journal.segment, document.journal.index)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / pack_name(row)
    with JournalSlice(sources.journal, end) as journal, _draft(path) as draft:
        content = _Content(row, document, sources, journal)
        content.check()
        _write(draft, content)
    return path


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """All of the file or none, and never over another one."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        yield draft
        if path.exists() and not _same(path, draft):
            text = _("{path} is there with other content and is never overwritten; move it away first")
            raise PackError(text.format(path=path))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _same(a: Path, b: Path) -> bool:
    size = 1 << 20
    with a.open("rb") as one, b.open("rb") as two:
        while (left := one.read(size)) == two.read(size):
            if not left:
                return True
    return False


def _write(path: Path, content: "_Content") -> None:
    with ContainerWriter(path) as container:
        lines = [FileLine(name, *container.add(name, chunks)) for name, chunks in content.files()]
        listed = names.canonical(content.manifest(tuple(lines)))
        key = content.sources.key
        container.add(names.MANIFEST, [listed], deflate=False)
        container.add(names.SIGNATURE, [key.sign(listed)], deflate=False)
        container.add(names.PUBLIC_KEY, [signing.public_pem(key.public_key())], deflate=False)


@dataclass(frozen=True)
class _Content:
    """The files of one pack."""

    row: MonthRow
    document: MonthDocument
    sources: Sources
    journal: JournalSlice

    @property
    def span(self) -> Span:
        return Span(self.document.start_ms, self.document.end_ms)

    @property
    def last_segment(self) -> int:
        """The last one before the close."""
        return self.journal.end.segment - 1

    @cached_property
    def meters(self) -> tuple[Meter, ...]:
        """The meters whose totals the document lists."""
        listed = {line.meter for line in self.document.meters}
        return tuple(meter for meter in self.sources.park.meters if meter.id in listed)

    @cached_property
    def selections(self) -> tuple[Selection, ...]:
        """What each meter contributes."""
        return tuple(self._selector(meter).select(self._cited(meter)) for meter in self.meters)

    def _selector(self, meter: Meter) -> Selector:
        lines = self._lines(meter)
        keys = [(line.meter, line.reading_type) for line in lines]
        facts = MeterFacts(
            meter.gateway,
            self.sources.park.enterprise_of(meter),
            meter.parent or "",
            0,
            meter.ct,
            meter.pt,
            meter.max_power_w,
            {line.reading_type: line.role for line in lines},
            {
                kind: dated_of(self.declared[of, kind], kind, meter.max_power_w, meter.power_gap_s)
                for of, kind in keys
            },
        )
        known = {key: known_of(self.events.get(key, ())) for key in keys}
        return Selector(self.journal, meter.id, facts, known, self.span)

    def _cited(self, meter: Meter) -> set[Where]:
        balances = [line.balance for line in self._lines(meter)]
        brackets = [b for balance in balances for b in (*balance.opening_bracket, *balance.closing_bracket)]
        return {(bracket.segment, bracket.index) for bracket in brackets}

    @cached_property
    def declared(self) -> dict[Key, DeclaredTotal]:
        """Ratios and exchanges of every total as they were declared at the close; now, where the document does not say."""
        meters = {meter.id: meter for meter in self.meters}
        return {
            (line.meter, line.reading_type): _declared(line.dated)
            if line.dated is not None
            else declared_total(meters[line.meter], line.reading_type, self.sources.park.tz)
            for line in self.document.meters
            if line.meter in meters
        }

    @cached_property
    def _then(self) -> LedgerEnd | None:
        """The ledger's state at the close; None where the document or this ledger does not know it."""
        end = self.document.ledger
        return end if end is not None and end.id == self.sources.ledger.ledger_id() else None

    @cached_property
    def events(self) -> dict[Key, list[EventRow]]:
        """The ledger's events of the totals, as of the close."""
        ledger, then = self.sources.ledger, self._then
        listed = {(line.meter, line.reading_type) for line in self.document.meters}
        rows = (
            ledger.events_of(DECIDING)
            if then is None
            else ledger.events_as_of(DECIDING, then.change_seq, then.last_event)
        )
        found: dict[Key, list[EventRow]] = {}
        for row in rows:
            if (row.meter, row.reading_type) in listed:
                found.setdefault((row.meter, row.reading_type), []).append(row)
        return found

    def _lines(self, meter: Meter) -> list[MeterLine]:
        return [line for line in self.document.meters if line.meter == meter.id]

    @cached_property
    def books(self) -> Books:
        """The facts of the state that the month was made from."""
        facts = self.sources.facts(self.document.registry.revision)
        return books.books_of(facts, self.document, (e.id for e in self.sources.park.enterprises))

    def _formula(self, scope: str) -> Formula | None:
        return books.formula_of(self.books, scope)

    @cached_property
    def places(self) -> list[tuple[int, int]]:
        """Every record of the pack, in journal order."""
        return sorted({place for selection in self.selections for place in selection.places})

    def check(self) -> None:
        """PackError when journal or ledger are no longer what the month was closed on."""
        said = self.document.journal
        if (
            self.journal.journal_id != said.id
            or self.journal.chain_after(self.last_segment).hex() != said.chain
        ):
            raise PackError(
                _("this journal is not the one that {month} was closed on").format(month=self.document.month)
            )
        filled = {r.id for r in self.document.reported if r.kind == "total" and r.reported is not None}
        for line in self.document.meters:
            rows, partly = self._rows(line), f"{line.meter}/{line.reading_type}" in filled
            partly = (
                partly and line.reading_type not in INTEGRATED.values()
            )  # of powers all of it is measured
            counted = [row.energy for row in rows if row.closed or not partly]
            stored = str(sum(counted)) if rows or partly else None
            if stored != line.balance.ledger_wh:
                text = _(
                    "the ledger has moved on since {month} was closed ({meter} {reading_type}: {old} then, {new} now); "
                    "close the month again, then make its pack"
                )
                found = {"old": line.balance.ledger_wh, "new": stored, "month": self.document.month}
                raise PackError(text.format(meter=line.meter, reading_type=line.reading_type, **found))

    def files(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        """Name and content of every listed file, sorted by name."""
        found: dict[str, Iterable[bytes]] = {
            names.README: [_resource("README.txt")],
            names.RECOMPUTE: [_recompute()],
            names.DOCUMENT: [self.row.document],
            names.RECORDS: self._records(),
            names.ROOTS: self._roots(),
            names.CHAIN: self._chain(),
            names.LEDGER: tables.csv_chunks(tables.LEDGER_COLUMNS, self._ledger_rows()),
            names.OPENING: tables.csv_chunks(tables.OPENING_COLUMNS, self._opening_rows()),
            names.FACTORS: self._factors(),
            names.CONFIGURATION: [names.canonical(self._configuration())],
            **tables.registry_tables(self.sources.park, self.meters, self.document, self._formula),
            **books.book_tables(
                self.books, self.document, self.sources.park, self.sources.fuels, self._intervals
            ),
            **tables.dated_tables(self.declared, self.events, self.span),
        }
        found |= {f"reports/{report_name(self.row, kind)}": _rendered(self.row, kind) for kind in RENDERERS}
        if self.row.revision > 1:
            found[names.PREVIOUS] = [self._before().document]
        if self.document.tariffs:
            found[names.TARIFFS] = tables.csv_chunks(periods.COLUMNS, periods.rows(self.document))
        profiles = {meter.profile for meter in self.meters} & set(self.sources.profiles)
        found |= {f"configuration/profiles/{name}.toml": [self.sources.profiles[name]] for name in profiles}
        return iter(sorted(found.items()))

    def _before(self) -> MonthRow:
        """The revision before: the differences were made from it."""
        row = self.row
        found = self.sources.months.get(row.month, row.scope_kind, row.scope_id, row.revision - 1)
        if found is None:
            text = _("{scope} {month}: revision {revision} is not in this store of months")
            raise PackError(text.format(scope=row.scope_id, month=row.month, revision=row.revision - 1))
        return found

    def manifest(self, files: tuple[FileLine, ...]) -> Manifest:
        public = self.sources.key.public_key()
        return Manifest(
            schema=names.SCHEMA,
            program=self.sources.program,
            scope_kind=self.row.scope_kind,
            scope_id=self.row.scope_id,
            month=self.row.month,
            revision=self.row.revision,
            document_sha256=self.row.digest,
            journal_id=self.journal.journal_id,
            signer=Signer("Ed25519", public.public_bytes_raw().hex(), signing.key_id(public)),
            files=files,
        )

    @property
    def _first_segment(self) -> int:
        return self.places[0][0] if self.places else self.last_segment

    def _records(self) -> Iterator[bytes]:
        for segment, places in groupby(self.places, key=lambda place: place[0]):
            yield encode_block(segment, self.journal.records(segment), [index for _segment, index in places])

    def _roots(self) -> Iterator[bytes]:
        return self.journal.roots(self._first_segment, self.last_segment)

    def _chain(self) -> Iterator[bytes]:
        first = self._first_segment
        yield names.canonical(
            ChainPart(
                journal_id=self.journal.journal_id,
                first=first,
                last=self.last_segment,
                chain_before=self.journal.chain_after(first - 1).hex(),
                chain_at_close=self.journal.chain_after(self.last_segment).hex(),
            )
        )

    def _ledger_rows(self) -> Iterator[tuple[tables.Cell, ...]]:
        for line in self.document.meters:
            for row in self._rows(line):
                yield tables.ledger_cells(row)

    def _opening_rows(self) -> Iterator[tuple[tables.Cell, ...]]:
        for selection in self.selections:
            for key, (where, begins) in selection.opening.items():
                yield *key, begins.t, begins.register, begins.position, begins.offset, *where

    def _factors(self) -> Iterator[bytes]:
        used = {row.factor_id or "" for line in self.document.meters for row in self._rows(line)} - {""}
        used |= {line.factor_id for line in self.document.totals if line.factor_id}
        return tables.csv_chunks(
            tables.FACTOR_COLUMNS, tables.factor_rows(self.document, self.sources.table, used)
        )

    def _rows(self, line: MeterLine) -> list[IntervalRow]:
        """The rows that were the newest at the close; where a restatement found no energy, there is none."""
        rows = self._intervals(line.meter, line.reading_type, self.span)
        return [row for row in rows if row.quality != Quality.VOID]

    def _intervals(self, meter: str, reading_type: str, span: Span) -> list[IntervalRow]:
        until = FOREVER if self._then is None else self._then.change_seq
        return self.sources.ledger.intervals(meter, reading_type, *span, until)

    def _configuration(self) -> dict[str, object]:
        return {
            "grid_ms": QUARTER_MS,
            "edge_tolerance_ms": track.EDGE_TOLERANCE_MS,
            "longest_measured_ms": track.MAX_GAP_MS,
            "plausible_rise_of_rated_power": f"{judge.MARGIN_OF_TENTHS}/10",
            "totals_that_settle": judge.WITNESSES,
            "zone": self.document.zone,
            "grid_scope": self.document.park.grid_scope,
            "program": self.sources.program,
        }


def _rendered(row: MonthRow, kind: str) -> Iterator[bytes]:
    yield RENDERERS[kind](row)


def _declared(line: DatedLine) -> DeclaredTotal:
    return DeclaredTotal(
        tuple(Segment(r.since_ms, Fraction(r.ratio)) for r in line.ratios),
        tuple(Swap(e.at_ms, Fraction(e.closing), Fraction(e.opening)) for e in line.exchanges),
    )


def _recompute() -> bytes:
    """The script of the pack: one file, each module of ours in the place where it is first imported."""
    there: set[bytes] = set()

    def text(found: re.Match[bytes]) -> bytes:
        name = found[1]
        if name in there:
            return b""
        there.add(name)
        return _IMPORT.sub(text, _resource(f"{name.decode()}.py"))

    return _IMPORT.sub(text, _resource("recompute_stdlib.py"))


def _resource(name: str) -> bytes:
    return (resources.files("verification.evidence") / name).read_bytes()
