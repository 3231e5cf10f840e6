"""What is committed is what the code builds, it fits Grafana's published types, and its names hold together."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dashboards import build, names, provisioning, rendered
from dashboards.settings import GrafanaSettings
from metering.config import load_toml

HERE = Path(__file__).parent
DEPLOY = HERE.parents[1] / "deploy" / "grafana"
KINDS = {"state-timeline": "statetimeline"}
BOARDS = rendered.boards()


def schema(name: str) -> dict[str, Any]:
    out: dict[str, Any] = json.loads((HERE / "schema" / f"{name}.schema.json").read_text(encoding="utf-8"))
    return out


def each_board() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("board", BOARDS, ids=[board["uid"] for board in BOARDS])


def test_the_committed_files_are_what_the_code_builds_byte_for_byte() -> None:
    built = build.files()
    assert {path.name for path in rendered.FOLDER.glob("*.json")} == set(built)
    for name, text in built.items():
        assert (rendered.FOLDER / name).read_text(encoding="utf-8") == text, (
            f"run: python -m dashboards.build ({name})"
        )


def test_the_files_in_deploy_are_what_render_writes_byte_for_byte() -> None:
    settings = load_toml(DEPLOY / "grafana.toml", GrafanaSettings)
    written = provisioning.files(settings)
    there = {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.suffix in {".yaml", ".json"}}
    assert there == set(written)
    for name, text in written.items():
        assert (DEPLOY / name).read_text(encoding="utf-8") == text, (
            f"run: tanyun grafana render (docs/grafana.md) {name}"
        )


@each_board()
def test_a_dashboard_fits_the_schema_of_grafanas_types(board: dict[str, Any]) -> None:
    jsonschema.validate(board, schema("dashboard"))


@each_board()
def test_panels_fit_the_schemas_of_their_kinds(board: dict[str, Any]) -> None:
    for panel in board["panels"]:
        kind = KINDS.get(panel["type"], panel["type"])
        if kind in {"stat", "table", "timeseries", "statetimeline"}:
            jsonschema.validate(panel["options"], schema(f"{kind}-options"))
        if kind in {"timeseries", "statetimeline"}:
            jsonschema.validate(panel["fieldConfig"]["defaults"]["custom"], schema(f"{kind}-field"))


@each_board()
def test_panels_have_numbers_and_places_of_their_own(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@each_board()
def test_everything_points_at_what_exists(board: dict[str, Any]) -> None:
    uids = {other["uid"] for other in BOARDS}
    variables = {variable["name"] for variable in board["templating"]["list"]}
    text = json.dumps(board)
    assert "/d/" not in text or {part.split("?")[0] for part in text.split('"/d/')[1:]} <= uids
    for panel in board["panels"]:
        if panel["type"] in {"row", "alertlist"}:
            continue
        assert panel["datasource"]["uid"] == names.DATASOURCE
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == names.DATASOURCE
            used = {part.split(":")[0] for part in target["query"].split("${")[1:]}
            assert used <= variables, panel["title"]


def statements(value: object) -> Iterator[str]:
    """Every InfluxQL SELECT in a document."""
    if isinstance(value, dict):
        for found in value.values():
            yield from statements(found)
    elif isinstance(value, list):
        for found in value:
            yield from statements(found)
    elif isinstance(value, str) and value.startswith("SELECT "):
        yield value


def test_every_select_of_every_query_is_bounded_in_time_itself() -> None:
    """A bound that only the innermost SELECT has does not keep InfluxDB from opening every shard."""
    files = [json.loads(path.read_text(encoding="utf-8")) for path in rendered.FOLDER.glob("*.json")]
    found = list(statements(files))
    assert len(found) > len(BOARDS)
    for query in found:
        assert query.count("SELECT ") == query.count("$timeFilter") + query.count("time >"), query


def test_titles_are_chinese_with_english() -> None:
    for board in BOARDS:
        titles = [board["title"], *(p["title"] for p in board["panels"])]
        for title in titles:
            assert any("\u4e00" <= letter <= "\u9fff" for letter in title), title
            assert any(letter.isascii() and letter.isalpha() for letter in title), title


def test_uids_are_pinned_and_ours() -> None:
    assert [board["uid"] for board in BOARDS] == [
        "tanyun-fleet", "tanyun-substation", "tanyun-carbon", "tanyun-months", "tanyun-quality", "tanyun-pipeline",
    ]  # fmt: skip
    assert all(board["schemaVersion"] == 42 and "id" not in board for board in BOARDS)
