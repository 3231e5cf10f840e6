"""The line of a month document for energy that somebody wrote down (数据替代)."""

import msgspec

from verification.lines import Count


class SubstitutionLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """T10: energy written down for a time that no meter accounts for. Beside the measured figures, never in them."""

    id: str
    meter: str
    reading_type: str
    start: str
    end: str
    amount: Count
    """In the total's base unit, on the primary side."""
    method_zh: str
    method_en: str
    reason: str
    evidence_sha256: str
    author: str
    approver: str
    accepted: bool
    refused_zh: str = ""
    refused_en: str = ""
