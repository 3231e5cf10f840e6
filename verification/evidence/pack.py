"""Making an evidence pack: the frames of a closed month, what they are read with, and what was made of them."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from itertools import groupby
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from factors.table import FactorTable
from metering.i18n import _
from metering.intervals import QUARTER_MS, Span
from metering.registry import Meter, Park
from storage.journal import Offset
from storage.ledger import IntervalRow, LedgerReader
from storage.months import MonthRow
from storage.slices import JournalSlice, Place
from verification.document import Bracket, MeterLine, MonthDocument, parse
from verification.evidence import manifest as names
from verification.evidence import replay, signing, tables
from verification.evidence.container import ContainerWriter
from verification.evidence.errors import PackError
from verification.evidence.manifest import ChainPart, FileLine, Manifest, Signer
from verification.evidence.proof import encode_block
from verification.formats import RENDERERS, report_name

WARM_UP = 16
"""Frames looked at before a month edge to tell the last total that counts from a transient one."""


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
    def selections(self) -> tuple["Selection", ...]:
        """What each meter contributes."""
        return tuple(
            select(self.journal, meter, self._lines(meter), self.span, self.sources.park)
            for meter in self.meters
        )

    def _lines(self, meter: Meter) -> list[MeterLine]:
        return [line for line in self.document.meters if line.meter == meter.id]

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
        for line in self.document.meters:
            rows = self.sources.ledger.intervals(line.meter, line.reading_type, *self.span)
            stored = str(sum(row.energy for row in rows)) if rows else None
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
            names.RECOMPUTE: [_resource("recompute_stdlib.py")],
            names.DOCUMENT: [self.row.document],
            names.RECORDS: self._records(),
            names.ROOTS: self._roots(),
            names.CHAIN: self._chain(),
            names.LEDGER: tables.csv_chunks(tables.LEDGER_COLUMNS, self._ledger_rows()),
            names.OPENING: tables.csv_chunks(tables.OPENING_COLUMNS, self._opening_rows()),
            names.FACTORS: self._factors(),
            names.CONFIGURATION: [names.canonical(self._configuration())],
            **tables.registry_tables(self.sources.park, self.meters, self.document),
        }
        found |= {f"reports/{report_name(self.row, kind)}": _rendered(self.row, kind) for kind in RENDERERS}
        profiles = {meter.profile for meter in self.meters} & set(self.sources.profiles)
        found |= {f"configuration/profiles/{name}.toml": [self.sources.profiles[name]] for name in profiles}
        return iter(sorted(found.items()))

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
            for row in self.sources.ledger.intervals(line.meter, line.reading_type, *self.span):
                yield tables.ledger_cells(row)

    def _opening_rows(self) -> Iterator[tuple[tables.Cell, ...]]:
        for selection in self.selections:
            for (meter, kind), (where, t_ms, position) in selection.opening.items():
                yield meter, kind, t_ms, position, *where

    def _factors(self) -> Iterator[bytes]:
        used = {row.factor_id or "" for line in self.document.meters for row in self._intervals(line)} - {""}
        return tables.csv_chunks(
            tables.FACTOR_COLUMNS, tables.factor_rows(self.document, self.sources.table, used)
        )

    def _intervals(self, line: MeterLine) -> Iterable[IntervalRow]:
        return self.sources.ledger.intervals(line.meter, line.reading_type, *self.span)

    def _configuration(self) -> dict[str, object]:
        return {
            "grid_ms": QUARTER_MS,
            "edge_tolerance_ms": replay.EDGE_TOLERANCE_MS,
            "longest_measured_ms": replay.MAX_GAP_MS,
            "plausible_rise_of_rated_power": f"{replay.MARGIN_TENTHS}/10",
            "zone": self.document.zone,
            "grid_scope": self.document.park.grid_scope,
            "program": self.sources.program,
        }


def _rendered(row: MonthRow, kind: str) -> Iterator[bytes]:
    yield RENDERERS[kind](row)


def _resource(name: str) -> bytes:
    return (resources.files("verification.evidence") / name).read_bytes()


@dataclass(frozen=True, slots=True)
class Selection:
    """A meter's records in a pack, and the total that counted last before the month, per reading type."""

    places: set[replay.Where]
    opening: dict[replay.Key, tuple[replay.Where, int, int]]


