"""Energy by time-of-use period of a closed month, as lines for InfluxDB."""

from pathlib import Path

import msgspec

from metering.registry import load_registry
from storage.months import MonthRow
from stream.projection.documents import closed
from stream.projection.schema import Tags
from tests.api.conftest import park_text


def test_every_period_of_the_scope_is_written_so_that_a_revision_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    file = tmp_path / "park.toml"
    file.write_text(park_text(), encoding="utf-8")
    document = {
        "start_ms": 1000, "formula": [], "meters": [], "checks": [], "emissions": [],
        "periods": [
            {"meter": "", "period": "peak", "energy_wh": "60000", "estimated_wh": "9", "share": "3/4"},
            {"meter": "", "period": "", "energy_wh": None, "estimated_wh": None, "share": None},
            {"meter": "a-in", "period": "peak", "energy_wh": "1", "estimated_wh": "0", "share": "1"},
        ],
    }  # fmt: skip
    row = MonthRow("2026-10", "enterprise", "ent-a", 1, "PASS", 1, None, msgspec.json.encode(document), "")
    lines = [line for line in closed(Tags(load_registry(file)), row) if line.startswith("period,")]
    kinds = {line.split("kind=")[1].split(",")[0]: line for line in lines}
    assert "energy_wh=60000.0,estimated_wh=9.0,share=0.75 1000" in kinds["peak"]
    assert {kind for kind, line in kinds.items() if "energy_wh=0.0" in line} == {
        "sharp",
        "flat",
        "valley",
        "deep",
    }
    assert "none" not in kinds, "not determined: no point, never zero"
