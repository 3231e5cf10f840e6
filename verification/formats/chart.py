"""The charts as SVG: text as outlines, no date, so that the same days give the same bytes."""

import io
from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from functools import cache

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager
from noto_cjk_sans_otc import FONT_PATH

from verification.document import DayLine
from verification.lines import YearMonth

FONT_NAME = "Noto Sans CJK SC"
INK, MUTED, WORKDAY, WEEKEND = "#1f2933", "#6b7785", "#0f766e", "#8fc7bf"
_SATURDAY = 5
_WH_PER_MWH = 1_000_000
_UG_PER_T = 10**12


@cache
def _font() -> FontProperties:
    fontManager.addfont(str(FONT_PATH))
    return FontProperties(family=FONT_NAME, size=8)


def daily_chart(days: Sequence[DayLine]) -> bytes:
    """Purchased electricity per day in MWh; weekends lighter, days that are not determined left out."""
    font = _font()
    with mpl.rc_context({"svg.hashsalt": "tanyun", "svg.fonttype": "path", "path.simplify": False}):
        figure = Figure(figsize=(7.1, 1.75))
        axes = figure.subplots()
        _bars(axes, days)
        _dress(axes, font, len(days), "MWh / 日 day")
        figure.subplots_adjust(left=0.06, right=0.995, top=0.88, bottom=0.15)
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return out.getvalue()


def year_chart(months: Sequence[YearMonth]) -> bytes:
    """Emissions per month of the year in tCO2; a month without a figure shows —."""
    font = _font()
    with mpl.rc_context({"svg.hashsalt": "tanyun", "svg.fonttype": "path", "path.simplify": False}):
        figure = Figure(figsize=(7.1, 1.55))
        axes = figure.subplots()
        for number, line in enumerate(months, start=1):
            if line.emission_ug is None:
                axes.text(number, 0, "—", ha="center", va="bottom", color=MUTED, fontproperties=font)
            else:
                axes.bar(
                    number,
                    float(Fraction(int(line.emission_ug), _UG_PER_T)),
                    width=0.62,
                    color=WORKDAY,
                    linewidth=0,
                )
        _dress(axes, font, len(months), "tCO2 / 月 month")
        axes.set_ylim(bottom=0, top=None if any(line.emission_ug for line in months) else 1)
        figure.subplots_adjust(left=0.06, right=0.995, top=0.87, bottom=0.17)
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return out.getvalue()


def _bars(axes: Axes, days: Sequence[DayLine]) -> None:
    for number, line in enumerate(days, start=1):
        if line.energy_wh is None:
            axes.axvspan(number - 0.5, number + 0.5, color="#f1e4d0", linewidth=0)
            continue
        weekend = date.fromisoformat(line.day).weekday() >= _SATURDAY
        height = float(Fraction(int(line.energy_wh), _WH_PER_MWH))
        axes.bar(number, height, width=0.72, color=WEEKEND if weekend else WORKDAY, linewidth=0)


def _dress(axes: Axes, font: FontProperties, count: int, title: str) -> None:
    axes.set_xlim(0.4, count + 0.6)
    axes.set_xticks(range(1, count + 1))
    axes.set_title(title, loc="left", fontproperties=font, color=MUTED, pad=4)
    axes.grid(axis="y", color="#dfe4ea", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.locator_params(axis="y", nbins=5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#b8c2cc")
    axes.tick_params(length=0, colors=INK)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontproperties(font)
