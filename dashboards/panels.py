"""Panels by kind. A panel knows its size; `boards` gives it a place and a number."""

from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.influxql import HERE, InfluxQL
from dashboards.names import APP
from dashboards.sdk import common, dashboard, stat, statetimeline, table, timeseries

Steps = Sequence[tuple[float | None, str]]
"""(from this value on, colour); the first is None: from minus infinity."""
WIDE = 24
_TABLE = {"cellHeight": "sm", "frameIndex": 0, "showHeader": True}
"""By hand: the SDK adds a footer that Grafana 13 no longer knows."""
GOOD_LOW: Steps = ((None, "green"),)
YES_NO: dict[str, tuple[str, str]] = {"0": ("否 No", "red"), "1": ("是 Yes", "green")}


@dataclass(frozen=True, slots=True)
class Look:
    """How values are shown."""

    unit: str = "short"
    decimals: int | None = None
    steps: Steps = GOOD_LOW
    words: dict[str, tuple[str, str]] | None = None
    """Value → (text, colour)."""
    low: float | None = None
    high: float | None = None


PLAIN = Look()


@dataclass(frozen=True, slots=True)
class Sized:
    """A panel and its size in grid units (24 to a row)."""

    panel: dashboard.Panel
    width: int
    height: int


def _mappings(look: Look) -> list[dashboard.ValueMapping] | None:
    if look.words is None:
        return None
    results = {
        value: dashboard.ValueMappingResult(text=text, color=colour, index=i)
        for i, (value, (text, colour)) in enumerate(look.words.items())
    }
    return [dashboard.ValueMap(options=results)]


def _field(look: Look, custom: object = None, no_value: str = "–") -> dashboard.FieldConfig:
    thresholds = dashboard.ThresholdsConfig(
        mode=dashboard.ThresholdsMode.ABSOLUTE,
        steps=[dashboard.Threshold(value=v, color=c) for v, c in look.steps],
    )
    return dashboard.FieldConfig(
        unit=look.unit,
        decimals=look.decimals,
        min_val=look.low,
        max_val=look.high,
        mappings=_mappings(look),
        thresholds=thresholds,
        no_value=no_value,
        custom=custom,
    )


def _panel(
    kind: str,
    title: str,
    about: str,
    queries: Sequence[InfluxQL],
    field: dashboard.FieldConfig,
    options: object,
) -> dashboard.Panel:
    return dashboard.Panel(
        type_val=kind,
        title=title,
        description=about or None,
        datasource=HERE,
        targets=list(queries),
        options=options,
        field_config=dashboard.FieldConfigSource(defaults=field, overrides=[]),
    )


def number(
    title: str, query: InfluxQL, look: Look = PLAIN, *, about: str = "", none: str = "–", width: int = 4
) -> Sized:
    """One big number (or one per series); `none` is shown when the query finds nothing."""
    options = stat.Options(
        graph_mode=common.BigValueGraphMode.NONE,
        color_mode=common.BigValueColorMode.VALUE,
        reduce_options=common.ReduceDataOptions(calcs=["lastNotNull"], values=False, fields=""),
    )
    return Sized(_panel("stat", title, about, [query], _field(look, no_value=none), options), width, 4)


def _legend() -> common.VizLegendOptions:
    return common.VizLegendOptions(
        display_mode=common.LegendDisplayMode.LIST,
        placement=common.LegendPlacement.BOTTOM,
        show_legend=True,
        calcs=[],
    )


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions(mode=common.TooltipDisplayMode.MULTI, sort=common.SortOrder.DESCENDING)


def chart(
    title: str, queries: Sequence[InfluxQL], look: Look = PLAIN, *, about: str = "", every: str = "1m", width: int = 12,
    bars: bool = False, stacked: bool = False, points: int = 600, only: str = "",
) -> Sized:  # fmt: skip
    """Values over time.

    `every` is the finest step, `points` the most steps: together they bound what a query returns. `only` shows that much of the
    newest past whatever range is chosen: states every 15 s of many gateways over a month are millions of points.
    """
    custom = timeseries.FieldConfig(
        draw_style=common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE,
        fill_opacity=60 if bars else 8,
        line_width=1,
        show_points=common.VisibilityMode.AUTO,
        span_nulls=False,
        stacking=common.StackingConfig(
            mode=common.StackingMode.NORMAL if stacked else common.StackingMode.NONE, group="A"
        ),
    )
    panel = _panel(
        "timeseries",
        title,
        about,
        queries,
        _field(look, custom),
        timeseries.Options(legend=_legend(), tooltip=_tooltip()),
    )
    panel.interval = every
    panel.max_data_points = points
    panel.time_from = only or None
    return Sized(panel, width, 8)


