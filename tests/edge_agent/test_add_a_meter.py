"""The page on adding a meter shows what works: its examples are linted as they stand."""

import re
from pathlib import Path

from edge_agent.profile_lint import lint
from edge_agent.wiretypes import WIRE

PAGE = (Path(__file__).parents[2] / "docs" / "add-a-meter.md").read_text(encoding="utf-8")
WHOLE, MORE, FAMILY = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


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


def test_the_table_names_every_kind_of_type_and_every_width() -> None:
    rows = dict(re.findall(r"^\| (`.*?) \| ([0-9, …]+) \|", PAGE, re.MULTILINE))
    for name, wire in WIRE.items():
        [bits] = [bits for kinds, bits in rows.items() if f"`{wire.coding}…`" in kinds]
        assert str(wire.bits) in bits or "…" in bits, name
