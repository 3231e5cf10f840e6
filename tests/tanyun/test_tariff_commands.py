"""`tanyun tariff`: the official calendars as people read them, and a calendar of one's own checked before it is imported."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from factors.tariffs import official
from tanyun.commands.tariff import tariff


def run(*arguments: str) -> Result:
    return CliRunner().invoke(tariff, list(arguments))


def test_every_official_calendar_is_listed_with_its_notice_and_mark() -> None:
    done = run("show")
    assert done.exit_code == 0
    for item in official().values():
        line = next(line for line in done.output.splitlines() if line.split()[:1] == [item.id])
        assert item.notice in line
        assert item.verified in line
    assert [item["id"] for item in json.loads(run("show", "--json").output)] == list(official())


def test_a_day_is_shown_by_the_hour_and_a_make_up_day_is_a_working_day() -> None:
    worked = run("show", "cn-ah-2025-302-industry", "--day", "2026-10-10").output
    assert "2026-10-10 workday" in worked
    off = run("show", "cn-ah-2025-302-industry", "--day", "2026-10-05").output
    assert "2026-10-05 holiday" in off
    assert "11:00  深谷 deep valley" in off
    assert "11:00  低谷 valley" in worked


def test_an_unknown_calendar_is_an_error_that_names_it() -> None:
    done = run("show", "cn-xx")
    assert done.exit_code != 0
    assert "cn-xx" in done.output


def test_a_whole_calendar_passes_and_shows_its_hours_by_month(tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    file.write_text(
        "1-12 工作日：峰 08:00-20:00；谷 20:00-08:00\n1-12 周末，节假日：深谷 00:00-24:00\n", encoding="utf-8"
    )
    done = run("check", str(file))
    assert done.exit_code == 0, done.output
    assert (
        len([line for line in done.output.splitlines() if line.split()[1:] == ["0", "12", "0", "12", "0"]])
        == 12
    )


def test_every_mistake_of_a_file_is_named(tmp_path: Path) -> None:
    text, toml = tmp_path / "own.txt", tmp_path / "own.toml"
    text.write_text("1-6: peak 08:10-20:00; flat 20:00-08:10\n3: flat 00:00-23:00", encoding="utf-8")
    done = run("check", str(text))
    assert done.exit_code != 0
    assert "08:10 is not on a quarter hour" in done.output
    assert "23:00-24:00 belongs to no period" in done.output
    toml.write_text(
        '[[tariff]]\nid = "a"\nverified = "surely"\nvalid_from = "soon"\nperiods = "1-2: flat 00:00-24:00"\n'
    )
    done = run("check", str(toml))
    assert done.exit_code != 0
    for part in ("notice is missing", "'surely'", "valid_from is not a date", "month 3: no line"):
        assert part in done.output
