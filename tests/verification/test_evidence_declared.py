"""Declared factors in the evidence pack: the series travel as facts, the parts are found again from the frames."""

import json
from pathlib import Path

import pytest

from tests.verification.conftest import in_order
from tests.verification.test_declared import declared
from tests.verification.test_evidence import Edit, Packed, forged, packed_month, recompute, works_park
from verification.document import parse
from verification.evidence import manifest as names
from verification.evidence.container import Container
from verification.evidence.verify import verify_pack

SERIES = f"{names.FACTS}factor_series.csv"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    september = declared(
        start="2026-09-01T00:00+08:00", end="2026-10-01T00:00+08:00", step_minutes=0, values="1"
    )
    facts = [*in_order(works_park()), declared(by="李梅"), september]
    return packed_month(tmp_path_factory.mktemp("works"), facts)


@pytest.mark.parametrize("scope", ["jingmi", "guangdian", "demo"])
def test_a_pack_finds_the_parts_again_from_its_frames(packed: Packed, tmp_path: Path, scope: str) -> None:
    path = packed.write(tmp_path, scope)
    assert verify_pack(path, packed.key.public_key()).difference is None
    document = parse(next(row for row in packed.rows if row.scope_id == scope).document)
    assert bool(document.declared) == (scope == "jingmi")
    assert recompute(path, tmp_path).returncode == 0


def test_only_the_series_of_the_month_are_packed(packed: Packed, tmp_path: Path) -> None:
    with Container(packed.write(tmp_path, "jingmi")) as container:
        rows = container.read(SERIES).decode("utf-8-sig").splitlines()
    assert len(rows) == 2
    assert "李梅" in rows[1]


def _figure(content: bytes) -> bytes:
    document = json.loads(content)
    document["declared"][1]["emission_ug"] = "1"
    return json.dumps(document).encode()


def _series(content: bytes) -> bytes:
    document = json.loads(content)
    document["series"][0]["values"] = document["series"][0]["values"].replace("0.70", "0.10", 1)
    return json.dumps(document).encode()


@pytest.mark.parametrize(("edit", "place"), [(_figure, "declared[m-grid/"), (_series, "declared[")])
def test_a_forged_part_or_series_is_found_and_named(
    packed: Packed, tmp_path: Path, edit: Edit, place: str
) -> None:
    pack = packed.write(tmp_path, "jingmi")
    with Container(pack) as container:
        report = next(
            name for name in container.members if name.startswith("reports/") and name.endswith(".json")
        )
    path = forged(pack, tmp_path, packed.key, {names.DOCUMENT: edit, report: edit})
    difference = verify_pack(path, packed.key.public_key()).difference
    assert difference is not None
    assert place in difference.place


def test_a_forged_fact_is_found_and_named(packed: Packed, tmp_path: Path) -> None:
    pack = packed.write(tmp_path, "jingmi")
    path = forged(
        pack, tmp_path, packed.key, {SERIES: lambda content: content.replace("李梅".encode(), b"x")}
    )
    difference = verify_pack(path, packed.key.public_key()).difference
    assert difference is not None
    assert difference.place.startswith("document.json series[")
