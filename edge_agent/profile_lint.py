"""Looks a profile over: every mistake with its line, and remarks on what is sound but weak. Pure; a file's text comes in."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from edge_agent.profile import Family, Profile, ProfileError, Register, parse_model
from edge_agent.wiretypes import WIRE
from metering.i18n import _
from metering.reading_types import READING_TYPES, Kind

_AT_LINE: Final = re.compile(r"at line (\d+)")
_TABLE: Final = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\"-]+)\s*\]\]?\s*(#.*)?$")
_KEY: Final = re.compile(r"\s*\"?([A-Za-z0-9_-]+)\"?\s*=")
_SAID: Final = re.compile(r"([\w.\[\]-]+)(?:: |：)(.*)", re.DOTALL)
"""`key path: what is wrong`, in either language."""
_STEPS: Final = re.compile(r"([A-Za-z0-9_-]+)|\[(\d+)\]")


class Finding(msgspec.Struct, frozen=True):
    """Something about a profile."""

    severity: Literal["mistake", "remark"]
    """A mistake keeps it from being loaded; a remark does not."""
    key: str
    """Its key path; empty where it is about the file."""
    text: str
    line: int | None
    """From 1; None where no line of the file says it."""


def lint(name: str, text: str, folder: Path | None = None) -> list[Finding]:
    """What there is to say about a profile's text, by line. `folder`: where a family's own profiles lie."""
    try:
        model = parse_model(name, tomllib.loads(text), folder)
    except tomllib.TOMLDecodeError as error:
        at = _AT_LINE.search(str(error))
        return [Finding("mistake", "", str(error), int(at[1]) if at else None)]
    except ProfileError as error:
        found = [_finding("mistake", mistake, text) for mistake in error.mistakes]
    else:
        found = [_finding("remark", remark, text) for remark in _remarks(model)]
    return sorted(found, key=lambda finding: (finding.line or 0, finding.key))


def _finding(severity: Literal["mistake", "remark"], said: str, text: str) -> Finding:
    parts = _SAID.match(said)
    key, rest = (parts[1], parts[2]) if parts else ("", said)
    return Finding(severity, key, rest, line_of(text, key))


def _remarks(model: Profile | Family) -> Iterator[str]:
    if isinstance(model, Family):
        for index, variant in enumerate(model.variants):
            if not variant.match:
                yield _("variant[{index}].match: none: it has to be named in the configuration").format(
                    index=index
                )
        return
    yield from (f"unverified[{index}]: {text}" for index, text in enumerate(model.unverified))
    for table, rows in (("register", model.registers), ("frozen", model.frozen)):
        for index, register in enumerate(rows):
            yield from (f"{table}[{index}].{remark}" for remark in _register_remarks(register))
    yield from _whole_remarks(model)


def _register_remarks(register: Register) -> Iterator[str]:
    if register.confidence == "C":
        yield _("confidence: C: compare {name} with the display before relying on it").format(
            name=register.name
        )
    total = READING_TYPES[register.reading_type].kind is Kind.TOTAL
    if total and register.rollover is None and WIRE[register.type].coding != "float":
        text = _("rollover: none declared: if {name} starts again from 0, somebody has to judge it")
        yield text.format(name=register.name)


def _whole_remarks(profile: Profile) -> Iterator[str]:
    kinds = {READING_TYPES[register.reading_type].kind for register in profile.registers}
    if Kind.TOTAL not in kinds:
        yield _("register: no total: no energy can be accounted with this profile")
    if profile.serial is None:
        yield _("serial: none: that the meter was exchanged shows in its totals only")
    used = {source for one in (*profile.registers, *profile.frozen) for source in one.source}
    used |= set(profile.serial.source) if profile.serial else set()
    for name in profile.sources:
        if name not in used:
            yield _("sources.{name}: no register names it").format(name=name)


def line_of(text: str, key: str) -> int | None:
    """The line that says a key, or the nearest one around it: `register[3].scale_register.addr`, `limits.gap`, `vendor`."""
    lines = _lines(text)
    steps = [name or int(index) for name, index in _STEPS.findall(key)]
    for length in range(len(steps), 0, -1):
        path = tuple(steps[:length])
        if path in lines:
            return lines[path]
    return None


def _lines(text: str) -> dict[tuple[str | int, ...], int]:
    """Key path → its first line. Good for files as people write them; a multi-line string may hide a key."""
    found: dict[tuple[str | int, ...], int] = {}
    counts: dict[str, int] = {}
    table: tuple[str | int, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if (header := _TABLE.match(line)) is not None:
            name = header[2].replace('"', "")
            table = tuple(name.split("."))
            if header[1] == "[[":
                table = (*table, counts.get(name, 0))
                counts[name] = counts.get(name, 0) + 1
                found.setdefault(table[:-1], number)
            found.setdefault(table, number)
        elif (key := _KEY.match(line)) is not None:
            found.setdefault((*table, key[1]), number)
    return found
