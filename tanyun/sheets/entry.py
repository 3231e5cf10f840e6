"""A sheet becomes a meter of `park.toml`: comments and order stay, the whole registry is validated, the file is replaced at once."""

import difflib
import os
import tempfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AoT, Table

from edge_agent.commission.probe import RatioState, Verdict
from edge_agent.commission.proof import Proof
from edge_agent.commission.sheet import Sheet
from metering.config import ConfigError
from metering.i18n import _
from metering.registry import load_registry

_OF_THE_VISIT = ("profile", "serial", "ratio_proof")
"""Keys that a later sheet of the same meter replaces."""


class EntryError(Exception):
    """The change cannot be made to this registry; the message lists every reason."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n  ".join([_("the registry is not changed:"), *mistakes]))
        self.mistakes = mistakes


def proof_text(proof: Proof, made: str, digest: str) -> str | None:
    """What the registry says of a proven ratio: by what, when, and which sheet; None while it is not proven."""
    if proof.state is not RatioState.PROVEN:
        return None
    ct, pt = proof.ratios.to_apply
    said = [
        f"{item.kind}{' ' + item.phase if item.phase else ''} {item.reference:.5g} {item.unit}"
        f" = {item.shown:.5g} x {item.ratio_of(ct, pt)}"
        for item in proof.comparisons
    ]
    return "; ".join([*(said or ["direct connection, name plate"]), made[:10], f"sheet sha256:{digest}"])


def entry_of(sheet: Sheet, digest: str) -> dict[str, Any]:
    """The meter's table, without what the sheet leaves open."""
    ratios = sheet.proof.ratios
    ct, pt = ratios.to_apply
    table: dict[str, Any] = {
        "id": sheet.meter,
        "gateway": sheet.gateway,
        "name": sheet.wanted.name,
        "profile": sheet.model.profile,
        "serial": sheet.model.serial or sheet.model.serial_read,
        "roles": dict(sheet.wanted.roles),
        "parent": sheet.wanted.parent,
        "ct": ratios.ct if ct != 1 else None,
        "pt": ratios.pt if pt != 1 else None,
        "max_power_w": sheet.wanted.max_power_w,
        "ratio_proof": proof_text(sheet.proof, sheet.made, digest),
    }
    return {key: value for key, value in table.items() if value not in (None, "")}


def reasons_against(sheet: Sheet) -> list[str]:
    """Why a sheet is no ground for a meter, whatever the registry says."""
    reasons = []
    if sheet.verdict is Verdict.DOES_NOT_FIT:
        reasons.append(
            _("the register map does not fit the meter: correct what the sheet names, and commission again")
        )
    if sheet.proof.state is RatioState.CONTRADICTED:
        reasons.append(_("the ratio is contradicted by what was read beside it"))
    model = sheet.model
    if model.serial and model.serial_read and model.serial != model.serial_read:
        text = _(
            "the name plate's serial {plate!r} is not the one that the meter says, {meter!r}: is it the right meter?"
        )
        reasons.append(text.format(plate=model.serial, meter=model.serial_read))
    if not sheet.proof.ratios.ct and not sheet.proof.ratios.direct and not sheet.proof.ratios.in_meter:
        reasons.append(_("no ratio was entered: commission again with --ct, or --direct"))
    return reasons


def with_meter(text: str, sheet: Sheet, digest: str, *, merge: bool) -> str:
    """The registry's text with the sheet's meter in it; EntryError."""
    document = tomlkit.parse(text)
    entry, mistakes = entry_of(sheet, digest), reasons_against(sheet)
    if document.get("id") != sheet.park:
        said = _("the sheet is of park {sheet!r}, the registry of {park!r}")
        mistakes.append(said.format(sheet=sheet.park, park=document.get("id")))
    meters = document.setdefault("meters", tomlkit.aot())
    if not isinstance(meters, AoT):
        raise EntryError([*mistakes, _("meters is no array of tables ([[meters]]): write it as one")])
    known = next((table for table in meters if table.get("id") == sheet.meter), None)
    mistakes += _same_serial(meters, entry)
    mistakes += _known(known, sheet, entry, merge=merge) if known is not None else _roles(entry)
    if mistakes:
        raise EntryError(mistakes)
    if known is None:
        meters.append(_table(entry))
    else:
        _update(known, entry)
    return tomlkit.dumps(document)


