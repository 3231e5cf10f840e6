"""Meter roles: what a measured flow means for the enterprise's boundary (design: every meter has a role, formulas add roles)."""

from enum import StrEnum


class Role(StrEnum):
    """The role of one total of one meter. A two-way 关口 meter has two: import is `grid_boundary`, export is `export`."""

    GRID_BOUNDARY = "grid_boundary"
    SUB_METER = "sub_meter"
    PV_GENERATION = "pv_generation"
    EXPORT = "export"
    STORAGE = "storage"
    RESOLD = "resold"


ROLE_LABELS: dict[Role, tuple[str, str]] = {
    Role.GRID_BOUNDARY: ("关口", "Grid boundary"),
    Role.SUB_METER: ("分项", "Sub-meter"),
    Role.PV_GENERATION: ("光伏发电", "PV generation"),
    Role.EXPORT: ("上网", "Export"),
    Role.STORAGE: ("储能", "Storage"),
    Role.RESOLD: ("转供电", "Resold"),
}
"""Role → (Chinese, English)."""
