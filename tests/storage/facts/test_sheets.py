import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from metering.registry import Park
from storage.facts.kinds import KINDS, BillFact, EnterpriseFact
from storage.facts.sheets import RefusedError, columns, export_csv, export_workbook, parse, read
from storage.facts.state import Facts

Make = Callable[..., Any]


def everything(fact: Make) -> Facts:
    return Facts(
        tuple(fact(kind) for kind in ("enterprise", "meter", "bill", "certificate", "production", "energy"))
    )


def test_what_a_workbook_was_exported_with_comes_back(fact: Make, park: Park, tmp_path: Path) -> None:
    file = tmp_path / "facts.xlsx"
    file.write_bytes(export_workbook(everything(fact)))
    assert set(map(str, parse("f", read(file), Facts(), park))) == set(map(str, everything(fact).all))


def test_what_a_folder_of_csv_was_exported_with_comes_back(fact: Make, park: Park, tmp_path: Path) -> None:
    facts = Facts((fact("enterprise", boundary="=1+1 是文本", contact="-"), fact("bill", adjusted="-12.5")))
    for name, kind in KINDS.items():
        (tmp_path / f"{name}.csv").write_bytes(export_csv(kind, facts.of(kind)))
    assert b"'=1+1" in (tmp_path / "enterprise.csv").read_bytes()
    assert b",-12.5\r\n" in (tmp_path / "bill.csv").read_bytes()
    assert set(map(str, parse("f", read(tmp_path), Facts(), park))) == set(map(str, facts.all))


def test_a_template_has_every_sheet_and_imports_as_nothing(park: Park, tmp_path: Path) -> None:
    file = tmp_path / "t.xlsx"
    file.write_bytes(export_workbook(Facts()))
    assert [sheet.title.split()[-1] for sheet in openpyxl.load_workbook(file).worksheets] == list(KINDS)
    assert parse("t", read(file), Facts(), park) == []


def test_numbers_and_days_typed_into_a_spreadsheet_are_understood(park: Park, tmp_path: Path) -> None:
    from datetime import datetime  # noqa: PLC0415  only here

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "bill"
    sheet.append(
        ["enterprise", "number", "meter", "start", "end", "opening", "closing", "multiplier", "billed"]
    )
    sheet.append(["a", 20261025001, "m", datetime(2026, 9, 25), datetime(2026, 10, 25), 0.1, 20, 80, 1592.0])  # noqa: DTZ001  as Excel gives it
    file = tmp_path / "b.xlsx"
    book.save(file)
    (bill,) = parse("b", read(file), Facts(), park)
    assert isinstance(bill, BillFact)
    assert (bill.number, str(bill.opening), str(bill.billed), bill.end.isoformat()) == (
        "20261025001",
        "0.1",
        "1592",
        "2026-10-25",
    )


def test_every_mistake_is_listed_with_sheet_row_and_column_and_nothing_passes(
    park: Park, tmp_path: Path
) -> None:
    file = tmp_path / "enterprise.csv"
    file.write_text(
        "enterprise,name,short_name,credit_code,industry,valid_from\n"
        "a,甲,甲,91350100M000100Y44,3982,2026-01-01\n"
        "a,,甲,91350100M000100Y43,abc,2026-13-01\n"
        "z,丙,丙,91350100M000100Y43,3982,2026-01-01\n",
        encoding="utf-8",
    )
    with pytest.raises(RefusedError) as refused:
        parse("f", read(file), Facts(), park)
    said = "\n".join(refused.value.mistakes)
    for expected in (
        "enterprise 2: 统一社会信用代码", "enterprise 3: 企业名称", "enterprise 3: 行业代码", "enterprise 3: 生效日期",
        "enterprise 4: there is no enterprise 'z'",
    ):  # fmt: skip
        assert expected in said, expected


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("other.csv", "a,b\n", "not a sheet of ours"),
        ("bill.csv", "a,b\n1,2\n", "no row names the fields"),
        ("bill.csv", "enterprise,numero\na,1\n", "no field 'numero'"),
        ("bill.csv", "enterprise,number,number\na,1,2\n", "stands twice"),
        ("bill.csv", "enterprise,number\na," + "9" * 200_000, "not CSV that can be read"),
    ],
)
def test_a_sheet_that_is_none_says_why(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(RefusedError, match=said):
        read(tmp_path / name)


def test_a_workbook_that_would_unpack_to_gigabytes_is_refused_unopened(tmp_path: Path) -> None:
    file = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * (101 << 20))
    assert file.stat().st_size < 1 << 20
    with pytest.raises(RefusedError, match="larger"):
        read(file)


