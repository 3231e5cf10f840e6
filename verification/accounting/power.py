"""Electricity by source, each kWh in one line: ordinary, delivered green, certified, self-generated, exported."""

from fractions import Fraction
from math import floor

from factors.policy import MissingFactor
from factors.table import Factor
from verification.document import Energy, count_text, ratio_text
from verification.lines import CertificateLine, PowerLine, RenewableLine

_ZERO_GREEN = "zero-evidenced-nonfossil"
"""GB/T 32151.34-2024 5.2.6.1 and annex D."""


def power_lines(
    energy: Energy, ordinary: Factor | MissingFactor, certificates: tuple[CertificateLine, ...]
) -> tuple[PowerLine, ...]:
    """The scope's electricity by source; a source that is not there has no line."""
    purchased = None if energy.purchased_wh is None else int(energy.purchased_wh)
    green, gec = (_accepted(certificates, kind) for kind in ("green_power", "gec"))
    rest = None if purchased is None else purchased - green - gec
    factor = ordinary if isinstance(ordinary, Factor) else None
    lines = [_line("ordinary", rest, factor.ratio if factor else None, factor.id if factor else None)]
    if green:
        lines.append(_line("green_power", green, Fraction(0), _ZERO_GREEN, _ids(certificates, "green_power")))
    if gec:
        lines.append(_line("certificates", gec, Fraction(0), _ZERO_GREEN, _ids(certificates, "gec")))
    if energy.pv_generation_wh != "0":
        own = None if energy.pv_self_use_wh is None else int(energy.pv_self_use_wh)
        lines.append(_line("self_generated", own, Fraction(0), "zero-self-generated-nonfossil"))
    if energy.export_wh != "0":
        out = None if energy.export_wh is None else int(energy.export_wh)
        lines.append(_line("exported", out, None, None))
    return tuple(lines)


_LABELS = {
    "ordinary": ("购入普通电力", "Purchased, ordinary"),
    "green_power": ("购入绿电（合同与结算凭证）", "Purchased, green contract"),
    "certificates": ("购入电力（绿证）", "Purchased, certified"),
    "self_generated": ("自发自用非化石电力", "Self-generated non-fossil, used"),
    "exported": ("上网电量（单列）", "Exported, listed apart"),
}


def _line(
    name: str, wh: int | None, ratio: Fraction | None, factor_id: str | None, evidence: tuple[str, ...] = ()
) -> PowerLine:
    zh, en = _LABELS[name]
    return PowerLine(
        id=name,  # type: ignore[arg-type]  # one of the labels' keys
        direction="out" if name == "exported" else "in",
        label_zh=zh,
        label_en=en,
        energy_wh=count_text(wh),
        factor_ug_per_wh=None if ratio is None else ratio_text(ratio),
        factor_id=factor_id,
        emission_ug=None if wh is None or ratio is None else str(floor(wh * ratio)),
        evidence=evidence,
    )


def _accepted(certificates: tuple[CertificateLine, ...], kind: str) -> int:
    return sum(int(line.accepted_wh) for line in certificates if line.kind == kind)


def _ids(certificates: tuple[CertificateLine, ...], kind: str) -> tuple[str, ...]:
    return tuple(line.id for line in certificates if line.kind == kind and line.accepted_wh != "0")


def renewable_line(energy: Energy, certificates: tuple[CertificateLine, ...]) -> RenewableLine:
    """PV self-use, green power and certificates, of all electricity used."""
    if energy.purchased_wh is None or energy.pv_self_use_wh is None:
        return RenewableLine(consumed_wh=None, renewable_wh=None, share=None)
    own = int(energy.pv_self_use_wh)
    consumed = int(energy.purchased_wh) + own
    renewable = own + _accepted(certificates, "green_power") + _accepted(certificates, "gec")
    share = ratio_text(Fraction(renewable, consumed)) if consumed > 0 else None
    return RenewableLine(consumed_wh=str(consumed), renewable_wh=str(renewable), share=share)
