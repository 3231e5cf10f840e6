"""Lines of time-of-use periods for the month document with something in every table."""

from metering.periods import Period
from verification.tariff_lines import PeriodLine, TariffDay, TariffLine

TEXT = """10: sharp 18:00-19:00; peak 08:00-18:00; flat 19:00-24:00; valley 00:00-06:00; deep 06:00-08:00
1-9,11-12: flat 00:00-24:00
1-12 holiday, hot: deep 00:00-24:00"""


def values() -> dict[str, object]:
    """`tariffs` and `periods`: every period, days without a calendar, and a figure that is not determined."""
    tariff = TariffLine(
        id="jingmi/*/2026-10-01", enterprise="jingmi", meter="", first_day="2026-10-01", last_day="2026-10-30",
        calendar="", name_zh="企业自有分时日历", name_en="Calendar declared by the enterprise", notice="零售合同 2026-07", source="",
        verified="declared", note="", periods=TEXT, holidays_known=False, holiday_notice="国务院办公厅通知", holiday_verified="one_source",
        days=tuple(TariffDay(day=f"2026-10-{d:02}", kinds=("hot", "workday") if d == 8 else ("holiday",)) for d in range(1, 31)),
    )  # fmt: skip
    lines = [_line("", period, str(10**8 + i)) for i, period in enumerate([*Period, ""])]
    lines += [_line("m-grid", period, None) for period in (*Period, "")]
    return {"tariffs": (tariff,), "periods": tuple(lines)}


def _line(meter: str, period: str, energy: str | None) -> PeriodLine:
    known = energy is not None
    return PeriodLine(
        id=f"{meter or 'scope'}/{period}", meter=meter, reading_type="energy_import_total" if meter else "",
        role="grid_boundary" if meter else "", period=period, energy_wh=energy, estimated_wh="7" if known else None,
        share="1/6" if known else None, max_demand_w="1234567" if known and meter else None,
        max_demand_at="2026-10-08T09:15:00+08:00" if known and meter else "",
    )  # fmt: skip
