"""What a report's figures need beside frames is in the pack and recomputed: bills, fuels, heat, certificates, production."""

import os
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from metering.intervals import HOUR_MS
from storage.facts.fact import Fact
from storage.facts.kinds import KINDS
from storage.registry import fact_digest
from tests.verification.conftest import CLOSED_AT_MS, PARK, in_order
from tests.verification.test_evidence import Edit, Packed, Works, forged, recompute, replaced
from tests.verification.test_evidence_adjusted import IMPORT, SPAN, Busy, declared
from verification.document import MonthDocument, parse
from verification.evidence import manifest as names
from verification.evidence import parallel, verify
from verification.evidence.container import Container
from verification.evidence.figures import Share
from verification.evidence.verify import verify_pack

DAY_MS = 24 * HOUR_MS
PROOF = "ab" * 32
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def fact(kind: str, **given: str) -> Fact:
    return KINDS[kind].model_validate(given)


def facts() -> Iterator[Fact]:
    """An enterprise that burns coal and gas, buys heat and certificates, and gets a bill read on the 25th; another with little."""
    for name, short, code, industry in (
        ("jingmi", "精密", "91340100MA8HJ0001C", "3464"),
        ("guangdian", "光电", "91340100MA8YT0001U", "6510"),
    ):
        yield fact(
            "enterprise", enterprise=name, name=short, short_name=short, credit_code=code, industry=industry,
            valid_from="2020-01-01", standard="GB/T 32151.34-2024", factor_set="GBT32151.34-2024-C1", contact="甲",
        )  # fmt: skip
        yield fact(
            "production", enterprise=name, month="2026-10", output_10k_cny="1850.5", value_added_10k_cny="430"
        )
    mine = {"enterprise": "jingmi", "month": "2026-10"}
    yield fact("product", **mine, product="轴承", unit="t", amount="120.25")
    yield fact("energy", **mine, energy="natural_gas", unit="Nm3", purchased="31000", consumed="30123.5")
    yield fact(
        "energy",
        **mine,
        energy="diesel",
        unit="t",
        consumed="4.5",
        ncv_gj_per_unit="42.7",
        ncv_source="报告-7",
    )
    yield fact("energy", **mine, energy="heat", supplier="热力公司", unit="GJ", consumed="512.25")
    yield fact("energy", enterprise="jingmi", month="2026-09", energy="diesel", unit="t", consumed="9")
    yield fact(
        "certificate", enterprise="jingmi", first="GEC-0001", last="GEC-0002", production_month="2026-03",
        status="retired", retired_on="2026-10-30", month="2026-10", evidence_sha256=PROOF,
    )  # fmt: skip
    yield fact(
        "plan",
        enterprise="jingmi",
        parameter="coke",
        method="measured",
        missing_data="bill",
        valid_from="2024-01-01",
    )
    yield fact(
        "benchmark",
        scope="3464",
        measure="t_co2_per_10k_value_added",
        year="2025",
        value="1.5",
        source="统计",
    )
    yield fact("formula", scope="jingmi", formula="grid_boundary - resold", valid_from="2026-01-01")
    yield bill("B-09", "2026-09-26", "2026-10-25")
    yield bill("B-10", "2026-10-02", "2026-10-12")
    yield bill("B-early", "2026-09-01", "2026-10-05")


def bill(number: str, start: str, end: str) -> Fact:
    return fact(
        "bill", enterprise="jingmi", number=number, meter="m-grid", start=start, end=end, opening="100", closing="350.5",
        multiplier="80", billed="20450.5", transformer_loss="400.5", line_loss="10",
    )  # fmt: skip


@dataclass
class Billed(Busy):
    """Frames from the 24th of the month before on."""

    def _times(self) -> list[int]:
        early = range(self.month.start_ms - 7 * DAY_MS, self.month.start_ms, 6 * HOUR_MS)
        return sorted({*early, *super()._times()})


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    works = Billed(tmp_path_factory.mktemp("billed"), declared(PARK), SPAN)
    works.park = works.declarations()
    works.facts = [*in_order(works.park), *facts()]
    works.build()
    return Packed(works, works.close(at_ms=CLOSED_AT_MS), KEY)


