"""Gauges: what a three-phase meter shows besides its totals, consistent with its power. Pure, and for display only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

_PHASES = ("l1", "l2", "l3")
_PER_PHASE = ("power_active", "voltage", "current")
GAUGES = frozenset(
    {"power_active", "power_reactive", "power_apparent", "power_factor", "frequency"}
    | {f"{name}_{phase}" for name in _PER_PHASE for phase in _PHASES}
)
_SECOND_MS = 1000


@dataclass(frozen=True, slots=True)
class Electrics:
    """What makes one meter's gauges differ from another's."""

    seed: str
    meter: str
    nominal_v: int
    reactive_permille: int
    """Reactive power per active power."""
    single_phase: bool = False
    """Everything flows through l1."""


def gauges(electrics: Electrics, power_w: int, t_ms: int) -> Mapping[str, float]:
    """Reading type → value in base units on the primary side; voltage and frequency waver from second to second."""
    noise = [byte / 127.5 - 1 for byte in _noise(electrics, t_ms)]
    reactive = power_w * electrics.reactive_permille / 1000
    apparent = math.hypot(power_w, reactive)
    values = {
        "power_active": float(power_w),
        "power_reactive": reactive,
        "power_apparent": apparent,
        "power_factor": power_w / apparent if apparent else 1.0,
        "frequency": 50 + 0.03 * noise[0],
    }
    tilt = 0.02 * noise[1]
    for phase, part, wobble in zip(_PHASES, (1 + tilt, 1 - tilt, 1.0), noise[2:], strict=False):
        voltage = electrics.nominal_v * (1 + 0.012 * wobble)
        values[f"voltage_{phase}"] = voltage
        values[f"current_{phase}"] = apparent * part / 3 / voltage
        values[f"power_active_{phase}"] = power_w * part / 3
    if electrics.single_phase:
        values["current_l1"], values["power_active_l1"] = apparent / values["voltage_l1"], float(power_w)
    return values


def _noise(electrics: Electrics, t_ms: int) -> bytes:
    return sha256(f"{electrics.seed}\n{electrics.meter}\ngauges\n{t_ms // _SECOND_MS}".encode()).digest()
