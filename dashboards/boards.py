"""A dashboard from rows of panels: places, numbers, variables, links, and its JSON."""

from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.influxql import HERE
from dashboards.names import TAG
from dashboards.panels import Sized
from dashboards.sdk import dashboard, plain

WIDTH = 24


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice of the reader, filled from the store's tags."""

    name: str
    label: str
    query: str
    several: bool = True
    """Many values and All may be chosen; else exactly one."""


ENTERPRISES = Variable(
    "enterprise", "企业 Enterprise", 'SHOW TAG VALUES FROM "interval" WITH KEY = "enterprise"'
)
ONE_ENTERPRISE = Variable("enterprise", ENTERPRISES.label, ENTERPRISES.query, several=False)
ONE_METER = Variable(
    "meter",
    "电表 Meter",
    'SHOW TAG VALUES FROM "interval" WITH KEY = "meter" WHERE "enterprise" =~ /^${enterprise:regex}$/',
    several=False,
)
ONE_SCOPE = Variable(
    "scope",
    "企业/园区 Enterprise or park",
    'SHOW TAG VALUES FROM "boundary" WITH KEY = "scope"',
    several=False,
)
SCOPES = Variable("scope", ONE_SCOPE.label, 'SHOW TAG VALUES FROM "month" WITH KEY = "scope"')


@dataclass(frozen=True, slots=True)
class Board:
    """What one dashboard shows."""

    uid: str
    title: str
    about: str
    variables: Sequence[Variable]
    rows: Sequence[tuple[str, Sequence[Sized]]]
    """(heading, panels); panels flow from left to right."""
    since: str = "now-24h"
    refresh: str = "1m"


def _variable(variable: Variable) -> dashboard.VariableModel:
    everything = dashboard.VariableOption(selected=True, text=["All"], value=["$__all"])
    return dashboard.VariableModel(
        type_val=dashboard.VariableType.QUERY,
        name=variable.name,
        label=variable.label,
        query=variable.query,
        datasource=HERE,
        multi=variable.several,
        include_all=variable.several,
        all_value=".*" if variable.several else None,
        current=everything if variable.several else None,
        refresh=dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED,
        sort=dashboard.VariableSort.ALPHABETICAL_ASC,
        options=[],
        regex="",
        auto=None,
        auto_min=None,
        auto_count=None,  # the SDK's defaults for interval variables; not part of a query variable
    )


def placed(rows: Sequence[tuple[str, Sequence[Sized]]]) -> list[dashboard.Panel | dashboard.RowPanel]:
    """Headings and panels with numbers and places."""
    out: list[dashboard.Panel | dashboard.RowPanel] = []
    y = 0
    for heading, panels in rows:
        at = dashboard.GridPos(x=0, y=y, w=WIDTH, h=1)
        out.append(dashboard.RowPanel(title=heading, grid_pos=at, id_val=len(out) + 1, panels=[]))
        y = _flow(panels, y + 1, out)
    return out


def _flow(panels: Sequence[Sized], top: int, out: list[dashboard.Panel | dashboard.RowPanel]) -> int:
    x = line = 0
    for sized in panels:
        if x + sized.width > WIDTH:
            top, x, line = top + line, 0, 0
        sized.panel.grid_pos = dashboard.GridPos(x=x, y=top, w=sized.width, h=sized.height)
        sized.panel.id_val = len(out) + 1
        out.append(sized.panel)
        x, line = x + sized.width, max(line, sized.height)
    return top + line


def render(board: Board) -> dict[str, object]:
    """The dashboard's JSON as Grafana stores it."""
    links = dashboard.DashboardLink(
        title="碳云 Tanyun",
        type_val=dashboard.DashboardLinkType.DASHBOARDS,
        icon="external link",
        tags=[TAG],
        as_dropdown=True,
        include_vars=True,
        keep_time=True,
    )
    model = dashboard.Dashboard(
        uid=board.uid,
        title=board.title,
        description=board.about,
        tags=[TAG],
        graph_tooltip=dashboard.DashboardCursorSync.CROSSHAIR,
        time=dashboard.DashboardDashboardTime(from_val=board.since, to="now"),
        refresh=board.refresh,
        panels=placed(board.rows),
        templating=dashboard.DashboardDashboardTemplating(
            list_val=[_variable(item) for item in board.variables]
        ),
        annotations=dashboard.AnnotationContainer(list_val=[]),
        links=[links],
    )
    out: dict[str, object] = plain(model)
    return out