def timeline(
    title: str,
    query: InfluxQL,
    look: Look,
    *,
    about: str = "",
    width: int = 12,
    every: str = "1m",
    only: str = "",
) -> Sized:
    """States over time, one bar per series; `only` as in a chart."""
    options = statetimeline.Options(
        show_value=common.VisibilityMode.AUTO,
        align_value=common.TimelineValueAlignment.LEFT,
        legend=_legend(),
        tooltip=common.VizTooltipOptions(mode=common.TooltipDisplayMode.SINGLE, sort=common.SortOrder.NONE),
    )
    panel = _panel(
        "state-timeline", title, about, [query], _field(look, statetimeline.FieldConfig()), options
    )
    panel.interval = every
    panel.max_data_points = 300
    panel.time_from = only or None
    return Sized(panel, width, 8)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: the query's name for it, the reader's, and how it is shown."""

    name: str
    title: str
    look: Look = PLAIN
    link: str = ""
    """Where a click on the cell goes."""


def grid(
    title: str, query: InfluxQL, columns: Sequence[Column], *, about: str = "", width: int = 24, height: int = 8,
    show_time: bool = False,
) -> Sized:  # fmt: skip
    """A table; its rows are the query's."""
    custom = table.FieldConfig(filterable=True, inspect=False)
    panel = _panel("table", title, about, [query], _field(PLAIN, custom), _TABLE)
    shown = [
        dashboard.DataTransformerConfig(id_val="organize", options=_organised(columns, show_time=show_time))
    ]
    panel.transformations = shown
    if panel.field_config is not None:
        panel.field_config.overrides = [_override(column) for column in columns]
    return Sized(panel, width, height)


def matrix(title: str, query: InfluxQL, *, row: str, column: str) -> Sized:
    """A table with one row per `row` and one column per `column` of the query's table; its field is `value`."""
    field = _field(Look(decimals=2), table.FieldConfig(filterable=True, inspect=False))
    panel = _panel("table", title, "", [query], field, _TABLE)
    turned = {"columnField": column, "rowField": row, "valueField": "value", "emptyValue": "null"}
    panel.transformations = [dashboard.DataTransformerConfig(id_val="groupingToMatrix", options=turned)]
    return Sized(panel, WIDE, 8)


def _organised(columns: Sequence[Column], *, show_time: bool) -> dict[str, object]:
    names = {"Time": "时间 Time"} | {column.name: column.title for column in columns}
    return {
        "excludeByName": {} if show_time else {"Time": True},
        "indexByName": {name: i for i, name in enumerate(names)},
        "renameByName": names,
    }


def _override(column: Column) -> dashboard.DashboardFieldConfigSourceOverrides:
    look = column.look
    field = _field(look)
    values: dict[str, object] = {"unit": look.unit, "thresholds": field.thresholds}
    if look.decimals is not None:
        values["decimals"] = look.decimals
    if field.mappings:
        values["mappings"] = field.mappings
    if look.words or len(look.steps) > 1:
        values["custom.cellOptions"] = {"type": "color-text"}
    if column.link:
        values["links"] = [{"title": column.title, "url": column.link, "targetBlank": False}]
    return dashboard.DashboardFieldConfigSourceOverrides(
        matcher=dashboard.MatcherConfig(id_val="byName", options=column.title),
        properties=[dashboard.DynamicConfigValue(id_val=key, value=value) for key, value in values.items()],
    )


def alerts(title: str, *, width: int = 12) -> Sized:
    """Our alerts that fire or are pending."""
    options = {
        "alertInstanceLabelFilter": f'{{{APP[0]}="{APP[1]}"}}',
        "alertName": "",
        "dashboardAlerts": False,
        "groupBy": [],
        "groupMode": "default",
        "maxItems": 50,
        "sortOrder": 3,
        "stateFilter": {
            "error": True,
            "firing": True,
            "noData": True,
            "normal": False,
            "pending": True,
            "recovering": True,
        },
        "viewMode": "list",
    }
    panel = dashboard.Panel(
        type_val="alertlist", title=title, options=options,
        field_config=dashboard.FieldConfigSource(defaults=dashboard.FieldConfig(), overrides=[]),
    )  # fmt: skip
    return Sized(panel, width, 8)