def select(journal: JournalSlice, meter: Meter, lines: list[MeterLine], span: Span, park: Park) -> Selection:
    """From the last frame that counts before the month to the first that counts after it, and the births in force."""
    kinds = {line.reading_type: line.role for line in lines}
    facts = replay.MeterFacts(
        meter.gateway,
        park.enterprise_of(meter),
        meter.parent or "",
        0,
        meter.ct,
        meter.pt,
        meter.max_power_w,
        kinds,
    )
    births = [(offset.segment, offset.index) for offset in journal.births(meter.gateway, meter.id)]
    edge = _Edge(journal, meter, facts, births, span)
    opening, first_ms = edge.opening(lines)
    frames = journal.between(meter.gateway, meter.id, first_ms, span.end_ms)
    places = {_where(place) for place in [*frames, *edge.closing()]}
    cited = [b for line in lines for b in (*line.balance.opening_bracket, *line.balance.closing_bracket)]
    places |= {(bracket.segment, bracket.index) for bracket in cited}
    if places:
        first, last = min(places), max(places)
        in_force = [birth for birth in births if birth < first][-1:]
        places |= {*in_force, *(birth for birth in births if first < birth < last)}
    return Selection(places, opening)


@dataclass(frozen=True, slots=True)
class _Edge:
    """Looks at a meter's frames around the edges of a month."""

    journal: JournalSlice
    meter: Meter
    facts: replay.MeterFacts
    births: list[replay.Where]
    span: Span

    def opening(self, lines: list[MeterLine]) -> tuple[dict[replay.Key, tuple[replay.Where, int, int]], int]:
        """(total → its last reading before the month that counts, time of the first frame that the pack needs)."""
        places = self.journal.before(self.meter.gateway, self.meter.id, self.span.start_ms + 1, WARM_UP)
        times = {_where(place): place.t_ms for place in places}
        replayed = self._replayed(places)
        found = {
            key: total.last_good for key, total in replayed.totals.items() if total.last_good is not None
        }
        for line in lines:
            key = line.meter, line.reading_type
            if key not in found and line.balance.opening_bracket:
                bracket = line.balance.opening_bracket[0]
                found[key] = _reading(bracket)
                times[found[key][0]] = bracket.t_ms
        return found, min((times[where] for where, _t, _p in found.values()), default=self.span.start_ms)

    def closing(self) -> list[Place]:
        """The frames after the month up to the one that carries every total past its end."""
        before = self.journal.before(self.meter.gateway, self.meter.id, self.span.end_ms, WARM_UP)
        replayed = self._replayed(before)
        taken: list[Place] = []
        for place in self.journal.after(self.meter.gateway, self.meter.id, self.span.end_ms, WARM_UP):
            taken.append(place)
            self._feed(replayed, _where(place))
            if all(
                total.last_good and total.last_good[1] >= self.span.end_ms
                for total in replayed.totals.values()
            ):
                break
        return taken

    def _replayed(self, places: list[Place]) -> replay.Replay:
        found = replay.Replay(self.span, {self.meter.id: self.facts}, {})
        for where in sorted([*self.births, *map(_where, places)]):
            self._feed(found, where)
        return found

    def _feed(self, found: replay.Replay, where: replay.Where) -> None:
        found.feed(where, self.journal.records(where[0])[where[1]])


def _reading(bracket: Bracket) -> tuple[replay.Where, int, int]:
    return (bracket.segment, bracket.index), bracket.t_ms, int(bracket.base_wh)


def _where(place: Place) -> replay.Where:
    return place.offset.segment, place.offset.index
