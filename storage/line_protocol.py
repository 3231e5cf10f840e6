"""InfluxDB's line protocol: one encoder behind every server version.

Every number is written as a float, because a field keeps the type of its first point for ever.
Grammar: InfluxDB 1.x and 2.x, "Line protocol" reference.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import isfinite

_MEASUREMENT = str.maketrans({",": r"\,", " ": r"\ "})
_KEY = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})
_TEXT = str.maketrans({"\\": r"\\", '"': r"\""})
_BREAKS = str.maketrans(dict.fromkeys("\r\n\t", " ") | {"\0": ""})
"""A line break ends a point, wherever it stands."""
MAX_T_MS = 9_223_372_036_854
"""The last millisecond whose nanoseconds InfluxDB can hold; the first is its negative."""

Field = float | str | None


@lru_cache(maxsize=65_536)
def escaped(text: str) -> str:
    """A tag key, tag value or field key. A backslash at the end would escape what follows, so it gets a space behind it."""
    plain = text.translate(_BREAKS)
    return (plain + " " if plain.endswith("\\") else plain).translate(_KEY)


def series(measurement: str, tags: Mapping[str, str]) -> str:
    """The part of a line that names the series; tags sorted, as the server keeps them. A tag without a value is none."""
    name = measurement.translate(_BREAKS).translate(_MEASUREMENT)
    return name + "".join(f",{escaped(key)}={escaped(tags[key])}" for key in sorted(tags) if tags[key])


def point(series_key: str, fields: Iterable[tuple[str, Field]], t_ms: int) -> str | None:
    """A line; None when no field is left. Fields that are None or not finite are left out, never written as something else."""
    written = [f"{escaped(key)}={text}" for key, value in fields if (text := _value(value)) is not None]
    return f"{series_key} {','.join(written)} {t_ms}" if written else None


def _value(value: Field) -> str | None:
    if isinstance(value, str):
        return f'"{value.translate(_BREAKS).translate(_TEXT)}"'
    return repr(float(value)) if value is not None and isfinite(value) else None


def single(series_key: str, field: str) -> str:
    """The constant head of lines that have one numeric field; `f"{head}{value!r} {t_ms}"` completes a finite float's line."""
    return f"{series_key} {escaped(field)}="
