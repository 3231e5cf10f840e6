"""The electricity factors: what is in the files, and what a damaged file says."""

import csv
import os
import re
from datetime import date
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factors.table import Factor, FactorDataError, FactorTable, bundled_data

TABLE = FactorTable.load()
YEARS = (2021, 2022, 2023)


def value(factor_id: str) -> str:
    factor = TABLE.get(factor_id)
    assert factor is not None
    return factor.value_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("scopes.csv", "notices.csv", "electricity.csv"):
        (tmp_path / name).write_text((bundled_data() / name).read_text("utf-8"), "utf-8")
    return tmp_path


def edit(path: Path, old: str, new: str) -> int:
    """Replaces text that occurs once; gives the line it is on."""
    text = path.read_text("utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), "utf-8")
    return text[: text.index(old)].count("\n") + 1


def mistakes(folder: Path) -> tuple[str, ...]:
    with pytest.raises(FactorDataError) as caught:
        FactorTable.load(folder)
    return caught.value.mistakes


def test_every_year_has_the_nation_three_ways_seven_grids_and_thirty_provinces() -> None:
    for year in YEARS:
        ids = [f.id for f in TABLE.factors.values() if f.data_year == year]
        assert len([i for i in ids if re.fullmatch(rf"CN-[A-Z]{{2}}-{year}-average", i)]) == 30
        assert len([i for i in ids if i.startswith("CN-GRID-")]) == 7
        assert len(ids) == 40
    assert len(TABLE.factors) == 120


@pytest.mark.parametrize(
    ("scope", "values"),
    [
        ("CN-AH", ("0.7075", "0.6782", "0.6553")),
        ("CN-SX", ("0.7222", "0.7096", "0.6634")),
        ("CN-JS", ("0.6451", "0.5978", "0.5827")),
        ("CN-GD", ("0.4715", "0.4403", "0.4419")),
        ("CN-GRID-NORTH", ("0.7120", "0.6776", "0.6361")),
        ("CN-GRID-EAST", ("0.5992", "0.5617", "0.5500")),
        ("CN-GRID-SOUTH", ("0.4326", "0.3869", "0.4042")),
        ("CN-GRID-SOUTHWEST", ("0.2113", "0.2268", "0.2472")),
    ],
)
def test_published_averages_by_year(scope: str, values: tuple[str, str, str]) -> None:
    assert tuple(value(f"{scope}-{year}-average") for year in YEARS) == values


def test_national_averages_of_2021_and_2022_are_not_swapped() -> None:
    assert [value(f"CN-{y}-average") for y in YEARS] == ["0.5568", "0.5366", "0.5306"]


def test_the_other_national_kinds() -> None:
    assert [value(f"CN-{y}-average_excl_market_nonfossil") for y in YEARS] == ["0.5942", "0.5856", "0.6096"]
    assert [value(f"CN-{y}-fossil_power") for y in YEARS] == ["0.8426", "0.8325", "0.8273"]


def test_trading_scheme_defaults_are_not_statistical_averages() -> None:
    values = {f.value_text for f in TABLE.factors.values() if f.scope_code == "CN"}
    assert values.isdisjoint({"0.5703", "0.5810", "0.6101"})


def test_chongqing_and_sichuan_are_provinces_and_no_grid_is_joined_by_name() -> None:
    assert value("CN-CQ-2023-average") == "0.5581"
    assert value("CN-SC-2023-average") == "0.1564"
    assert len({f.label_zh for f in TABLE.factors.values()}) == len(TABLE.factors)


def test_a_factor_carries_exact_integers_notice_and_labels() -> None:
    factor = TABLE.get("CN-AH-2023-average")
    assert factor == Factor(
        id="CN-AH-2023-average",
        scope_code="CN-AH",
        data_year=2023,
        kind="average",
        num=655_300,
        den=1,
        value_text="0.6553",
        notice="生态环境部、国家统计局公告2025年第47号《关于发布2023年电力二氧化碳排放因子的公告》",
        published=date(2025, 12, 31),
        verified="two_sources",
        label_zh="安徽2023年平均电力二氧化碳排放因子",
        label_en="Anhui 2023 electricity CO2 factor, average",
    )
    assert factor.unit == "ug/Wh"
    assert factor.official


@given(st.sampled_from(sorted(TABLE.factors)), st.integers(0, 10**15))
def test_num_over_den_is_exactly_the_printed_value(factor_id: str, wh: int) -> None:
    factor = TABLE.factors[factor_id]
    kg = Fraction(factor.value_text) * wh / 1000
    assert Fraction(factor.num, factor.den) * wh == kg * 10**9


def test_find_gives_the_newest_year_first() -> None:
    assert [f.data_year for f in TABLE.find("CN-JS", "average")] == [2023, 2022, 2021]
    assert [f.id for f in TABLE.find("CN-JS", "average", 2022)] == ["CN-JS-2022-average"]
    assert TABLE.find("CN-XZ", "average") == ()


@pytest.mark.parametrize("damaged", ["0.70751", "0.707", "10.7075", "0.7075 ", "0,7075", "", "７.7075"])
def test_a_value_without_exactly_four_decimals_is_refused(folder: Path, damaged: str) -> None:
    path = folder / "electricity.csv"
    line = edit(path, "CN-AH,2021,average,0.7075,", f'CN-AH,2021,average,"{damaged}",')
    (mistake,) = mistakes(folder)
    assert mistake.startswith(f"electricity.csv:{line}: value {damaged!r}")


@pytest.mark.parametrize("damaged", ["0.0999", "0.9001", "1.7075"])
def test_a_value_outside_the_plausible_range_is_refused(folder: Path, damaged: str) -> None:
    edit(folder / "electricity.csv", "CN-AH,2021,average,0.7075,", f"CN-AH,2021,average,{damaged},")
    (mistake,) = mistakes(folder)
    assert "0.1-0.9" in mistake


def test_all_mistakes_of_all_files_are_reported_at_once(folder: Path) -> None:
    rows = folder / "electricity.csv"
    lines = [
        edit(rows, "0.5568,2024-12,one_source", "0.55681,2024-12,surely"),
        edit(rows, "CN-JS-2022-average,CN-JS,2022,average", "CN-JS-2022-average,CN-XX,2022,mean"),
        edit(rows, "CN-GD,2022,average,0.4403,2024-33", "CN-GD,2022,average,0.4403,2024-34"),
    ]
    rows.write_text(
        rows.read_text("utf-8") + "CN-AH-2023-average,CN-AH,2023,average,0.6553,2025-47,one_source\nx\n"
    )
    notice = edit(folder / "notices.csv", "2024-04-12", "2024-04-31")
    scope = edit(folder / "scopes.csv", "340000", "34")
    found = mistakes(folder)
    expected = [
        f"electricity.csv:{line}: " for line in (lines[0], lines[0], lines[1], lines[1], lines[1], lines[2])
    ]
    expected += ["electricity.csv:122: ", "electricity.csv:123: "]
    expected += [f"notices.csv:{notice}: ", f"scopes.csv:{scope}: "]
    assert sorted(m[: m.index(": ") + 2] for m in found) == sorted(expected)


def test_an_older_six_grid_year_cannot_use_a_seven_grid_code(folder: Path) -> None:
    rows = folder / "electricity.csv"
    old = "CN-GRID-CENTRAL-2012-average,CN-GRID-CENTRAL,2012,average,0.5257,2024-12,unverified\n"
    rows.write_text(rows.read_text("utf-8") + old)
    (mistake,) = mistakes(folder)
    assert "six" in mistake


def test_a_missing_file_and_a_wrong_header_are_mistakes_too(folder: Path) -> None:
    (folder / "scopes.csv").unlink()
    edit(folder / "notices.csv", "notice,issuer", "notice,author")
    found = mistakes(folder)
    assert any(m.startswith("scopes.csv: cannot be read") for m in found)
    assert any(m.startswith("notices.csv:1: columns") for m in found)


def test_a_file_saved_by_a_spreadsheet_with_a_byte_order_mark_is_read(folder: Path) -> None:
    path = folder / "electricity.csv"
    path.write_text(path.read_text("utf-8"), "utf-8-sig")
    assert FactorTable.load(folder) == TABLE


def test_a_corrected_notice_gets_its_own_id_and_comes_first(folder: Path) -> None:
    rows = folder / "electricity.csv"
    corrected = "CN-AH-2021-average-r2,CN-AH,2021,average,0.7076,2024-33,one_source\n"
    rows.write_text(rows.read_text("utf-8") + corrected)
    found = FactorTable.load(folder).find("CN-AH", "average", 2021)
    assert [f.value_text for f in found] == ["0.7076", "0.7075"]


def test_our_data_equals_the_shared_table() -> None:
    folder = os.environ.get("TANYUN_SHARED")
    if not folder or not Path(folder, "factors", "grid_factors_cn.csv").exists():
        pytest.skip("TANYUN_SHARED names no folder with factors/grid_factors_cn.csv")
    text = Path(folder, "factors", "grid_factors_cn.csv").read_text("utf-8")
    shared = {
        f"{r['scope_code']}-{r['year']}-{r['kind']}": (
            r["factor_kgco2_per_kwh"],
            r["published"],
            r["verified"],
        )
        for r in csv.DictReader(text.splitlines())
        if r["year"] in {"2021", "2022", "2023"}
        and r["kind"] in {"average", "average_excl_market_nonfossil", "fossil_power"}
    }
    ours = {f.id: (f.value_text, str(f.published), f.verified) for f in TABLE.factors.values()}
    assert ours == shared
