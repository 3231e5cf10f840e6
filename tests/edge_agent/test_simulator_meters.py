"""The demo park's meters: pure, additive, exact, and consistent in themselves."""

import os
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.profile import bundled_profiles
from edge_agent.registers import decode
from edge_agent.simulator.config import SimulatorConfigError, load_config, parse_config
from edge_agent.simulator.load import ANCHOR_MS, SLOT_MS, WMS_PER_WH, slot_of
from edge_agent.simulator.meters import SimulatedMeter, build_meters, check_meters, expected_totals
from metering.intervals import local_month
from metering.registry import load_registry
from metering.units import UNITS

REPO = Path(__file__).parents[2]
DEMO = REPO / "tanyun" / "demo"
CONFIG = load_config(DEMO / "simulator.toml")
PARK = load_registry(DEMO / "park.toml")
METERS, AGAIN = build_meters(CONFIG), build_meters(CONFIG)
SPANS = [local_month(month, ZoneInfo("Asia/Shanghai")) for month in ("2024-02", "2026-10", "2027-12")]
ticks = st.integers(0, 4 * 35_040).map(lambda slot: ANCHOR_MS + slot * SLOT_MS)


def position(meter: str, name: str, t_ms: int) -> int:
    flows = METERS[meter].flows
    flow = {"import": flows.imported, "export": flows.exported, "generation": flows.generated}[name]
    return flow.position(t_ms)


def shown(meter: SimulatedMeter, name: str, t_ms: int) -> int | float:
    """A register's raw value as an image carries it."""
    register = next(register for register in meter.profile.registers if register.reading_type == name)
    area = meter.image(t_ms)[register.fc]
    raw = decode(register, area.words[register.addr - area.first : register.end - area.first])
    assert raw is not None
    return raw


def test_another_process_gives_the_same_answer() -> None:
    code = (
        "from pathlib import Path; from edge_agent.simulator.config import load_config;"
        "from edge_agent.simulator.meters import expected_totals;"
        f"print(sorted(expected_totals(load_config(Path({str(DEMO / 'simulator.toml')!r})), {SPANS[1].end_ms}).items()))"
    )
    env = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(REPO)}
    answer = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == str(sorted(expected_totals(CONFIG, SPANS[1].end_ms).items()))


@given(st.lists(ticks, min_size=2, max_size=4))
def test_images_do_not_depend_on_the_order_they_are_asked_in(times: list[int]) -> None:
    meter = METERS["hj-gate"]
    forward = {t_ms: meter.image(t_ms) for t_ms in times}
    assert {t_ms: AGAIN["hj-gate"].image(t_ms) for t_ms in reversed(times)} == forward


@given(st.lists(ticks, min_size=2, max_size=5).map(sorted))
def test_no_total_ever_falls(times: list[int]) -> None:
    for before, after in pairwise(times):
        for meter in METERS.values():
            earlier, later = meter.totals(before), meter.totals(after)
            assert all(earlier[name] <= later[name] for name in earlier)


@given(ticks)
def test_a_feeder_is_its_children_and_their_losses_at_every_tick(t_ms: int) -> None:
    for parent, children, permille in (
        ("hj-feeder", ("hj-line1", "hj-line2"), 22),
        ("yt-gate", ("yt-floors", "yt-servers", "yt-lighting", "yt-shop"), 18),
    ):
        below = sum(position(child, "import", t_ms) for child in children)
        assert position(parent, "import", t_ms) * 1000 == below * (1000 + permille)


