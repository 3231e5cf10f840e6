"""The tables of a pack: CSV that a spreadsheet opens (UTF-8 with a byte order mark, CRLF) and `verify` reads back."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction

from factors.policy import NOT_APPLICABLE, ZERO_SELF_GENERATED
from factors.table import Factor, FactorTable
from metering.dated import DeclaredTotal, Segment, Swap
from metering.intervals import Span
from metering.reading_types import READING_TYPES
from metering.registry import Meter, Park, Term
from storage.ledger import EventRow, IntervalRow
from storage.shifts import FROZEN
from verification.document import FactorLine, MonthDocument, ratio_text
from verification.evidence import manifest as names
from verification.evidence.births import Key, MeterFacts, dated_of
from verification.evidence.facts import Formula
from verification.evidence.judge import Begins, Event
from verification.evidence.replay import Where
from verification.evidence.total import TOLD

LEDGER_COLUMNS = (
    "meter", "reading_type", "start_ms", "end_ms", "part", "revision", "opening", "closing", "emission_ug", "factor_id",
    "coverage_ms", "edge_read", "quality", "closed",
)  # fmt: skip
OPENING_COLUMNS = ("meter", "reading_type", "t_ms", "register", "position", "offset", "segment", "index")
"""`offset` is what the position has gained over the register; a position above both together stands a last digit higher."""
EVENT_COLUMNS = ("meter", "reading_type", "t_ms", "kind", "register", "adjustment", "until_ms")
RATIO_COLUMNS = ("meter", "reading_type", "since_ms", "ratio")
EXCHANGE_COLUMNS = ("meter", "reading_type", "at_ms", "closing", "opening")
"""Totals in base units on the meter's own side, before any ratio."""
FACTOR_COLUMNS = (
    "use", "id", "scope_code", "data_year", "kind", "value_kg_per_kwh", "factor_ug_per_wh", "notice", "published", "verified",
    "label_zh", "label_en",
)  # fmt: skip
METER_COLUMNS = (
    "meter", "gateway", "enterprise", "name", "profile", "parent", "children_elsewhere", "ct", "pt", "max_power_w", "power_gap_s",
)  # fmt: skip
_ROWS_PER_CHUNK = 2_000
_MARK = "\ufeff"

Cell = str | int | None


def csv_chunks(head: Iterable[str], rows: Iterable[Iterable[Cell]]) -> Iterator[bytes]:
    """A CSV file, piece by piece."""
    text = io.StringIO()
    writer = csv.writer(text)
    text.write(_MARK)
    writer.writerow(head)
    for number, row in enumerate(rows, 1):
        writer.writerow(["" if cell is None else cell for cell in row])
        if number % _ROWS_PER_CHUNK == 0:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def read_csv(chunks: Iterable[bytes]) -> Iterator[dict[str, str]]:
    """Rows of a CSV file as we write it: no cell holds a line break but a quoted one. ValueError when it is none."""
    rows = cells(lines(chunks))
    head = next(rows, [])
    return (dict(zip(head, row, strict=True)) for row in rows)