@pytest.fixture(scope="module")
def pack(packed: Packed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed.write(tmp_path_factory.mktemp("packs"), "jingmi")


@pytest.fixture(scope="module")
def document(packed: Packed) -> MonthDocument:
    return parse(next(row.document for row in packed.rows if row.scope_id == "jingmi"))


@pytest.mark.parametrize("scope", ["demo", "jingmi", "guangdian"])
def test_a_pack_with_books_is_equal(packed: Packed, tmp_path: Path, scope: str) -> None:
    verdict = verify_pack(packed.write(tmp_path, scope), KEY.public_key())
    assert verdict.difference is None


def test_the_month_has_what_makes_it_hard(document: MonthDocument) -> None:
    bills = {line.id: line for line in document.bills}
    assert bills["B-09"].metered is not None
    assert bills["B-10"].metered is not None
    assert bills["B-early"].metered is None  # nothing was read on its first day
    assert {line.id for line in document.fuels} == {"natural_gas", "diesel", "coke"}
    assert [line.accepted_wh for line in document.certificates] == ["2000000"]
    standard = next(line for line in document.totals if line.use == "standard")
    assert standard.direct_ug is None  # coke is planned and nobody reported it
    assert document.energy_total is not None


def test_a_bill_of_the_month_before_counts_what_our_meter_counted(
    packed: Packed, document: MonthDocument
) -> None:
    works = packed.works
    own = next(line for line in document.bills if line.id == "B-10")
    key, start = ("m-grid", IMPORT), SPAN.start_ms
    # Before the ratio changed on the 15th: 400/5.
    counted = works.count(key, start + 11 * DAY_MS) - works.count(key, start + DAY_MS)
    assert own.metered == str(counted * 80 // 100)


def test_an_enterprise_gets_no_facts_of_another(packed: Packed, tmp_path: Path) -> None:
    with zipfile.ZipFile(packed.write(tmp_path, "guangdian")) as archive:
        tables = [name for name in archive.namelist() if name.startswith(names.FACTS)]
        assert f"{names.FACTS}production.csv" in tables
        assert f"{names.FACTS}bill.csv" not in tables
        assert all("jingmi" not in archive.read(name).decode() for name in tables)


def other_file(name: str, old: str, new: str) -> dict[str, Edit]:
    return {name: replaced(old, new)}


def last_row(column: int, value: str) -> Edit:
    """The last interval before the month with another cell."""

    def edit(content: bytes) -> bytes:
        rows = content.decode().rstrip().split("\r\n")
        cells = rows[-1].split(",")
        cells[column] = value
        return "\r\n".join([*rows[:-1], ",".join(cells), ""]).encode()

    return edit


FORGERIES = [
    (other_file("facts/energy.csv", "30123.5", "30023.5"), "fuels[natural_gas].activity"),
    (other_file("facts/energy.csv", "512.25", "511.25"), "heat["),
    (other_file("facts/certificate.csv", "GEC-0002", "GEC-0001"), "certificates["),
    (other_file("facts/production.csv", "1850.5", "1950.5"), "production[output]"),
    (other_file("facts/product.csv", "120.25", "120.5"), "production["),
    (other_file("facts/bill.csv", "20450.5", "20451.5"), "bills[B-09].billed"),
    (other_file("facts/enterprise.csv", "GBT32151.34-2024-C1", "GBT32150-2025"), "facts.factor_set"),
    (other_file("factors/coal.csv", "0.1229", "0.1230"), "energy_types[electricity].coefficient_kgce"),
    ({names.BILL_LEDGER: last_row(-1, "0")}, "bills[B-09].metered"),
    ({names.BILL_LEDGER: last_row(7, "12345")}, names.BILL_LEDGER),
]


@pytest.mark.parametrize(
    ("edits", "place"), FORGERIES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_forged_table_is_found_and_named(
    pack: Path, tmp_path: Path, edits: dict[str, Edit], place: str
) -> None:
    verdict = verify_pack(forged(pack, tmp_path, KEY, edits), KEY.public_key())
    assert verdict.difference is not None
    assert place in verdict.difference.place


def test_a_factor_that_was_edited_is_found(pack: Path, tmp_path: Path) -> None:
    with Container(pack) as archive:
        table = archive.read(names.FUELS).decode("utf-8-sig")
    gas = next(line for line in table.splitlines() if ",natural_gas," in line and "32151.34" in line)
    carbon = gas.split(",")[6]
    edits = {names.FUELS: replaced(gas, gas.replace(carbon, carbon + "1", 1))}
    verdict = verify_pack(forged(pack, tmp_path, KEY, edits), KEY.public_key())
    assert verdict.difference is not None
    assert "fuels[natural_gas]" in verdict.difference.place


def test_the_script_in_the_pack_reads_it_too(pack: Path, tmp_path: Path) -> None:
    done = recompute(pack, tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs of any size are shared out between two processes."""
    monkeypatch.setattr(verify, "SPLIT_BYTES", 0)
    monkeypatch.setattr(parallel, "two_cores", lambda: True)


@pytest.mark.usefixtures("split")
def test_two_processes_find_the_same(packed: Packed, tmp_path: Path) -> None:
    pack = packed.write(tmp_path)
    whole = verify_pack(pack, KEY.public_key())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "two_cores", lambda: False)
        alone = verify_pack(pack, KEY.public_key())
    assert whole.equal
    assert whole == alone


@pytest.mark.usefixtures("split")
@pytest.mark.parametrize("meter", ["m-grid", "m-two"])
def test_a_difference_is_named_whichever_process_finds_it(packed: Packed, tmp_path: Path, meter: str) -> None:
    """m-grid is the first process's, m-two the other's."""
    pack = packed.write(tmp_path)
    with Container(pack) as archive:
        row = next(
            line for line in archive.read(names.LEDGER).decode().splitlines() if line.startswith(meter)
        )
    cells = row.split(",")
    other = ",".join([*cells[:7], str(int(cells[7]) + 1), *cells[8:]])
    verdict = verify_pack(forged(pack, tmp_path, KEY, {names.LEDGER: replaced(row, other)}), KEY.public_key())
    assert verdict.difference is not None
    assert verdict.difference.place.startswith(f"ledger.csv {meter}")


def test_what_a_process_that_died_was_to_do_is_done_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "COMMAND", (sys.executable, "-c", "raise SystemExit(3)"))
    with parallel.other_process(_here, tmp_path, frozenset({"m"})) as (meters, rest):
        assert meters == {"m"}
        share = rest()
    assert share is not None
    assert share.frames == os.getpid()


def _here(_path: Path, _meters: frozenset[str]) -> Share:
    return Share({}, {}, {}, None, os.getpid(), 0, {}, {})


def test_the_second_process_does_its_part(packed: Packed, tmp_path: Path) -> None:
    pack = packed.write(tmp_path)
    with parallel.other_process(_here, pack, frozenset({"m-two"})) as (_meters, rest):
        share = rest()
    assert share is not None
    assert share.frames != os.getpid()  # nothing was done here
    assert set(share.sums) == {("m-two", IMPORT)}
    assert share.first is None


def test_a_substitution_and_its_approval_are_in_the_pack_and_weighed_again(tmp_path: Path) -> None:
    """m-two fell silent before the month ended: an approved substitution holds for the rest, and nothing else does."""
    works = Works(tmp_path, declared(PARK), SPAN)
    works.silent_from_ms["m-two"] = SPAN.end_ms - 2 * HOUR_MS
    works.build()
    since = {"meter": "m-two", "start": "2026-10-31T21:45:00"}
    written = fact(
        "substitution", **since, end="2026-11-01T00:00:00", energy="812.5", method="check_meter", reason="r",
        evidence_sha256=PROOF, by="li",
    )  # fmt: skip
    works.facts = [
        *in_order(works.park),
        written,
        fact("substitution_approval", **since, substitution_sha256=fact_digest(written), by="wang"),
    ]
    packed = Packed(works, works.close(at_ms=CLOSED_AT_MS, incomplete=True), KEY)
    document = parse(next(row.document for row in packed.rows if row.scope_id == "guangdian"))
    (line,) = document.substitutions
    assert line.accepted
    bought = next(line for line in document.reported if line.id == "purchased_wh")
    assert (bought.substituted, document.energy.purchased_wh) == ("812500", None)
    assert int(bought.reported or 0) == int(bought.measured or 0) + 812_500
    assert document.totals[0].including_ug is not None
    pack = packed.write(tmp_path / "packs", "guangdian")
    assert verify_pack(pack, KEY.public_key()).difference is None
    assert recompute(pack, tmp_path).stdout.splitlines()[-1] == "equal"
    assert recompute(pack, tmp_path).stdout.splitlines()[-1] == "equal"
    edits = {"facts/substitution_approval.csv": replaced("wang", "li")}
    verdict = verify_pack(forged(pack, tmp_path, KEY, edits), KEY.public_key())
    assert verdict.difference is not None
    assert verdict.difference.place.startswith("document.json")  # nothing stands for the hole any more
    edit = replaced('"substituted":"812500"', '"substituted":"812501"')
    with zipfile.ZipFile(pack) as members:
        copies = [
            name for name in members.namelist() if name.startswith("reports/") and name.endswith(".json")
        ]
    forgery = forged(pack, tmp_path, KEY, dict.fromkeys([names.DOCUMENT, *copies], edit))
    verdict = verify_pack(forgery, KEY.public_key())
    assert verdict.difference is not None
    assert "reported[purchased_wh].substituted" in verdict.difference.place
