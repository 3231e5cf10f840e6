"""What the script of a pack finds by itself: quarter hours, days, bills, declared factors. Alone, in another folder."""

import json
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from metering.intervals import QUARTER_MS
from tests.verification.conftest import CLOSED_AT_MS, PARK, in_order
from tests.verification.test_declared import declared as series
from tests.verification.test_evidence import Edit, Packed, forged, recompute, replaced
from tests.verification.test_evidence_adjusted import SPAN, declared
from tests.verification.test_evidence_books import KEY, Billed, facts
from verification.document import parse
from verification.evidence import manifest as names
from verification.evidence import recompute_quarters
from verification.evidence.container import Container
from verification.evidence.recompute_quarters import DAY, Clock
from verification.evidence.verify import verify_pack

Forge = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    works = Billed(tmp_path_factory.mktemp("billed"), declared(PARK), SPAN)
    works.park = works.declarations()
    works.facts = [*in_order(works.park), *facts(), series()]
    works.build()
    return Packed(works, works.close(at_ms=CLOSED_AT_MS), KEY)


@pytest.fixture(scope="module")
def pack(packed: Packed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed.write(tmp_path_factory.mktemp("packs"), "jingmi")


def last_line(path: Path, folder: Path) -> str:
    done = recompute(path, folder)
    assert done.stderr == ""
    return done.stdout.splitlines()[-1]


def test_an_honest_pack_is_equal_and_tells_what_it_found(packed: Packed, pack: Path, tmp_path: Path) -> None:
    assert verify_pack(pack, KEY.public_key()).difference is None
    said = recompute(pack, tmp_path).stdout.splitlines()
    assert (said[0], said[-1]) == ("jingmi_2026-10_r1", "equal")
    document = parse(next(row.document for row in packed.rows if row.scope_id == "jingmi"))
    figures = dict(line.split(" = ", 1) for line in said if " = " in line and not line.startswith(" "))
    assert len(document.daily) == 31
    for day in document.daily:
        assert figures[f"daily[{day.day}].energy_wh"] == (day.energy_wh or "not determined")
    whole = next(line for line in document.declared if line.id == "scope")
    assert figures["declared[scope].emission_ug"] == (whole.emission_ug or "not determined")
    assert len(document.declared) > 2
    assert any(line.emission_ug is not None for line in document.declared[1:])
    metered = {line.id: line.metered for line in document.bills}
    assert {name for name, value in metered.items() if value is not None} == {"B-09", "B-10"}
    assert all(f"bills[{name}].metered" in figures for name in metered)


@pytest.mark.parametrize("scope", ["demo", "guangdian"])
def test_the_park_and_the_other_enterprise_are_equal_too(packed: Packed, tmp_path: Path, scope: str) -> None:
    assert last_line(packed.write(tmp_path, scope), tmp_path) == "equal"


def day(document: dict[str, Any]) -> None:
    line = document["daily"][7]
    line["energy_wh"] = str(int(line["energy_wh"]) - 1)


def emission_of_a_day(document: dict[str, Any]) -> None:
    document["daily"][30]["emission_ug"] = "1"


def bill(document: dict[str, Any]) -> None:
    line = next(line for line in document["bills"] if line["id"] == "B-09")
    line["metered"] = "12.5"


def unmetered_bill(document: dict[str, Any]) -> None:
    line = next(line for line in document["bills"] if line["id"] == "B-early")
    line["metered"] = "0"


def part(document: dict[str, Any]) -> None:
    line = next(line for line in document["declared"][1:] if line["emission_ug"] is not None)
    line["emission_ug"] = str(int(line["emission_ug"]) - 1)


def value_of_a_series(document: dict[str, Any]) -> None:
    document["series"][0]["values"] = document["series"][0]["values"].replace("0.70", "0.10", 1)


def part_left_out(document: dict[str, Any]) -> None:
    del document["declared"][1]


@pytest.mark.parametrize(
    ("forge", "place"),
    [
        (day, "document.json daily[2026-10-08].energy_wh"), (emission_of_a_day, "document.json daily[2026-10-31].emission_ug"),
        (bill, "document.json bills[B-09].metered"), (unmetered_bill, "document.json bills[B-early].metered"),
        (part, "document.json declared[m-"), (value_of_a_series, "document.json declared["),
        (part_left_out, "document.json declared[m-"),
    ],
)  # fmt: skip
def test_the_script_names_a_figure_that_its_signer_forged(
    pack: Path, tmp_path: Path, forge: Forge, place: str
) -> None:
    def edit(content: bytes) -> bytes:
        document = json.loads(content)
        forge(document)
        return json.dumps(document).encode()

    assert last_line(forged(pack, tmp_path, KEY, {names.DOCUMENT: edit}), tmp_path).startswith(
        f"DIFFERENT: {place}"
    )


def cell(meter: str, row: int, column: str, change: Callable[[str], str]) -> Edit:
    """Another cell in a row of a meter in ledger.csv."""

    def edit(content: bytes) -> bytes:
        lines = content.decode().split("\r\n")
        place = lines[0].removeprefix("\ufeff").split(",").index(column)
        at = [number for number, line in enumerate(lines) if line.startswith(f"{meter},")][row]
        cells = lines[at].split(",")
        cells[place] = change(cells[place])
        lines[at] = ",".join(cells)
        return "\r\n".join(lines).encode()

    return edit


def without_row(content: bytes) -> bytes:
    lines = content.decode().split("\r\n")
    return "\r\n".join([*lines[:1000], *lines[1001:]]).encode()


@pytest.mark.parametrize(
    ("edits", "place"),
    [
        ({names.LEDGER: cell("m-grid", 777, "closing", lambda text: str(int(text) + 1))}, "ledger.csv m-grid/energy_import_total"),
        ({names.LEDGER: cell("m-grid", 5, "emission_ug", lambda text: str(int(text) + 1))}, "ledger.csv m-grid/energy_import_total"),
        ({names.LEDGER: cell("m-grid", 2975, "closed", lambda _text: "0")}, "ledger.csv m-grid/energy_import_total"),
        ({names.LEDGER: without_row}, "ledger.csv m-grid/energy_import_total"),
        ({"facts/bill.csv": replaced("400.5", "401.5")}, "document.json bills[B-"),
    ],
)  # fmt: skip
def test_the_script_names_a_table_that_its_signer_forged(
    pack: Path, tmp_path: Path, edits: dict[str, Edit], place: str
) -> None:
    assert last_line(forged(pack, tmp_path, KEY, edits), tmp_path).startswith(f"DIFFERENT: {place}")


def test_intervals_of_a_bill_have_to_meet_the_month(pack: Path, tmp_path: Path) -> None:
    with Container(pack) as container:
        last = container.read(names.BILL_LEDGER).decode().rstrip().split("\r\n")[-1]
    cells = last.split(",")
    cells[7] = str(int(cells[7]) + 1)
    path = forged(pack, tmp_path, KEY, {names.BILL_LEDGER: replaced(last, ",".join(cells))})
    assert "bill-intervals.csv" in last_line(path, tmp_path)


@pytest.mark.parametrize("known", [True, False])
def test_midnights_are_those_of_the_zone(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer without a table of zones has them too, where days have 24 hours."""

    def none(name: str) -> None:
        raise KeyError(name)

    if not known:
        monkeypatch.setattr(recompute_quarters, "ZoneInfo", none)
    clock = Clock({"month": "2026-10", "start_ms": SPAN.start_ms, "zone": "Asia/Shanghai"})
    days = list(clock.days(date(2026, 9, 25), date(2026, 11, 1)))
    assert all(end - start == DAY for _day, start, end in days)
    assert all(end == start for (_d, _s, end), (_e, start, _f) in pairwise(days))
    assert (clock.midnight(date(2026, 10, 1)), days[-1][2]) == SPAN
    assert (days[-1][2] - SPAN.start_ms) % QUARTER_MS == 0


def test_a_day_of_a_changed_clock_has_its_own_length() -> None:
    clock = Clock({"month": "2026-10", "start_ms": 0, "zone": "Europe/Berlin"})
    lengths = {
        str(day): (end - start) // 3_600_000
        for day, start, end in clock.days(date(2026, 10, 24), date(2026, 10, 27))
    }
    assert lengths == {"2026-10-24": 24, "2026-10-25": 25, "2026-10-26": 24}
