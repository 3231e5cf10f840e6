"""The page on adding a meter shows what works: its examples are linted as they stand."""

import re
import tomllib
from pathlib import Path

from edge_agent.profile_lint import lint
from edge_agent.wiretypes import WIRE
from metering.registry import parse_registry

PAGE = (Path(__file__).parents[2] / "docs" / "add-a-meter.md").read_text(encoding="utf-8")
WHOLE, MORE, FAMILY, POWER_ONLY = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def mistakes(text: str) -> list[str]:
    return [
        f"{item.line}: {item.key}: {item.text}" for item in lint("x100", text) if item.severity == "mistake"
    ]


def test_the_whole_example_has_no_mistake() -> None:
    assert mistakes(WHOLE) == []


def test_the_examples_of_combined_values_have_no_mistake() -> None:
    head = WHOLE[: WHOLE.index("[[register]]")]
    assert mistakes(head + MORE) == []


def test_the_example_of_a_family_has_no_mistake() -> None:
    assert mistakes(FAMILY) == []


def test_the_example_of_a_meter_without_totals_belongs_into_a_registry() -> None:
    park = parse_registry(
        {
            "id": "park", "name": "园区", "grid_scope": "CN-AH",
            "enterprises": [{"id": "e1", "name": "一"}], "sites": [{"id": "s1", "enterprise": "e1", "name": "东"}],
            "gateways": [{"id": "gw-1", "site": "s1"}], **tomllib.loads(POWER_ONLY),
        }
    )  # fmt: skip
    assert [meter.id for meter in park.meters] == ["pump"]


def test_the_table_names_every_kind_of_type_and_every_width() -> None:
    rows = dict(re.findall(r"^\| (`.*?) \| ([0-9, …]+) \|", PAGE, re.MULTILINE))
    for name, wire in WIRE.items():
        [bits] = [bits for kinds, bits in rows.items() if f"`{wire.coding}…`" in kinds]
        assert str(wire.bits) in bits or "…" in bits, name