@given(ticks)
def test_a_two_way_boundary_balances_load_and_pv_at_every_tick(t_ms: int) -> None:
    net = position("hj-gate", "import", t_ms) - position("hj-gate", "export", t_ms)
    load = position("hj-feeder", "import", t_ms) * 1015
    assert net * 1000 == load - 1000 * position("hj-pv", "generation", t_ms)


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("meter", METERS)
def test_totals_at_month_edges_are_the_sums_of_the_slots(meter: str, span: tuple[int, int]) -> None:
    simulated = METERS[meter]
    name = "energy_generation_total" if meter.endswith("-pv") else "energy_import_total"
    flow = simulated.flows.generated if meter.endswith("-pv") else simulated.flows.imported
    register = next(register for register in simulated.profile.registers if register.reading_type == name)
    exponent = register.scale + (register.resolution or 0)
    per_count = UNITS[register.unit].factor * Fraction(10) ** exponent * simulated.spec.ct * simulated.spec.pt
    for edge in span:
        first, last = slot_of(ANCHOR_MS)[0], slot_of(edge)[0]
        energy_wh = simulated.spec.initial.get(name, 0) + Fraction(
            sum(flow.slots(first, last - first)), WMS_PER_WH
        )
        count = energy_wh // per_count
        assert simulated.totals(edge)[name] == count * per_count // 1
        raw = shown(simulated, name, edge)
        told = raw if register.resolution is None else round(raw * 10**-register.resolution)
        assert told == count % (register.rollover or 2**64)


@pytest.mark.parametrize("meter", METERS.values(), ids=METERS)
def test_gauges_agree_with_power_and_with_the_slot(meter: SimulatedMeter) -> None:
    registers = {register.reading_type: register for register in meter.profile.registers}
    electricity = 1 if meter.profile.kind == "pv_inverter" else 0
    for t_ms in range(SPANS[1].start_ms, SPANS[1].start_ms + 86_400_000, 4 * SLOT_MS):
        rises = [flow.position(t_ms + SLOT_MS) - flow.position(t_ms) for flow in meter.flows]
        power = (rises[2] if electricity else rises[0] - rises[1]) // SLOT_MS
        values = {}
        for name in ("power_active", "voltage_l1", "current_l1"):
            register = registers[name]
            values[name] = shown(meter, name, t_ms) * register.sign * float(UNITS[register.unit].factor)
            values[name] *= 10.0**register.scale
        ratio = float(meter.spec.ct * meter.spec.pt)
        assert values["power_active"] * ratio == pytest.approx(power, abs=ratio, rel=1e-3)
        assert values["voltage_l1"] * float(meter.spec.pt) == pytest.approx(meter.spec.nominal_v, rel=0.02)
        apparent = 3 * values["voltage_l1"] * values["current_l1"] * ratio
        assert abs(power) <= apparent * 1.05 + 100 * ratio


def test_a_load_file_drives_the_named_meter_and_all_above_it(tmp_path: Path) -> None:
    day = [f"1/10/2018 {(slot + 1) % 96 // 4}:{(slot + 1) % 4 * 15:02},{slot}.01" for slot in range(96)]
    file = tmp_path / "load.csv"
    file.write_text("\n".join(["date,Usage_kWh", *day]), encoding="utf-8")
    driven = CONFIG.driven_by(file)
    before, after = (
        expected_totals(driven, edge) for edge in (SPANS[1].start_ms, SPANS[1].start_ms + 96 * SLOT_MS)
    )
    key = ("hj-line1", "energy_import_total")
    assert after[key] - before[key] == sum(range(96)) * 1000 + 960
    meters = build_meters(driven)
    below = sum(meters[child].flows.imported.position(SPANS[1].end_ms) for child in ("hj-line1", "hj-line2"))
    assert meters["hj-feeder"].flows.imported.position(SPANS[1].end_ms) * 1000 // 1022 == below
    with pytest.raises(SimulatorConfigError, match="no meter 'x'"):
        CONFIG.driven_by(file, "x")


def test_registry_and_simulator_describe_the_same_demo_park() -> None:
    assert {gateway.id for gateway in PARK.gateways} == {server.gateway for server in CONFIG.servers}
    described = [(meter.id, meter.gateway, meter.profile, meter.ct, meter.pt) for meter in PARK.meters]
    assert described == [(m.id, m.gateway, m.profile, m.ct, m.pt) for m in CONFIG.meters]
    assert len({meter.profile for meter in PARK.meters}) >= 5
    for meter in PARK.meters:
        assert set(meter.roles) <= set(METERS[meter.id].totals(ANCHOR_MS))