def cells(text: Iterable[str]) -> Iterator[list[str]]:
    """Of every row in some lines; ValueError when they are no CSV."""
    try:
        yield from csv.reader(text)
    except csv.Error as error:
        raise ValueError(str(error)) from error


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Of a CSV file as we write it."""
    rest, encoding = b"", "utf-8-sig"
    for chunk in chunks:
        data = rest + chunk
        end = data.rfind(b"\n") + 1
        if end:
            text, encoding = data[:end].decode(encoding), "utf-8"
            yield from (line + "\n" for line in text[:-1].split("\n"))
        rest = data[end:]
    if rest:
        yield rest.decode(encoding)


def registry_tables(
    park: Park, meters: Iterable[Meter], document: MonthDocument, of: Callable[[str], Formula | None]
) -> dict[str, Iterator[bytes]]:
    """What the registry says of the scope: its meters, where they stand, their roles, and the formulas; `of` are those of facts."""
    chosen = list(meters)
    gateways = {meter.gateway for meter in chosen}
    sites = {g.site for g in park.gateways if g.id in gateways}
    owners = {s.enterprise for s in park.sites if s.id in sites} | {document.scope.id}
    whole = document.scope.kind == "park"
    enterprises = [e for e in park.enterprises if whole or e.id in owners]
    return {
        names.METERS: csv_chunks(
            METER_COLUMNS, (_meter_cells(park, m, {c.id for c in chosen}) for m in chosen)
        ),
        names.ROLES: csv_chunks(
            ("meter", "reading_type", "role", "unit"),
            ((m.id, kind, role.value, READING_TYPES[kind].unit) for m in chosen for kind, role in m.roles.items()),
        ),
        names.GATEWAYS: csv_chunks(("gateway", "site"), ((g.id, g.site) for g in park.gateways if g.id in gateways)),
        names.SITES: csv_chunks(
            ("site", "enterprise", "name"), ((s.id, s.enterprise, s.name) for s in park.sites if s.id in sites)
        ),
        names.ENTERPRISES: csv_chunks(
            ("enterprise", "name", "name_en", "credit_code", "industry"),
            ((e.id, e.name, e.name_en, e.credit_code, e.industry) for e in enterprises),
        ),
        names.FORMULAS: csv_chunks(("kind", "scope", "role", "sign"), _formula_rows(park, document, of)),
    }  # fmt: skip


def _meter_cells(park: Park, m: Meter, here: set[str]) -> tuple[Cell, ...]:
    elsewhere = sum(child.parent == m.id and child.id not in here for child in park.meters)
    owner = park.enterprise_of(m)
    return (
        m.id,
        m.gateway,
        owner,
        m.name,
        m.profile,
        m.parent,
        elsewhere,
        str(m.ct),
        str(m.pt),
        m.max_power_w,
        m.power_gap_s,
    )


def _formula_rows(
    park: Park, document: MonthDocument, of: Callable[[str], Formula | None]
) -> Iterator[tuple[Cell, ...]]:
    whole = document.scope.kind == "park"
    formulas: list[tuple[str, str, tuple[Term, ...]]] = [
        ("enterprise", e.id, e.formula) for e in park.enterprises if whole or e.id == document.scope.id
    ]
    if whole:
        formulas.append(("park", park.id, park.formula))
    for kind, scope, formula in formulas:
        in_force = of(scope) or tuple((term.role.value, term.sign) for term in formula)
        for role, sign in in_force:
            yield kind, scope, role, sign


def factor_rows(
    document: MonthDocument, table: FactorTable, others: Iterable[str]
) -> Iterator[tuple[Cell, ...]]:
    """The document's factors by their use, then those that only ledger rows name (provisional ones)."""
    known = {**table.factors, ZERO_SELF_GENERATED.id: ZERO_SELF_GENERATED, NOT_APPLICABLE.id: NOT_APPLICABLE}
    uses: list[tuple[str, str]] = [(line.use, line.id) for line in document.factors]
    listed = {factor_id for _use, factor_id in uses}
    uses += [("", factor_id) for factor_id in sorted(set(others) - listed)]
    for use, factor_id in uses:
        if (factor := known.get(factor_id)) is not None:
            yield _factor_cells(use, factor)


def _factor_cells(use: str, factor: Factor) -> tuple[Cell, ...]:
    published = factor.published.isoformat() if factor.published else None
    return (
        use, factor.id, factor.scope_code, factor.data_year, factor.kind, factor.value_text, ratio_text(factor.ratio),
        factor.notice, published, factor.verified, factor.label_zh, factor.label_en,
    )  # fmt: skip


def ledger_cells(row: IntervalRow) -> tuple[Cell, ...]:
    """An interval as a line of the ledger's table."""
    return (
        row.meter, row.reading_type, row.start_ms, row.end_ms, row.part, row.revision, row.opening, row.closing,
        row.emission_ug, row.factor_id, row.coverage_ms, int(row.edge_read), row.quality, int(row.closed),
    )  # fmt: skip


def dated_tables(
    declared: Mapping[Key, DeclaredTotal], events: Mapping[Key, Iterable[EventRow]], span: Span
) -> dict[str, Iterator[bytes]]:
    """What is declared of every total with its moments, and what the ledger tells of the month."""
    ratios = ((*key, s.since_ms, str(s.ratio)) for key, of in declared.items() for s in of.segments)
    swaps = (
        (*key, s.at_ms, str(s.closing), str(s.opening)) for key, of in declared.items() for s in of.swaps
    )
    told = (
        (*key, row.t_ms, row.kind, *_event_cells(row))
        for key, rows in events.items()
        for row in rows
        if row.t_ms < span.end_ms and (row.kind in FROZEN or (row.kind in TOLD and row.t_ms >= span.start_ms))
    )
    return {
        names.RATIOS: csv_chunks(RATIO_COLUMNS, ratios),
        names.EXCHANGES: csv_chunks(EXCHANGE_COLUMNS, swaps),
        names.EVENTS: csv_chunks(EVENT_COLUMNS, told),
    }


