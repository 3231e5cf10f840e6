"""Substation: the feeders of an enterprise, and one meter in detail."""

from dashboards import names
from dashboards.boards import ONE_ENTERPRISE, ONE_METER, Board
from dashboards.influxql import ENTERPRISE, METER, MINUTES, NOW, RANGE, STEP, InfluxQL, select, select_from
from dashboards.panels import Look, Sized, chart, matrix, number

_SCOPE_IS_ENTERPRISE = (
    '"scope" =~ /^${enterprise:regex}$/ AND "scope_kind" = \'enterprise\' AND "method" = \'national\''
)


def board() -> Board:
    """The dashboard."""
    return Board(
        uid=names.SUBSTATION,
        title="配电 Substation",
        about="各回路的功率、需量、电压、电流、三相平衡与母子表平衡。 Feeders: power, demand, voltage, current, balance.",
        variables=[ONE_ENTERPRISE, ONE_METER],
        rows=[
            ("回路一览 Feeders", _feeders()),
            ("需量与平衡 Demand and balance", _demand()),
            ("电表 $meter", _meter()),
            ("每分钟 By the minute", _minutes()),
        ],
    )


def _of_meter(reading_types: str, *, by: str = '"reading_type"') -> str:
    kinds = f'"reading_type" =~ /^({reading_types})$/'
    return select(
        'mean("value")', "reading", RANGE, ENTERPRISE, METER, kinds, by=f"{STEP}, {by}", fill="null"
    )


def _feeders() -> list[Sized]:
    kinds = "power_active|power_factor|voltage_l1|voltage_l2|voltage_l3|current_l1|current_l2|current_l3"
    newest = select(
        'last("value") AS "value"',
        "reading",
        NOW,
        ENTERPRISE,
        f'"reading_type" =~ /^({kinds})$/',
        by='"meter", "reading_type"',
    )
    energy = select(
        'mean("energy") * 4', "interval", RANGE, ENTERPRISE, "\"reading_type\" = 'energy_import_total'",
        by=f'{STEP}, "meter"', fill="null",
    )  # fmt: skip
    return [
        matrix(
            "各回路最新读数 Newest readings of the feeders",
            InfluxQL(newest, table=True),
            row="meter",
            column="reading_type",
        ),
        chart(
            "各回路平均功率 Mean power of the feeders",
            [InfluxQL(energy, alias="$tag_meter")],
            Look("watt"),
            about="由 15 分钟电量得出。 From the energy of 15 minutes.",
            every="15m",
            width=24,
            points=200,
        ),
    ]


def _demand() -> list[Sized]:
    demand = select(
        'max("demand_w")', "boundary", RANGE, _SCOPE_IS_ENTERPRISE, "\"size\" = '15m'", by=STEP, fill="null"
    )
    contract = select(
        'last("contract_demand_w")', "forecast", RANGE, _SCOPE_IS_ENTERPRISE, by=STEP, fill="previous"
    )
    worst = select('max("demand_w")', "boundary", RANGE, _SCOPE_IS_ENTERPRISE, "\"size\" = '15m'")
    share = '(sum("in_wh") - sum("out_wh")) / sum("in_wh")'
    return [
        chart(
            "需量与合同需量 Demand and contract",
            [InfluxQL(demand, "A", "15 分钟需量 Demand"), InfluxQL(contract, "B", "合同需量 Contract")],
            Look("watt", low=0),
            every="15m",
        ),
        number("期间最大需量 Highest demand of the period", InfluxQL(worst), Look("watt", 1)),
        chart(
            "未计量/损耗占比 Unmetered share: parent − children",
            [
                InfluxQL(
                    select(share, "balance", RANGE, ENTERPRISE, by=f'{STEP}, "meter"', fill="null"),
                    alias="$tag_meter",
                )
            ],
            Look("percentunit", 1),
            every="1h",
            width=8,
        ),
    ]


def _minutes() -> list[Sized]:
    of_meter = (MINUTES, RANGE, ENTERPRISE, METER, '"reading_type" =~ /^energy_/')
    by = f'{STEP}, "reading_type"'
    guessed = 'sum("estimated") / sum("energy")'
    return [
        chart(
            "每分钟电量折算功率 Power from the energy of each minute",
            [
                InfluxQL(
                    select('mean("energy") * 60', *of_meter, by=by, fill="null"), alias="$tag_reading_type"
                )
            ],
            Look("watt"),
            about="各分钟之和等于 15 分钟电量。保留 35 天。 Minutes add up to their 15 minutes. Kept for 35 days.",
        ),
        chart(
            "分钟电量的估算占比 Estimated share of the minutes",
            [InfluxQL(select(guessed, *of_meter, by=by, fill="null"), alias="$tag_reading_type")],
            Look("percentunit", 1, low=0),
            every="15m",
            about="总量抄读间隔超过 2 分钟时，分钟间的分布是估算的。 "
            "Where totals are read more than 2 minutes apart, how the energy lies within is estimated.",
        ),
    ]


def _meter() -> list[Sized]:
    phases = select(
        'mean("value") AS "amperes"', "reading", RANGE, ENTERPRISE, METER, '"reading_type" =~ /^current_l[123]$/',
        by=f'{STEP}, "reading_type"',
    )  # fmt: skip
    imbalance = select_from('spread("amperes") / max("amperes")', phases, RANGE, by=STEP, fill="null")
    kind = "$tag_reading_type"
    return [
        chart(
            "有功与无功功率 Power",
            [InfluxQL(_of_meter("power_active|power_reactive"), alias=kind)],
            Look("watt"),
        ),
        chart("功率因数 Power factor", [InfluxQL(_of_meter("power_factor"), alias=kind)], Look(decimals=2)),
        chart("电压 Voltage", [InfluxQL(_of_meter("voltage_l[123]"), alias=kind)], Look("volt", 1)),
        chart("电流 Current", [InfluxQL(_of_meter("current_l[123]"), alias=kind)], Look("amp", 1)),
        chart(
            "三相电流不平衡度 Imbalance of the currents",
            [InfluxQL(imbalance, alias="(最大−最小)/最大 (max−min)/max")],
            Look("percentunit", 1, low=0),
            every="5m",
        ),
        chart("频率 Frequency", [InfluxQL(_of_meter("frequency"), alias=kind)], Look("hertz", 2)),
    ]
