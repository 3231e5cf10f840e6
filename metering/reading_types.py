"""Reading types: what is measured. The names appear in profiles, births, the ledger and the API."""

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """How a reading type accumulates."""

    TOTAL = "total"
    """A cumulative reading; the ledger takes differences of it."""
    GAUGE = "gauge"
    """An instantaneous reading; shown, never summed."""


class ReadingType(NamedTuple):
    """One thing that is measured; `unit` is the base unit of its readings."""

    name: str
    unit: str
    kind: Kind
    label_zh: str
    label_en: str


def _total(name: str, unit: str, zh: str, en: str) -> ReadingType:
    return ReadingType(name, unit, Kind.TOTAL, zh, en)


def _gauge(name: str, unit: str, zh: str, en: str) -> ReadingType:
    return ReadingType(name, unit, Kind.GAUGE, zh, en)


_ALL = (
    _total("energy_import_total", "Wh", "正向有功电能", "Active energy, import"),
    _total("energy_export_total", "Wh", "反向有功电能", "Active energy, export"),
    _total("energy_generation_total", "Wh", "发电量", "Active energy, generated"),
    _total("energy_integrated_total", "Wh", "有功电能（由功率积分）", "Active energy, integrated from power"),
    _total("reactive_import_total", "varh", "正向无功电能", "Reactive energy, import"),
    _total("reactive_export_total", "varh", "反向无功电能", "Reactive energy, export"),
    _total("volume_total", "L", "累计体积", "Volume"),
    _total("heat_total", "kJ", "累计热量", "Heat"),
    _gauge("power_active", "W", "有功功率", "Active power"),
    _gauge("power_active_l1", "W", "A相有功功率", "Active power L1"),
    _gauge("power_active_l2", "W", "B相有功功率", "Active power L2"),
    _gauge("power_active_l3", "W", "C相有功功率", "Active power L3"),
    _gauge("power_reactive", "var", "无功功率", "Reactive power"),
    _gauge("power_apparent", "VA", "视在功率", "Apparent power"),
    _gauge("voltage_l1", "V", "A相电压", "Voltage L1"),
    _gauge("voltage_l2", "V", "B相电压", "Voltage L2"),
    _gauge("voltage_l3", "V", "C相电压", "Voltage L3"),
    _gauge("current_l1", "A", "A相电流", "Current L1"),
    _gauge("current_l2", "A", "B相电流", "Current L2"),
    _gauge("current_l3", "A", "C相电流", "Current L3"),
    _gauge("power_factor", "1", "功率因数", "Power factor"),
    _gauge("frequency", "Hz", "频率", "Frequency"),
    _gauge("temperature_1", "degC", "供水温度", "Temperature 1"),
    _gauge("temperature_2", "degC", "回水温度", "Temperature 2"),
    _gauge("flow", "L/h", "瞬时流量", "Flow"),
    _gauge("power_thermal", "W", "热功率", "Thermal power"),
)

READING_TYPES: dict[str, ReadingType] = {item.name: item for item in _ALL}

INTEGRATED = {"power_active": "energy_integrated_total"}
"""Gauge → the total that the stream makes of it for a meter without totals. No meter says such a total itself."""
