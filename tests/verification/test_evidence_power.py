"""Packs of totals that are integrated from power: the ledger's rows again from the frames alone, by both recomputations."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factors.fuel import FuelTable
from factors.policy import enterprise_policy
from factors.table import FactorTable
from metering.intervals import MINUTE_MS, QUARTER_MS, Span, local_month, to_local
from metering.quality import Quality
from storage.facts.fact import Fact
from storage.facts.state import Facts
from storage.facts.substitution import ApprovalFact, SubstitutionFact
from storage.journal import JournalReader
from storage.ledger import LedgerReader
from storage.months import MonthRow, MonthStore
from storage.registry import fact_digest
from storage.segment import Record
from stream.context import Context
from stream.policy import Policy
from tests.stream.runs import run_through
from tests.stream.strategies import T0, context
from tests.stream.test_power import METERS, TOTAL, births, changes, frame, park, streams
from tests.stream.test_runner import write_journal
from tests.verification.conftest import CLOSED_AT_MS, MONTH
from tests.verification.test_evidence import forged, recompute, replaced
from tests.verification.test_selection import facts_of, replayed, row_of, told
from verification.close import Sources as CloseSources
from verification.close import close_month
from verification.document import parse
from verification.evidence import manifest as names
from verification.evidence.pack import Sources, write_pack
from verification.evidence.powers import PowerTotal
from verification.evidence.selection import DECIDING, known_of
from verification.evidence.total import TOLD
from verification.evidence.verify import verify_pack
from verification.lines import RegistryState

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34)))
LONG: dict[str, dict[str, object]] = {
    "pump": {"power_gap_s": 960},
    "inverter": {"power_gap_s": 960},
    "both": {"power_gap_s": 960},
}
NEVER = Span(0, 0)
SPAN = local_month(MONTH, park().tz)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams(), changes(), st.integers(0, 8), st.integers(1, 8))
def test_what_a_pack_takes_of_powers_gives_back_the_ledger(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[Record],
    changed: dict[str, dict[str, object]],
    first: int,
    length: int,
) -> None:
    folder, registry = tmp_path_factory.mktemp("run"), park(**changed)
    write_journal(folder / "journal", [*births(), *records], 5)
    run_through(folder / "journal", folder / "ledger", context(registry))
    span = Span(T0 + first * QUARTER_MS, T0 + (first + length) * QUARTER_MS)
    with LedgerReader(folder / "ledger") as ledger:
        for name in METERS:
            key, meter = (name, TOTAL), registry.meter(name)
            assert meter is not None
            mine = [e for e in ledger.events_of(DECIDING) if (e.meter, e.reading_type) == key]
            stored = [row_of(row) for row in ledger.intervals(*key, *span) if row.quality != Quality.VOID]
            replay = replayed(folder, key, facts_of(meter, TOTAL), known_of(mine), span)
            total = replay.totals[key]
            assert isinstance(total, PowerTotal)
            total.anchor(
                [edge for r in stored if r.closed for edge in ends(r.start_ms, r.opening, r.closing)]
            )
            rows = [row for row in total.rows() if row.closed]
            assert rows == [row for row in stored if row.closed]
            if len(rows) == length:
                found = [
                    e for e in total.told.events if e.kind in TOLD and span.start_ms <= e.t < span.end_ms
                ]
                assert sorted(found) == told(mine, span)


def ends(start_ms: int, opening: int, closing: int) -> Iterator[tuple[int, int]]:
    yield start_ms, opening
    yield start_ms + QUARTER_MS, closing


class Plant:
    """A month of powers every quarter hour: a pump with a ratio, an inverter in floats, a meter that counts backwards."""

    def __init__(self, folder: Path, *, silent: Span = NEVER) -> None:
        self.facts = Facts()
        self.folder, self.park = folder, park(**LONG)
        self.policy = Policy(FactorTable.load(), enterprise_policy(), self.park.tz, date(2026, 11, 1))
        write_journal(folder / "journal", [*births(), *self.frames(silent)], 200)
        run_through(folder / "journal", folder / "ledger", Context(self.park, self.policy))

    def frames(self, silent: Span) -> Iterator[Record]:
        for at in range(SPAN.start_ms - 4 * QUARTER_MS, SPAN.end_ms + 4 * QUARTER_MS, QUARTER_MS):
            step, t = at // QUARTER_MS, at + 7 * MINUTE_MS
            yield frame("pump", t, 100 + step * 7919 % 4000)
            yield frame("both", t, -(step * 104_729 % 90_000))
            if not silent.start_ms <= t < silent.end_ms:
                yield frame("inverter", t, step * 31 % 977 / 8)

    @contextmanager
    def stores(self) -> Iterator[tuple[LedgerReader, MonthStore]]:
        with LedgerReader(self.folder / "ledger") as ledger, MonthStore(self.folder / "months") as months:
            yield ledger, months

    def close(self) -> list[MonthRow]:
        with self.stores() as (ledger, months), JournalReader(self.folder / "journal") as journal:
            state = RegistryState(revision=0, digest="")
            sources = CloseSources(
                self.park, ledger, journal, months, FactorTable.load(), FuelTable.load(), self.facts, state
            )
            return close_month(sources, MONTH, CLOSED_AT_MS, allow_incomplete=True)

    def pack(self, row: MonthRow, folder: Path) -> Path:
        with self.stores() as (ledger, months):
            sources = Sources(
                self.park, self.folder / "journal", ledger, FactorTable.load(), KEY, "tanyun test", {},
                lambda _revision: self.facts, FuelTable.load(), months,
            )  # fmt: skip
            return write_pack(row, sources, folder)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plant = Plant(tmp_path_factory.mktemp("powers"))
    rows = plant.close()
    figures = {
        line.meter: line.energy_wh for line in parse(rows[-1].document).meters if line.reading_type == TOTAL
    }
    assert figures.keys() == METERS.keys()
    assert all(int(wh or 0) > 0 for wh in figures.values())
    return plant.pack(rows[-1], tmp_path_factory.mktemp("packs"))


def test_a_pack_of_integrated_totals_is_equal_by_both_recomputations(pack: Path, tmp_path: Path) -> None:
    verdict = verify_pack(pack, KEY.public_key())
    assert verdict.difference is None
    assert verdict.intervals > 3 * 31 * 96 - 1
    done = recompute(pack, tmp_path)
    assert done.stdout.splitlines()[-1] == "equal", done.stdout + done.stderr


@pytest.mark.parametrize("meter", list(METERS))
def test_a_watt_hour_more_in_the_ledger_is_found(pack: Path, tmp_path: Path, meter: str) -> None:
    """One share from before the month has to explain every position."""

    def shifted(content: bytes) -> bytes:
        lines = content.decode().split("\r\n")
        at = [i for i, line in enumerate(lines) if line.startswith(f"{meter},{TOTAL}")][1000]
        cells = lines[at].split(",")
        cells[7] = str(int(cells[7]) + 1)
        lines[at] = ",".join(cells)
        return "\r\n".join(lines).encode()

    difference = verify_pack(
        forged(pack, tmp_path, KEY, {names.LEDGER: shifted}), KEY.public_key()
    ).difference
    assert difference is not None
    assert f"ledger.csv {meter}/{TOTAL}" in difference.place


def test_a_shorter_gap_than_declared_is_a_difference(pack: Path, tmp_path: Path) -> None:
    edits = {names.METERS: replaced(",960\r\n", ",800\r\n")}
    assert verify_pack(forged(pack, tmp_path, KEY, edits), KEY.public_key()).difference is not None
    assert recompute(tmp_path / "forged.zip", tmp_path).returncode == 1


def test_a_month_with_a_gap_has_no_figure_and_a_pack(tmp_path: Path) -> None:
    silent = Span(SPAN.start_ms + 9 * 96 * QUARTER_MS, SPAN.start_ms + 9 * 96 * QUARTER_MS + 5 * QUARTER_MS)
    plant = Plant(tmp_path, silent=silent)
    row = plant.close()[-1]
    lines = {line.meter: line for line in parse(row.document).meters if line.reading_type == TOTAL}
    assert lines["inverter"].energy_wh is None
    pack = plant.pack(row, tmp_path / "packs")
    assert verify_pack(pack, KEY.public_key()).difference is None
    done = recompute(pack, tmp_path)
    assert done.stdout.splitlines()[-1] == "equal", done.stdout + done.stderr


def substituted(start_ms: int, end_ms: int, energy: str) -> list[Fact]:
    """A substitution of the inverter's energy, and another person's approval."""
    start, end = (to_local(ms, park().tz).replace(tzinfo=None) for ms in (start_ms, end_ms))
    written = SubstitutionFact(
        meter="inverter", reading_type=TOTAL, start=start, end=end, energy=Decimal(energy), method="mean_of_4_weeks",
        reason="no check meter", evidence_sha256="ab" * 32, by="li",
    )  # fmt: skip
    digest = fact_digest(written)
    return [
        written,
        ApprovalFact(
            meter="inverter", reading_type=TOTAL, start=start, substitution_sha256=digest, by="wang"
        ),
    ]


def by_hand(silent: Span) -> Fraction:
    """Wh of the inverter's month: the mean of two powers × their quarter hour, where both were read."""
    found = Fraction(0)
    for at in range(SPAN.start_ms - QUARTER_MS, SPAN.end_ms, QUARTER_MS):
        pair = [at, at + QUARTER_MS]
        if any(silent.start_ms <= t < silent.end_ms for t in pair):
            continue
        mean = Fraction(sum(t // QUARTER_MS * 31 % 977 for t in pair), 16)
        start, end = (min(max(t + 7 * MINUTE_MS, SPAN.start_ms), SPAN.end_ms) for t in pair)
        found += mean * (end - start) / 3_600_000
    return found


@pytest.mark.parametrize("ends", [False, True])
def test_a_gap_of_powers_is_filled_and_what_was_integrated_beside_it_still_counts(
    tmp_path: Path, *, ends: bool
) -> None:
    """From seven minutes past to seven minutes past: the amount is the gap's, within the quarter hours it reaches into."""
    first = SPAN.end_ms - 9 * QUARTER_MS if ends else SPAN.start_ms + 9 * 96 * QUARTER_MS
    count = 13 if ends else 5  # the last power that is missing, read 7 minutes into its quarter hour
    plant = Plant(tmp_path, silent=Span(first, first + count * QUARTER_MS))
    hole = Span(first - QUARTER_MS, SPAN.end_ms if ends else first + (count + 1) * QUARTER_MS)
    plant.facts = Facts(substituted(*hole, "12.5"))
    row = plant.close()[-1]
    document = parse(row.document)
    line = next(item for item in document.meters if (item.meter, item.reading_type) == ("inverter", TOTAL))
    (told,) = document.substitutions
    assert (told.accepted, told.refused_zh, line.energy_wh, line.balance.equal) == (True, "", None, True)
    (reported,) = [r for r in document.reported if r.id == f"inverter/{TOTAL}"]
    measured = int(reported.measured or "")
    assert (
        abs(measured - by_hand(Span(first, first + count * QUARTER_MS))) < 1
    )  # less than a Wh is carried on
    assert (reported.substituted, reported.reported) == ("12500", str(measured + 12_500))
    pack = plant.pack(row, tmp_path / "packs")
    assert verify_pack(pack, KEY.public_key()).difference is None
    done = recompute(pack, tmp_path)
    assert done.stdout.splitlines()[-1] == "equal", done.stdout + done.stderr


def test_a_substitution_beside_a_gap_of_powers_is_refused(tmp_path: Path) -> None:
    first = SPAN.start_ms + 9 * 96 * QUARTER_MS
    plant = Plant(tmp_path, silent=Span(first, first + 5 * QUARTER_MS))
    plant.facts = Facts(substituted(first - 2 * QUARTER_MS, first + 6 * QUARTER_MS, "12.5"))
    document = parse(plant.close()[-1].document)
    assert [line.refused_en for line in document.substitutions] == ["the time is measured"]
    assert document.energy.purchased_wh is None
