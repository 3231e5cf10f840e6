"""InfluxQL: the one query language that InfluxDB 1.x, 2.x and 3.x all answer. Needs no Foundation SDK."""

LIVE = frozenset({"reading", "gateway", "meter_state", "pipeline"})
"""Measurements of the retention policy `live` (35 days); every other one is in `history` (for ever)."""

NOW = "time > now() - 10m"
"""What is: states are written every 15 s, whatever time range the reader looks at."""
ENTERPRISE = '"enterprise" =~ /^${enterprise:regex}$/'
METER = '"meter" =~ /^${meter:regex}$/'
SCOPE = '"scope" =~ /^${scope:regex}$/'
"""The readers' choices; multi-values arrive as (a|b), All as .*"""
RANGE = "$timeFilter"
STEP = "time($__interval)"

MINUTES = "live/interval"
"""Intervals of one minute; those of 15 are in `history` under the same name."""


def source(measurement: str) -> str:
    """The full name of a measurement, database and retention policy included. `policy/name` names another policy than usual."""
    policy, _, name = measurement.rpartition("/")
    policy = policy or ("live" if name in LIVE else "history")
    return f'"tanyun"."{policy}"."{name}"'


def select(fields: str, measurement: str, *where: str, by: str = "", fill: str = "") -> str:
    """A SELECT over one measurement; `by` is the GROUP BY list."""
    return _statement(fields, source(measurement), where, by, fill)


def select_from(fields: str, inner: str, within: str, *where: str, by: str = "", fill: str = "") -> str:
    """A SELECT over another SELECT; `within` is the time that the inner one has too.

    Said once only, inside, it does not bound what InfluxDB reads: it opens every shard of the retention policy (measured on 1.6.7: 500 ms
    instead of 12 for the newest ten minutes of a month of 20 gateways).
    """
    return _statement(fields, f"({inner})", (within, *where), by, fill)


def _statement(fields: str, origin: str, where: tuple[str, ...], by: str, fill: str) -> str:
    words = [f"SELECT {fields} FROM {origin}"]  # noqa: S608  built from constants of this package
    words += [f"WHERE {' AND '.join(where)}"] if where else []
    words += [f"GROUP BY {by}"] if by else []
    words += [f"fill({fill})"] if fill else []
    return " ".join(words)
