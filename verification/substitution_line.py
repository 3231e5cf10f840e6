"""The lines of a month document for energy that somebody wrote down (数据替代), and for what comes of it."""

from typing import Literal

import msgspec

from verification.lines import Amount, Count, Ratio


class SubstitutionLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """T10.1: energy written down for a time that no meter accounts for. Never in a measured figure."""

    id: str
    meter: str
    reading_type: str
    start: str
    end: str
    amount: Count
    """In base units, on the primary side."""
    unit: str = "Wh"
    method_zh: str
    method_en: str
    reason: str
    evidence_sha256: str
    author: str
    approver: str
    accepted: bool
    refused_zh: str = ""
    refused_en: str = ""


class ReportedLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """T1.4: measured + substituted = reported, exactly; of the scope's sums, and of every total with a substitution."""

    id: str
    kind: Literal["energy", "emission", "total"]
    label_zh: str
    label_en: str
    unit: str
    """Base unit, kgce or ug."""
    measured: Amount | None
    """Reported less substituted; None with it."""
    substituted: Amount
    reported: Amount | None
    """None unless measured and substituted cover the month together."""
    share: Ratio | None = None
    """Substituted ÷ reported."""
