"""Units that a meter may declare, and the integer base unit each one counts in."""

from fractions import Fraction
from typing import NamedTuple


class Unit(NamedTuple):
    """A declared unit: `base` is the unit the ledger counts in, `factor` base units per declared unit."""

    base: str
    factor: Fraction


def _unit(base: str, factor: str | int = 1) -> Unit:
    return Unit(base, Fraction(factor))


UNITS: dict[str, Unit] = {
    "Wh": _unit("Wh"), "kWh": _unit("Wh", 1_000), "MWh": _unit("Wh", 1_000_000),
    "varh": _unit("varh"), "kvarh": _unit("varh", 1_000), "Mvarh": _unit("varh", 1_000_000),
    "W": _unit("W"), "kW": _unit("W", 1_000), "MW": _unit("W", 1_000_000),
    "var": _unit("var"), "kvar": _unit("var", 1_000),
    "VA": _unit("VA"), "kVA": _unit("VA", 1_000),
    "V": _unit("V"), "kV": _unit("V", 1_000), "mV": _unit("V", "0.001"),
    "A": _unit("A"), "mA": _unit("A", "0.001"),
    "Hz": _unit("Hz"), "1": _unit("1"), "%": _unit("1", "0.01"),
    "degC": _unit("degC"),
    "L": _unit("L"), "m3": _unit("L", 1_000),
    "L/h": _unit("L/h"), "m3/h": _unit("L/h", 1_000),
    "kJ": _unit("kJ"), "MJ": _unit("kJ", 1_000), "GJ": _unit("kJ", 1_000_000),
}  # fmt: skip
"""Raw unit name → base unit and exact ratio. SI prefixes; 1 Wh of heat is not listed because heat counts in kJ."""