def test_a_workbook_with_entities_is_refused(tmp_path: Path) -> None:
    source = io.BytesIO(export_workbook(Facts(), ("bill",)))
    file = tmp_path / "lol.xlsx"
    with zipfile.ZipFile(source) as good, zipfile.ZipFile(file, "w") as bad:
        for part in good.infolist():
            data = good.read(part)
            if part.filename == "xl/workbook.xml":
                data = data.replace(b"<workbook", b'<!DOCTYPE x [<!ENTITY a "aaaa">]><workbook', 1)
            bad.writestr(part.filename, data)
    with pytest.raises(RefusedError, match="document type"):
        read(file)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"not a zip at all"])
def test_what_is_no_workbook_is_refused_with_a_sentence(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "x.xlsx"
    file.write_bytes(data)
    with pytest.raises(RefusedError, match="not a workbook"):
        read(file)


def test_a_damaged_sheet_inside_a_sound_workbook_is_refused(tmp_path: Path, fact: Make) -> None:
    source = io.BytesIO(export_workbook(Facts((fact("bill"),)), ("bill",)))
    file = tmp_path / "x.xlsx"
    with zipfile.ZipFile(source) as good, zipfile.ZipFile(file, "w") as bad:
        for part in good.infolist():
            data = good.read(part)
            bad.writestr(part.filename, data[: len(data) // 2] if "sheet1.xml" in part.filename else data)
    with pytest.raises(RefusedError, match="not a workbook"):
        read(file)


def test_a_part_that_names_what_a_workbook_has_not_is_refused(tmp_path: Path) -> None:
    source = io.BytesIO(export_workbook(Facts(), ("bill",)))
    file = tmp_path / "x.xlsx"
    with zipfile.ZipFile(source) as good, zipfile.ZipFile(file, "w") as bad:
        for part in good.infolist():
            bad.writestr(part.filename, good.read(part).replace(b"Extension=", b"Extensinn="))
    with pytest.raises(RefusedError, match="not a workbook"):
        read(file)


def test_an_import_is_judged_against_what_is_known(fact: Make, park: Park, tmp_path: Path) -> None:
    file = tmp_path / "certificate.csv"
    file.write_bytes(export_csv(KINDS["certificate"], [fact("certificate", enterprise="b")]))
    with pytest.raises(RefusedError, match="claimed already, by a"):
        parse("f", read(file), Facts((fact("certificate"),)), park)


def test_an_enterprise_sheet_starts_with_its_id_and_ends_with_its_validity() -> None:
    from storage.facts.sheets import columns  # noqa: PLC0415

    names = [name for name, _label in columns(EnterpriseFact)]
    assert names[0] == "enterprise"
    assert names[-2:] == ["valid_from", "valid_to"]


@pytest.mark.parametrize("name", list(KINDS))
def test_mistakes_of_every_kind_are_told_by_row_and_column(name: str, park: Park, tmp_path: Path) -> None:
    """The template's sheet, a row with its subject alone and a row of nonsense: each required field, each typed one."""
    kind, file = KINDS[name], tmp_path / "facts.xlsx"
    file.write_bytes(export_workbook(Facts(), (name,)))
    book = openpyxl.load_workbook(file)
    sheet = book.active
    assert sheet is not None
    fields = [field for field, _label in columns(kind)]
    first = (sheet.max_row or 0) + 1
    sheet.append(["a" if field == kind.SUBJECT else None for field in fields])
    sheet.append(["?!" for _field in fields])
    book.save(file)
    with pytest.raises(RefusedError) as refused:
        parse("f", read(file), Facts(), park)
    told = refused.value.mistakes
    for field in fields:
        model = kind.model_fields[field]
        if model.is_required() and field != kind.SUBJECT:
            assert any(line.startswith(f"{sheet.title} {first}: {model.title}") for line in told), field
    wrong = [line for line in told if line.startswith(f"{sheet.title} {first + 1}: ")]
    assert any(f"{kind.model_fields[kind.SUBJECT].title}: " in line for line in wrong), told
    assert all("'?!'" in line for line in wrong), wrong