def _event_cells(row: EventRow) -> tuple[Cell, ...]:
    detail = row.detail
    return detail.get("position", 0), detail.get("adjustment", 0), detail.get("until_t_ms", row.t_ms)


Rows = Iterable[Mapping[str, str]]


def read_meters(meters: Rows, roles: Rows, ratios: Rows, exchanges: Rows) -> dict[str, MeterFacts]:
    """The registry's facts back from the tables."""
    declared = _read_declared(ratios, exchanges)
    of_meter: dict[str, dict[str, str]] = {}
    for row in roles:
        of_meter.setdefault(row["meter"], {})[row["reading_type"]] = row["role"]
    found = {}
    for row in meters:
        meter, power = row["meter"], int(row["max_power_w"]) if row["max_power_w"] else None
        kinds, gap = of_meter.get(meter, {}), int(row["power_gap_s"])
        found[meter] = MeterFacts(
            row["gateway"], row["enterprise"], row["parent"], int(row["children_elsewhere"]), Fraction(row["ct"]), Fraction(row["pt"]),
            power, kinds, {kind: dated_of(declared[meter, kind], kind, power, gap) for kind in kinds},
        )  # fmt: skip
    return found


def _read_declared(ratios: Rows, exchanges: Rows) -> dict[Key, DeclaredTotal]:
    found: dict[Key, DeclaredTotal] = {}
    for row in ratios:
        key = row["meter"], row["reading_type"]
        known = found.get(key, DeclaredTotal(()))
        segment = Segment(int(row["since_ms"]), Fraction(row["ratio"]))
        found[key] = known._replace(segments=(*known.segments, segment))
    for row in exchanges:
        key = row["meter"], row["reading_type"]
        swap = Swap(int(row["at_ms"]), Fraction(row["closing"]), Fraction(row["opening"]))
        found[key] = found[key]._replace(swaps=(*found[key].swaps, swap))
    for key, declared in found.items():
        since = [segment.since_ms for segment in declared.segments]
        if since != sorted(set(since)) or since[0] != -1:
            raise ValueError(f"{'/'.join(key)}: the ratios do not follow each other from −1 on")
    return found


def read_opening(rows: Rows) -> dict[Key, tuple[Where, Begins]]:
    """The readings that the month begins with."""
    return {
        (row["meter"], row["reading_type"]): (
            (int(row["segment"]), int(row["index"])),
            Begins(int(row["t_ms"]), int(row["register"]), int(row["position"]), int(row["offset"])),
        )
        for row in rows
    }


def read_events(rows: Rows) -> dict[Key, tuple[Event, ...]]:
    """The ledger's events of the month."""
    found: dict[Key, tuple[Event, ...]] = {}
    for row in rows:
        key = row["meter"], row["reading_type"]
        figures = int(row["register"]), int(row["adjustment"]), int(row["until_ms"])
        found[key] = (*found.get(key, ()), Event(int(row["t_ms"]), row["kind"], *figures))
    return found


def factor_by_use(rows: Iterable[Mapping[str, str]]) -> tuple[dict[str, FactorLine], dict[str, Fraction]]:
    """(use → the factor as the document shows it, id → µg per base unit)."""
    uses: dict[str, FactorLine] = {}
    ratios: dict[str, Fraction] = {}
    for row in rows:
        ratios[row["id"]] = Fraction(row["factor_ug_per_wh"])
        if row["use"]:
            uses[row["use"]] = FactorLine(
                use=row["use"], id=row["id"], scope_code=row["scope_code"],  # type: ignore[arg-type]  # any use that a table names
                data_year=int(row["data_year"]) if row["data_year"] else None,
                value_kg_per_kwh=row["value_kg_per_kwh"], factor_ug_per_wh=row["factor_ug_per_wh"], notice=row["notice"],
                published=row["published"] or None, verified=row["verified"],
                label_zh=row["label_zh"], label_en=row["label_en"],
            )  # fmt: skip
    return uses, ratios
