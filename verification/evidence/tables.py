"""The tables of a pack: CSV that a spreadsheet opens (UTF-8 with a byte order mark, CRLF) and `verify` reads back."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

from factors.policy import NOT_APPLICABLE, ZERO_SELF_GENERATED
from factors.table import Factor, FactorTable
from metering.reading_types import READING_TYPES
from metering.registry import Meter, Park, Term
from storage.ledger import IntervalRow
from verification.document import FactorLine, MonthDocument, ratio_text
from verification.evidence import manifest as names
from verification.evidence.replay import MeterFacts

LEDGER_COLUMNS = (
    "meter", "reading_type", "start_ms", "end_ms", "part", "revision", "opening", "closing", "emission_ug", "factor_id",
    "coverage_ms", "edge_read", "quality", "closed",
)  # fmt: skip
OPENING_COLUMNS = ("meter", "reading_type", "t_ms", "position", "segment", "index")
FACTOR_COLUMNS = (
    "use", "id", "scope_code", "data_year", "kind", "value_kg_per_kwh", "factor_ug_per_wh", "notice", "published", "verified",
    "label_zh", "label_en",
)  # fmt: skip
METER_COLUMNS = (
    "meter", "gateway", "enterprise", "name", "profile", "parent", "children_elsewhere", "ct", "pt", "max_power_w",
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
    """Rows of a CSV file as we write it: no cell holds a line break but a quoted one."""
    lines = _lines(chunks)
    return csv.DictReader(lines)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    first = True
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield (line.decode("utf-8-sig") if first else line.decode()) + "\n"
            first = False
    if rest:
        yield rest.decode()


def registry_tables(
    park: Park, meters: Iterable[Meter], document: MonthDocument
) -> dict[str, Iterator[bytes]]:
    """What the registry says of the scope: its meters, where they stand, their roles, and the formulas."""
    chosen = list(meters)
    gateways = {meter.gateway for meter in chosen}
    sites = {g.site for g in park.gateways if g.id in gateways}
    owners = {s.enterprise for s in park.sites if s.id in sites} | {document.scope.id}
    enterprises = [e for e in park.enterprises if e.id in owners]
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
        names.FORMULAS: csv_chunks(("kind", "scope", "role", "sign"), _formula_rows(park, document)),
    }  # fmt: skip


def _meter_cells(park: Park, m: Meter, here: set[str]) -> tuple[Cell, ...]:
    elsewhere = sum(child.parent == m.id and child.id not in here for child in park.meters)
    owner = park.enterprise_of(m)
    return m.id, m.gateway, owner, m.name, m.profile, m.parent, elsewhere, str(m.ct), str(m.pt), m.max_power_w


def _formula_rows(park: Park, document: MonthDocument) -> Iterator[tuple[Cell, ...]]:
    whole = document.scope.kind == "park"
    formulas: list[tuple[str, str, tuple[Term, ...]]] = [
        ("enterprise", e.id, e.formula) for e in park.enterprises if whole or e.id == document.scope.id
    ]
    if whole:
        formulas.append(("park", park.id, park.formula))
    for kind, scope, formula in formulas:
        for term in formula:
            yield kind, scope, term.role.value, term.sign


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


def read_meters(
    meters: Iterable[Mapping[str, str]], roles: Iterable[Mapping[str, str]]
) -> dict[str, MeterFacts]:
    """The registry's facts back from the tables."""
    of_meter: dict[str, dict[str, str]] = {}
    for row in roles:
        of_meter.setdefault(row["meter"], {})[row["reading_type"]] = row["role"]
    return {
        row["meter"]: MeterFacts(
            row["gateway"], row["enterprise"], row["parent"], int(row["children_elsewhere"]), Fraction(row["ct"]), Fraction(row["pt"]),
            int(row["max_power_w"]) if row["max_power_w"] else None, of_meter.get(row["meter"], {}),
        )
        for row in meters
    }  # fmt: skip


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
