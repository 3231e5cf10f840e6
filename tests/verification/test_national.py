"""Items for the national system: by its field names, from a closed month, never a zero for what is not known."""

import csv
import io
import json
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from metering.config import ConfigError
from storage.facts.kinds import EnergyFact, ProductionFact
from storage.months import MonthRow
from tanyun.commands import group
from tests.verification.conftest import Plant
from verification.document import MonthDocument, parse
from verification.national.adaptors import ADAPTORS
from verification.national.items import ItemRule, UnitError, _text, load_rules, upload

POWER, COAL, GAS, OUTPUT = (f"00-00-0000-{n:06}-11" for n in (13300, 900000, 11500, 910000))
FIELDS = {"dataCode", "dataValue", "inputType", "statType", "statDate", "uploadDate", "scope", "valid"}


def rule(figure: str, code: str, unit: str, **more: object) -> ItemRule:
    return ItemRule.model_validate({"figure": figure, "code": code, "unit": unit} | more)


RULES = [
    rule("electricity", POWER, "1e4kWh", daily=True),
    rule("natural_gas", GAS, "1e4Nm3", input_type=5, enterprises=["jingmi"]),
    rule("output", OUTPUT, "万元", input_type=5),
]


@pytest.fixture
def rows(plant: Plant) -> list[MonthRow]:
    plant.facts.append(
        EnergyFact(enterprise="jingmi", month="2026-10", energy="natural_gas", unit="Nm3", consumed="30123.5")  # type: ignore[arg-type]  # as typed
    )
    plant.facts.append(ProductionFact(enterprise="jingmi", month="2026-10", output_10k_cny="1850.5"))  # type: ignore[arg-type]  # as typed
    plant.build()
    return plant.close()


def document(rows: list[MonthRow], scope: str) -> MonthDocument:
    return parse(next(row.document for row in rows if row.scope_id == scope))


def test_an_enterprise_uploads_its_days_and_its_month(plant: Plant, rows: list[MonthRow]) -> None:
    found = upload(document(rows, "jingmi"), RULES)
    assert found.missing == found.warnings == ()
    body = json.loads(ADAPTORS["json"].write(found))
    assert body["enterpriseCode"] == "91340100DEMO000001"
    assert all(set(item) == FIELDS for item in body["data"])
    days = [item for item in body["data"] if item["statType"] == 1]
    assert len(days) == 31
    assert days[0]["statDate"] == "2026-10-01 00:00:00"
    month = {item["dataCode"]: item for item in body["data"] if item["statType"] == 2}
    expected = plant.expected(("m-grid", "energy_import_total")) - plant.expected(
        ("m-resold", "energy_import_total")
    )
    assert Fraction(month[POWER]["dataValue"]) == Fraction(expected, 10**7)
    assert sum(Fraction(item["dataValue"]) for item in days) == Fraction(expected, 10**7)
    assert (month[GAS]["dataValue"], month[GAS]["inputType"]) == ("3.01235", 5)
    assert month[OUTPUT]["dataValue"] == "1850.5"
    assert month[OUTPUT]["uploadDate"] == "2026-11-02 09:00:00"


def test_what_is_not_known_makes_no_item_and_is_named(rows: list[MonthRow]) -> None:
    found = upload(document(rows, "guangdian"), RULES)
    assert found.missing == ("output 2026-10",)
    assert {item.dataCode for item in found.envelope.data} == {POWER}  # gas is another enterprise's
    assert any("credit code" in warning for warning in found.warnings)


def test_days_that_do_not_add_up_to_the_month_are_named(rows: list[MonthRow]) -> None:
    whole = document(rows, "jingmi")
    half = msgspec.structs.replace(whole, daily=whole.daily[:15])
    (warning,) = upload(half, RULES[:1]).warnings
    assert POWER in warning


def test_a_table_has_the_same_items(rows: list[MonthRow]) -> None:
    found = upload(document(rows, "jingmi"), RULES)
    table = list(csv.DictReader(io.StringIO(ADAPTORS["csv"].write(found).decode("utf-8-sig"))))
    assert len(table) == len(found.envelope.data)
    assert {row["enterpriseCode"] for row in table} == {"91340100DEMO000001"}
    assert [row["dataValue"] for row in table] == [item.dataValue for item in found.envelope.data]


def test_a_unit_that_cannot_be_reached_is_refused(rows: list[MonthRow]) -> None:
    with pytest.raises(UnitError, match="GJ"):
        upload(document(rows, "jingmi"), [rule("electricity", POWER, "GJ")])


def test_every_mistake_of_the_list_is_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "codes.toml"
    file.write_text(
        '[[item]]\nfigure = "electricity"\ncode = "0133"\nunit = "kWh"\n'
        f'[[item]]\nfigure = "output"\ncode = "{COAL}"\nunit = "万元"\ndaily = true\nspare = 1\n',
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as error:
        load_rules(file)
    assert "item[0].code" in str(error.value)
    assert "spare" in str(error.value)


@given(st.fractions(min_value=-(10**9), max_value=10**9))
def test_a_value_is_rounded_half_up_to_six_places(value: Fraction) -> None:
    sent = Fraction(_text(value))
    assert abs(sent - value) <= Fraction(1, 2 * 10**6)
    assert len(_text(value).partition(".")[2]) <= 6


@pytest.mark.usefixtures("rows")
def test_the_command_writes_a_file_per_enterprise(tmp_path: Path) -> None:
    (tmp_path / "months.db").symlink_to(tmp_path / "months.sqlite")
    (tmp_path / "park.toml").write_text(
        'id = "demo"\nname = "园"\ngrid_scope = "CN-AH"\nenterprises = [{ id = "jingmi", name = "甲" }]\n'
        'sites = [{ id = "s", enterprise = "jingmi", name = "s" }]\ngateways = [{ id = "g", site = "s" }]\n'
        'meters = [{ id = "m", gateway = "g", roles = { energy_import_total = "grid_boundary" } }]\n',
        encoding="utf-8",
    )
    (tmp_path / "server.toml").write_text(
        'registry = "park.toml"\ndata = "."\nreports = "reports"\n[broker]\nhost = "127.0.0.1"\nuser = "u"\npassword_file = "p"\n',
        encoding="utf-8",
    )
    (tmp_path / "codes.toml").write_text(
        f'[[item]]\nfigure = "electricity"\ncode = "{POWER}"\nunit = "kWh"\n', encoding="utf-8"
    )
    words = [
        "export",
        "national",
        "--config",
        str(tmp_path / "server.toml"),
        "--codes",
        str(tmp_path / "codes.toml"),
    ]
    done = CliRunner().invoke(group.root, [*words, "--month", "2026-10", "--format", "csv"])
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "reports" / "national").glob("*_national.csv"))) == 2
    assert CliRunner().invoke(group.root, [*words, "--month", "2026-09"]).exit_code == 1
