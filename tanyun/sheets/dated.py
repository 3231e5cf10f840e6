"""What changes at a known meter on a day (换表, 互感器变比) becomes a dated table of `park.toml`; nothing before it is overwritten."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import tomlkit
from tomlkit.items import AoT, Comment, Table, Whitespace

from metering.i18n import _
from tanyun.sheets.entry import EntryError


def with_exchange(text: str, meter: str, exchange: Mapping[str, Any]) -> str:
    """The registry's text with one more exchange of a meter; EntryError."""
    return _with(text, meter, "exchanges", exchange)


def with_ratio(text: str, meter: str, change: Mapping[str, Any]) -> str:
    """The registry's text with other transformers of a meter from a moment on; EntryError."""
    return _with(text, meter, "ratio_changes", change)


def totals_of(given: Sequence[tuple[str, str]], roles: Sequence[str], side: str) -> dict[str, str]:
    """Total → what the display showed. One value without a name is that of a meter's only total; EntryError for any other."""
    named = {name or (roles[0] if len(roles) == 1 else ""): value for name, value in given}
    if set(named) == set(roles) and len(named) == len(given):
        return {name: named[name] for name in roles}
    text = _("--{side} is needed once for each total of the meter: {totals}")
    raise EntryError([text.format(side=side, totals=" ".join(f"--{side} {name}=…" for name in roles))])


def _with(text: str, meter: str, key: str, entry: Mapping[str, Any]) -> str:
    document = tomlkit.parse(text)
    known = _meter(document, meter)
    after = _taken_off(known)
    tables = known.setdefault(key, tomlkit.aot())
    if not isinstance(tables, AoT):
        said = _("{key} of {meter} is no array of tables ([[meters.{key}]]): write it as one")
        raise EntryError([said.format(key=key, meter=meter)])
    table = _table(entry)
    for item in after or [tomlkit.nl()]:
        table.add(item)
    tables.append(table)
    return tomlkit.dumps(document)


def _taken_off(table: Table) -> list[Whitespace | Comment]:
    """The blank lines and comments after a meter's last key, taken off it: they belong to what follows in the file."""
    body, found = table.value.body, list[Whitespace | Comment]()
    if body and isinstance(body[-1][1], AoT):
        return _taken_off(body[-1][1][-1])
    while body and isinstance(item := body[-1][1], Whitespace | Comment):
        found.insert(0, item)
        body.pop()
    return found


def _meter(document: tomlkit.TOMLDocument, meter: str) -> Table:
    meters = document.get("meters")
    if not isinstance(meters, AoT):
        raise EntryError([_("meters is no array of tables ([[meters]]): write it as one")])
    for table in meters:
        if isinstance(table, Table) and table.get("id") == meter:
            return table
    known = ", ".join(str(table.get("id")) for table in meters)
    raise EntryError(
        [_("There is no meter {meter!r} in the registry. Known: {known}").format(meter=meter, known=known)]
    )


def _table(entry: Mapping[str, Any]) -> Table:
    table = tomlkit.table()
    for key, value in entry.items():
        if isinstance(value, dict):
            inline = tomlkit.inline_table()
            inline.update(value)
            table.add(key, inline)
        elif value or isinstance(value, datetime):
            table.add(key, value)
    return table