def test_the_highest_power_and_one_count_in_ten_seconds_stay_below_the_registered_limit() -> None:
    for meter in PARK.meters:
        simulated = METERS[meter.id]
        peak = max(max(flow.slots(0, 28 * 96)) for flow in simulated.flows) // SLOT_MS
        assert meter.max_power_w is not None
        assert all(peak + simulated.steps[name] * 360 <= meter.max_power_w for name in meter.roles)


def test_the_demo_park_can_show_its_totals_for_another_ten_years() -> None:
    check_meters(METERS.values(), ANCHOR_MS + 12 * 366 * 86_400_000)


def test_a_float_total_that_loses_its_counts_is_refused_not_shown() -> None:
    lighting = {"id": "m", "gateway": "g", "unit": 1, "profile": "eastron_sdm630"}
    lighting["load"] = {"kind": "office", "rated_w": 400_000}
    config = parse_config({"seed": "s", "servers": [{"gateway": "g", "port": 0}], "meters": [lighting]})
    with pytest.raises(SimulatorConfigError, match=r"m: energy_import_total: float32 no longer tells"):
        check_meters(build_meters(config).values(), ANCHOR_MS + 366 * 86_400_000)


def test_a_current_that_its_register_cannot_hold_is_named_before_the_start() -> None:
    large = {"id": "m", "gateway": "g", "unit": 1, "profile": "acrel_dtsd1352"}
    large["load"] = {"kind": "factory", "rated_w": 5_000_000}
    config = parse_config({"seed": "s", "servers": [{"gateway": "g", "port": 0}], "meters": [large]})
    with pytest.raises(SimulatorConfigError, match="m: current_l1"):
        check_meters(build_meters(config).values(), ANCHOR_MS)


def test_every_bundled_electricity_profile_can_be_simulated() -> None:
    meters: list[dict[str, Any]] = [
        {
            "id": name,
            "gateway": "g",
            "unit": unit,
            "profile": name,
            "load": {"kind": "office", "rated_w": 2_000},
        }
        for unit, name in enumerate(bundled_profiles(), start=1)
        if not name.startswith(
            ("kamstrup", "tuf2000", "sunspec", "dlt645")
        )  # no electricity, no fixed address
    ]
    config = parse_config({"seed": "s", "servers": [{"gateway": "g", "port": 0}], "meters": meters})
    check_meters(build_meters(config).values(), SPANS[1].end_ms)


def test_all_mistakes_of_a_configuration_are_named_at_once() -> None:
    meter = {"gateway": "g", "unit": 1, "profile": "abb_b23", "load": {"kind": "office", "rated_w": 1}}
    document: dict[str, Any] = {
        "seed": "s",
        "load_file_meter": "nobody",
        "servers": [{"gateway": "g", "port": 0}],
        "meters": [
            {**meter, "id": "a", "ct": "400/5"},
            {**meter, "id": "a", "gateway": "h", "initial": {"volume_total": 1}},
            {**meter, "id": "b", "profile": "no_such", "load": {"kind": "sum_of", "children": ["c"]}},
        ],
    }
    with pytest.raises(SimulatorConfigError) as caught:
        parse_config(document)
    text = "\n".join(caught.value.mistakes)
    for part in (
        "id a is given 2 times",
        "unit on g 1",
        "no 'h'",
        "no 'c'",
        "'nobody'",
        "[0].ct",
        "volume_total",
        "no_such",
    ):
        assert part in text
    with pytest.raises(SimulatorConfigError, match=r"meters\[0\]\.load"):
        parse_config({**document, "meters": [{**meter, "id": "a", "load": {"kind": "office"}}]})


def test_a_meter_cannot_be_part_of_its_own_sum() -> None:
    meters = [
        {
            "id": a,
            "gateway": "g",
            "unit": unit,
            "profile": "abb_b23",
            "load": {"kind": "sum_of", "children": [b]},
        }
        for unit, (a, b) in enumerate([("a", "b"), ("b", "a")], start=1)
    ]
    with pytest.raises(SimulatorConfigError, match="a is part of its own sum"):
        parse_config({"seed": "s", "servers": [{"gateway": "g", "port": 0}], "meters": meters})
