"""`tanyun profile lint`: every mistake with its line, remarks apart, and an exit code that a script can use."""

import json
from importlib import resources
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_agent import profile_lint
from edge_agent.profile import bundled_families, bundled_profiles
from edge_agent.profile_lint import line_of, lint
from tanyun.commands.group import root

BAD = """\
vendor = "V"
model = "M"
revision = 1
kind = "electricity"
ratio_applied_in_meter = false

[sources]
S1 = "a manual"

[limits]
max_registers = 60
forbidden = [{ fc = 3, first = 90, last = 99 }]

[[register]]
reading_type = "energy_import_total"
addr = 40011
fc = 3
type = "bcd32"
unit = "kWh"
rollover = 1_000_000_000
source = ["S1"]
confidence = "A"

[[register]]
reading_type = "power_active"
addr = 12
fc = 3
type = "uint20"
unit = "kW"
source = []

[[register]]
reading_type = "voltage_l1"
addr = 20
fc = 3
type = "uint32"
unit = "V"
scale_register = { addr = 70000 }
source = ["S1"]
confidence = "A"

[[register]]
reading_type = "voltage_l2"
addr = 21
fc = 3
type = "uint16"
word_order = "low_first"
unit = "V"
source = ["S9"]
confidence = "A"

[[register]]
reading_type = "colour"
addr = 30
fc = 3
type = "int32"
order = "ABCC"
unit = "V"
source = ["S1"]
confidence = "A"

[[register]]
reading_type = "voltage_l3"
addr = 98
fc = 3
type = "int32"
align = "high"
unit = "V"
scale = 40
invalid = [0x1FFFFFFFF]
source = ["S1"]
confidence = "A"
"""
MISTAKES = {
    (16, "register[0].addr"),
    (20, "register[0].rollover"),
    (28, "register[1].type"),
    (30, "register[1].source"),
    (24, "register[1].confidence"),
    (38, "register[2].scale_register.addr"),
    (44, "register[3].addr"),
    (47, "register[3].word_order"),
    (49, "register[3].source"),
    (53, "register[4].reading_type"),
    (57, "register[4].order"),
    (64, "register[5].addr"),
    (67, "register[5].align"),
    (69, "register[5].scale"),
    (70, "register[5].invalid"),
}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(root, ["profile", *arguments])


def test_every_mistake_is_told_at_once_and_with_its_line() -> None:
    found = lint("mine", BAD)
    assert {(item.line, item.key) for item in found} == MISTAKES
    assert {item.severity for item in found} == {"mistake"}


def test_the_command_tells_files_lines_and_keys_and_fails(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(BAD, encoding="utf-8")
    told = run("lint", str(path))
    assert told.exit_code == 1
    assert f"{path}:16: " in told.output
    assert "register[0].addr: 40011 " in told.output
    found = json.loads(run("lint", "--json", str(path)).stdout)
    assert {(item["line"], item["key"]) for item in found} == MISTAKES
    assert {item["file"] for item in found} == {str(path)}


def test_a_file_that_is_no_toml_is_told_with_the_line_where_it_ends_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('vendor = "V"\nmodel = \n', encoding="utf-8")
    told = run("lint", str(path))
    assert told.exit_code == 1
    assert f"{path}:2: " in told.output


def test_a_file_that_is_not_there_is_another_failure(tmp_path: Path) -> None:
    assert run("lint", str(tmp_path / "none.toml")).exit_code == 78


@pytest.mark.parametrize("name", [*bundled_profiles(), *(f"families/{name}" for name in bundled_families())])
def test_the_bundled_profiles_have_no_mistake(name: str) -> None:
    with resources.as_file(resources.files("edge_agent") / "profiles" / f"{name}.toml") as path:
        told = run("lint", str(path))
        assert told.exit_code == 0, told.output


def test_what_is_weak_is_a_remark_and_fails_only_when_asked_to(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    with resources.as_file(resources.files("edge_agent") / "profiles" / "kamstrup_multical403.toml") as good:
        path.write_text(good.read_text(encoding="utf-8"), encoding="utf-8")
    found = json.loads(run("lint", "--json", str(path)).stdout)
    assert {item["severity"] for item in found} == {"remark"}
    assert {item["key"] for item in found} >= {"register", "serial", "sources.S2", "unverified[0]"}
    assert (run("lint", str(path)).exit_code, run("lint", "--strict", str(path)).exit_code) == (0, 1)


def test_a_family_is_looked_over_with_the_profiles_it_names(tmp_path: Path) -> None:
    head = 'vendor = "V"\nmodel = "M"\n[sources]\nS1 = "x"\n'
    variants = '[[variant]]\nprofile = "none.toml"\n[[variant]]\nprofile = "abb_b23"\n'
    path = tmp_path / "family.toml"
    path.write_text(head + variants, encoding="utf-8")
    [found] = lint("family", path.read_text(encoding="utf-8"), tmp_path)
    assert (found.line, found.key, found.severity) == (6, "variant[0].profile", "mistake")
    path.write_text(head + variants.replace("none.toml", "abb_b23"), encoding="utf-8")
    remarks = lint("family", path.read_text(encoding="utf-8"), tmp_path)
    assert [(item.line, item.severity) for item in remarks] == [(5, "remark"), (7, "remark")]


def test_a_key_without_a_line_of_its_own_is_told_by_what_is_around_it() -> None:
    assert line_of(BAD, "register[2].scale_register.addr") == 38
    assert line_of(BAD, "limits.forbidden[0].first") == 12
    assert line_of(BAD, "register[4].confidence") == 60
    assert line_of(BAD, "register[99].addr") == 14
    assert line_of(BAD, "nothing") is None


def test_the_list_names_profiles_and_families() -> None:
    told = json.loads(run("list", "--json").stdout)
    assert "dlt645_2007" in told["profiles"]
    assert told["families"] == ["chint_dtsu666"]


def test_a_chinese_sentence_keeps_its_key_and_line() -> None:
    found = profile_lint._finding("mistake", "register[2].scale_register.addr：超过 65535", BAD)
    assert (found.key, found.line, found.text) == ("register[2].scale_register.addr", 38, "超过 65535")
