"""Zero-factor power: which deliveries and certificates count for a month, and why the others do not.

Evidence is that of GB/T 32151.34-2024 annex D.2: contract with settlement voucher, or certificates. Validity of certificates is
that of the 2024 rules of the National Energy Administration. What has no evidence takes the grid's factor and is named.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from storage.facts.kinds import CertificateFact, GreenFact
from verification.accounting.books import Books
from verification.lines import CertificateLine

WH_PER_CERTIFICATE = 1_000_000
"""1 certificate = 1,000 kWh (国家能源局 2024-09-05)."""
VALID_MONTHS = 24
"""Of the production month, inclusive; power of before 2024 until the end of 2025 (the same rules)."""
_OLD_POWER_BEFORE, _OLD_POWER_UNTIL = "2024-01", "2025-12"
_NO_PROOF = ("没有凭证文件的校验值", "no digest of the proof")


@dataclass(frozen=True, slots=True)
class _Claim:
    """What is claimed, before it is known how much of it fits."""

    line: CertificateLine
    refused: tuple[str, str] | None


def certificate_lines(books: Books, purchased_wh: int | None) -> tuple[CertificateLine, ...]:
    """Deliveries first, then certificates, each kWh of the purchase covered at most once."""
    left = max(purchased_wh or 0, 0)
    lines = []
    for claim in _claims(books):
        accepted = 0 if claim.refused else min(left, int(claim.line.energy_wh))
        left -= accepted
        lines.append(_settled(claim, accepted))
    return tuple(lines)


def accepted_wh(lines: tuple[CertificateLine, ...]) -> int:
    """What counts at factor 0."""
    return sum(int(line.accepted_wh) for line in lines)


def _claims(books: Books) -> Iterator[_Claim]:
    for green in sorted(books.green(), key=lambda fact: (fact.enterprise, fact.key)):
        yield _Claim(_of_green(green), _green_refused(green))
    for batch in sorted(books.certificates(), key=lambda fact: (fact.enterprise, fact.first)):
        yield _Claim(_of_batch(batch), _batch_refused(batch))


def _of_green(fact: GreenFact) -> CertificateLine:
    return CertificateLine(
        id=f"{fact.enterprise}/{fact.contract}",
        kind="green_power",
        label=f"{fact.contract} {fact.settlement}".strip(),
        production_month=fact.month,
        retired_on="",
        energy_wh=str(int(fact.energy_kwh * 1000)),
        accepted_wh="0",
        evidence_sha256=fact.evidence_sha256,
    )


def _of_batch(fact: CertificateFact) -> CertificateLine:
    return CertificateLine(
        id=f"{fact.enterprise}/{fact.first}",
        kind="gec",
        label=f"{fact.first}–{fact.last}",
        production_month=fact.production_month,
        retired_on=fact.retired_on.isoformat() if fact.retired_on else "",
        energy_wh=str(fact.count * WH_PER_CERTIFICATE),
        accepted_wh="0",
        evidence_sha256=fact.evidence_sha256,
    )


def _green_refused(fact: GreenFact) -> tuple[str, str] | None:
    if not fact.settlement:
        return "没有结算凭证", "no settlement voucher"
    return None if fact.evidence_sha256 else _NO_PROOF


def _batch_refused(fact: CertificateFact) -> tuple[str, str] | None:
    if fact.status != "retired" or fact.retired_on is None:
        return "未注销", "not retired"
    age = _months(fact.month) - _months(fact.production_month)
    if age < 0:
        return "电量生产月份晚于使用月份", "produced after the month it is claimed for"
    old = fact.production_month < _OLD_POWER_BEFORE
    if (old and fact.month > _OLD_POWER_UNTIL) or (not old and age >= VALID_MONTHS):
        return "已过有效期", "expired"
    return None if fact.evidence_sha256 else _NO_PROOF


def _months(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:])


def _settled(claim: _Claim, accepted: int) -> CertificateLine:
    line, refused = claim.line, claim.refused
    if refused is None and accepted < int(line.energy_wh):
        refused = ("超出购入电量的部分不计", "what exceeds the purchased electricity does not count")
    zh, en = refused or ("", "")
    fields = {name: getattr(line, name) for name in line.__struct_fields__}
    return CertificateLine(**{**fields, "accepted_wh": str(accepted), "refused_zh": zh, "refused_en": en})