def _table(entry: Mapping[str, Any]) -> Table:
    table = tomlkit.table()
    for key, value in entry.items():
        if isinstance(value, dict):
            inline = tomlkit.inline_table()
            inline.update(value)
            table.add(key, inline)
        else:
            table.add(key, value)
    return table


def _update(known: Table, entry: Mapping[str, Any]) -> None:
    """A later visit to a known meter: what it found replaces what an earlier one did; the rest only where it is new."""
    for key, value in _table(entry).items():
        if key in _OF_THE_VISIT or key not in known:
            known[key] = value
    if "ratio_proof" in known and "ratio_proof" not in entry:
        known.remove("ratio_proof")


def _roles(entry: Mapping[str, Any]) -> list[str]:
    return (
        []
        if entry.get("roles")
        else [_("no total has a role: give --role, e.g. energy_import_total=sub_meter")]
    )


def _same_serial(meters: AoT, entry: Mapping[str, Any]) -> list[str]:
    text = _("serial {serial!r} belongs to the meter {meter!r} already")
    return [
        text.format(serial=entry["serial"], meter=table["id"])
        for table in meters
        if "serial" in entry and table.get("serial") == entry["serial"] and table.get("id") != entry["id"]
    ]


def _known(known: Table, sheet: Sheet, entry: Mapping[str, Any], *, merge: bool) -> list[str]:
    """What a sheet may not change of a meter that is there."""
    if not merge:
        text = _(
            "the meter {meter!r} is in the registry already: --merge takes over profile, serial and proof of its ratio"
        )
        return [text.format(meter=sheet.meter)]
    mistakes = []
    text = _(
        "{key}: the registry says {known}, the sheet {sheet}: a change is dated, declare it in the registry itself"
    )
    for key in ("gateway", "ct", "pt", "serial"):
        there, new = known.get(key), entry.get(key)
        if key in {"ct", "pt"}:
            there, new = there or 1, new or 1
            differs = Fraction(str(there)) != Fraction(str(new))
        else:
            differs = there is not None and new is not None and there != new
        if differs:
            mistakes.append(text.format(key=key, known=there, sheet=new))
    return mistakes


def checked(file: Path, text: str) -> None:
    """Validate a changed registry as a whole, as every role does it; ConfigError with all mistakes, under the file's own name."""
    with tempfile.TemporaryDirectory(prefix="tanyun-registry-") as folder:
        trial = Path(folder) / file.name
        trial.write_text(text, encoding="utf-8")
        try:
            load_registry(trial)
        except ConfigError as error:
            raise ConfigError(str(file), error.mistakes) from error


def difference(file: Path, before: str, after: str) -> str:
    """A unified diff."""
    lines = (before.splitlines(keepends=True), after.splitlines(keepends=True))
    return "".join(difflib.unified_diff(*lines, str(file), _("{file} (new)").format(file=file), n=2))


def replace(file: Path, before: str, after: str) -> None:
    """Replace the file at once, with its owner and rights; EntryError when somebody else has changed it meanwhile."""
    target = file.resolve()
    scratch = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    found = target.stat()
    try:
        with scratch.open("x", encoding="utf-8") as out:
            scratch.chmod(found.st_mode & 0o7777)
            if os.geteuid() == 0:
                os.chown(scratch, found.st_uid, found.st_gid)
            out.write(after)
            out.flush()
            os.fsync(out.fileno())
        if target.read_text(encoding="utf-8") != before:
            raise EntryError([_("{file} was changed meanwhile: try again").format(file=file)])
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
