"""Packs of a month that was restated: both revisions stay provable, and the table of differences follows from both documents."""

import json
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from metering.intervals import local_month, to_ms
from metering.registry import parse_registry
from tests.verification.conftest import MONTH, PARK
from tests.verification.test_evidence import Edit, Packed, Works, forged, recompute
from verification import changes
from verification.document import parse
from verification.evidence import manifest as names
from verification.evidence import recompute_books
from verification.evidence.verify import verify_pack

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(3, 35)))
BEFORE_THE_NOTICE_MS = to_ms(datetime(2025, 12, 30, tzinfo=UTC))
"""Of 2025-12-31, with the factors of 2023."""


@pytest.fixture(scope="module")
def revisions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The pack of a month under the factors of its close, and of its second revision under those of a notice that came after."""
    park = parse_registry(msgspec.convert(PARK, dict[str, object]))
    works = Works(tmp_path_factory.mktemp("works"), park, local_month(MONTH, park.tz))
    works.build()
    folder = tmp_path_factory.mktemp("packs")
    first = Packed(works, works.close(at_ms=BEFORE_THE_NOTICE_MS), KEY)
    old = first.write(folder, "jingmi")
    before = old.read_bytes()
    second = Packed(works, works.close("factor_notice"), KEY)
    new = second.write(folder, "jingmi")
    assert (
        first.write(folder, "jingmi").read_bytes() == before
    )  # the frozen revision's pack is the same, whatever came since
    assert new != old
    return old, new


def test_both_tables_of_differences_leave_the_same_fields_out() -> None:
    assert set(recompute_books.CIRCUMSTANCES) == changes.NOT_FIGURES
    assert recompute_books.NAMING == changes.ITEM_NAMES


def by_script(folder: Path, *packs: Path) -> subprocess.CompletedProcess[str]:
    with zipfile.ZipFile(packs[0]) as archive:
        script = archive.extract("recompute.py", folder)
    command = [sys.executable, "-I", "-S", script, *map(str, packs)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_notice_after_the_freeze_leaves_both_revisions_equal_by_both_recomputations(
    revisions: tuple[Path, Path], tmp_path: Path
) -> None:
    for pack in revisions:
        assert verify_pack(pack, KEY.public_key()).difference is None
        assert recompute(pack, tmp_path).stdout.splitlines()[-1] == "equal"


def test_the_script_prints_the_emissions_and_the_table_of_differences(
    revisions: tuple[Path, Path], tmp_path: Path
) -> None:
    old, new = revisions
    said = by_script(tmp_path, new, old)
    assert said.stdout.splitlines()[-1] == "equal", said.stdout + said.stderr
    with zipfile.ZipFile(new) as archive:
        document = parse(archive.read(names.DOCUMENT))
    line = next(line for line in document.emissions if line.use == "enterprise")
    assert f"emissions[enterprise].emission_ug = {line.emission_ug}" in said.stdout
    paths = {change.path: change for change in document.changes}
    assert "emissions[enterprise].emission_ug" in paths
    for change in document.changes:
        assert f"  {change.path}: {change.old or '-'} -> {change.new or '-'}\n" in said.stdout


def test_packs_of_other_months_are_not_taken_for_the_revision_before(
    revisions: tuple[Path, Path], tmp_path: Path
) -> None:
    old, new = revisions
    said = by_script(tmp_path, new, forged(old, tmp_path, KEY, {names.DOCUMENT: lambda data: data + b" "}))
    assert said.returncode == 1


def with_value(name: str, value: object) -> Edit:
    return lambda content: json.dumps({**json.loads(content), name: value}).encode()


def other_figure(content: bytes) -> bytes:
    document = json.loads(content)
    document["emissions"][0]["emission_ug"] = "1"
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (other_figure, "changes[emissions["),
        (with_value("revision", 3), names.PREVIOUS),
        (with_value("month", "2026-09"), names.PREVIOUS),
        (lambda _content: b"{}", names.PREVIOUS),
    ],
)
def test_another_document_before_is_found_and_named(
    revisions: tuple[Path, Path], tmp_path: Path, edit: Edit, place: str
) -> None:
    path = forged(revisions[1], tmp_path, KEY, {names.PREVIOUS: edit})
    difference = verify_pack(path, KEY.public_key()).difference
    assert difference is not None
    assert place in difference.place


def test_a_line_left_out_of_the_table_is_found_by_both(revisions: tuple[Path, Path], tmp_path: Path) -> None:
    def shorter(content: bytes) -> bytes:
        document = json.loads(content)
        del document["changes"][0]
        return json.dumps(document).encode()

    with zipfile.ZipFile(revisions[1]) as archive:
        report = next(
            name for name in archive.namelist() if name.startswith("reports/") and name.endswith(".json")
        )
    path = forged(revisions[1], tmp_path, KEY, {names.DOCUMENT: shorter, report: shorter})
    difference = verify_pack(path, KEY.public_key()).difference
    assert difference is not None
    assert "document.json changes[" in difference.place
    said = recompute(path, tmp_path).stdout.splitlines()[-1]
    assert said.startswith("DIFFERENT: changes ")
