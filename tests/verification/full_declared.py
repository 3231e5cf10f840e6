"""Lines of declared factors for the month document with something in every table."""

from factors.series import Series
from verification.declared_lines import DeclaredLine


def values() -> dict[str, object]:
    """`series` and `declared`: a long series, parts with and without a factor, and a figure that is not determined."""
    start_ms = 1_790_784_000_000
    series = Series(
        id="jingmi/*/2026-09-30T16:00Z", enterprise="jingmi", meter="", basis="contract", label="绿色供电合同", source="皖电售 2026-118",
        document_sha256="c7" * 32, declared_by="李梅", start_ms=start_ms, end_ms=start_ms + 60 * 900_000, step_ms=900_000,
        values=" ".join([f"0.{i:04}" for i in range(59)] + ["-"]),
    )  # fmt: skip
    lines = [_line("", series.id, "", str(10**9))]
    lines += [_line("m-grid", series.id, f"0.{i:04}", str(10**7 + i)) for i in range(59)]
    return {"series": (series,), "declared": (*lines, _line("m-grid", "", "", None))}


def _line(meter: str, series: str, factor: str, energy: str | None) -> DeclaredLine:
    return DeclaredLine(
        id=f"{meter or 'scope'}/{series}/{factor}", meter=meter, reading_type="energy_import_total" if meter else "",
        role="grid_boundary" if meter else "", sign=1, series=series if meter else "", factor_kg_per_kwh=factor,
        factor_ug_per_wh="530600" if factor else None, energy_wh=energy, estimated_wh=energy and "7", emission_ug=energy,
    )  # fmt: skip
