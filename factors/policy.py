"""Which factor a calendar month takes: policies as values, and the one function that resolves them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

import msgspec

from factors.table import Factor

if TYPE_CHECKING:
    from datetime import date

    from factors.table import FactorTable

GRID_ROLES = frozenset({"grid_boundary", "sub_meter", "resold", "storage"})
"""Roles of meters whose energy came from the grid."""

ZERO_SELF_GENERATED = Factor(
    id="zero-self-generated-nonfossil",
    scope_code="CN",
    data_year=None,
    kind="zero_self_generated",
    num=0,
    den=1,
    value_text="0",
    notice="GB/T 32151.34-2024 附录D",
    published=None,
    verified="one_source",
    label_zh="自发自用非化石能源电力（以逐月计量记录为证）",
    label_en="Self-generated non-fossil power (evidence: monthly meter records)",
)

NOT_APPLICABLE = Factor(
    id="none-export",
    scope_code="CN",
    data_year=None,
    kind="not_applicable",
    num=0,
    den=1,
    value_text="0",
    notice="",
    published=None,
    verified="by_definition",
    label_zh="上网电量：单独列示，不计购入电力排放",
    label_en="Exported power: listed separately, carries no purchase emission",
)


class Why(StrEnum):
    """Why there is no factor."""

    NOTHING_KNOWN = "nothing_known"
    NOT_PUBLISHED_YET = "not_published_yet"
    UNVERIFIED = "unverified"


class MissingFactor(msgspec.Struct, frozen=True, gc=False):
    """No factor for this month: the number stops here, and nothing is put in its place."""

    code: Why
    reason: str
    reason_zh: str


@dataclass(frozen=True, slots=True)
class LatestPublished:
    """The newest data year among the factors published on or before the day of the question."""

    scope_code: str
    kind: str
    label_zh: str = field(default="最新发布值", compare=False)
    label_en: str = field(default="Latest published", compare=False)


@dataclass(frozen=True, slots=True)
class ByDataYear:
    """The factor of one data year, whatever came later."""

    scope_code: str
    kind: str
    year: int
    label_zh: str = field(default="指定数据年份", compare=False)
    label_en: str = field(default="By data year", compare=False)


@dataclass(frozen=True, slots=True)
class Pinned:
    """Exactly this factor, an unverified one included."""

    id: str
    label_zh: str = field(default="指定因子", compare=False)
    label_en: str = field(default="Pinned", compare=False)


FactorPolicy = LatestPublished | ByDataYear | Pinned


def enterprise_policy() -> LatestPublished:
    return LatestPublished("CN", "average", "全国平均（企业口径）", "National average (enterprise)")


def market_policy() -> LatestPublished:
    """The residual factor of the market-based method: it leaves out what was sold with certificates.

    That the notice's series is used so is our reading of its name; no rule was found that says it.
    """
    return LatestPublished(
        "CN", "average_excl_market_nonfossil", "市场法剩余电量（全国平均，不含市场化交易的非化石能源电量）",
        "Market-based residual (national average without market-traded non-fossil power)",
    )  # fmt: skip


def park_policy(province: str) -> LatestPublished:
    """The policy of a park inventory; `province` is a scope code such as CN-AH."""
    if not re.fullmatch(r"CN-[A-Z]{2}", province):
        raise ValueError(f"{province} is not the scope code of a province")
    return LatestPublished(province, "average", "省级平均（园区口径）", "Provincial average (park)")


def resolve(table: FactorTable, policy: FactorPolicy, month: str, as_of: date) -> Factor | MissingFactor:
    """The one factor of a whole month.

    Args:
        month: `YYYY-MM`; every interval of it takes the answer, also when a notice appears within it.
        as_of: the day the month is closed, or today while it is open.
    """
    if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", month):
        raise ValueError(f"{month!r} is not a month YYYY-MM")
    subject, known = _candidates(table, policy)
    usable = known if isinstance(policy, Pinned) else tuple(f for f in known if f.official)
    published = [f for f in usable if f.published is None or f.published <= as_of]
    return published[0] if published else _missing(subject, known, usable, f"{month} ({as_of})")


def policy_for_role(role: str, grid_policy: FactorPolicy) -> FactorPolicy | Factor:
    """What a meter of this role takes: the grid policy, or a factor that no notice changes."""
    if role in GRID_ROLES:
        return grid_policy
    if role == "pv_generation":
        return ZERO_SELF_GENERATED
    if role == "export":
        return NOT_APPLICABLE
    raise ValueError(f"no factor rule for role {role!r}")


def factor_for(
    table: FactorTable, role: str, policy: FactorPolicy, month: str, as_of: date
) -> Factor | MissingFactor:
    """The factor of a meter's energy in a month, by the meter's role."""
    choice = policy_for_role(role, policy)
    return choice if isinstance(choice, Factor) else resolve(table, choice, month, as_of)


def _candidates(table: FactorTable, policy: FactorPolicy) -> tuple[str, tuple[Factor, ...]]:
    """What the policy asks for, in words, and the factors that could answer, best first."""
    match policy:
        case Pinned():
            pinned = table.get(policy.id)
            return policy.id, () if pinned is None else (pinned,)
        case LatestPublished():
            return f"{policy.scope_code} {policy.kind}", table.find(policy.scope_code, policy.kind)
        case ByDataYear():
            found = table.find(policy.scope_code, policy.kind, policy.year)
            return f"{policy.scope_code} {policy.kind} {policy.year}", found
        case _:
            assert_never(policy)


def _missing(subject: str, known: tuple[Factor, ...], usable: tuple[Factor, ...], when: str) -> MissingFactor:
    if not known:
        return MissingFactor(
            Why.NOTHING_KNOWN, f"no factor {subject} is known, for {when}", f"无排放因子：{subject}，{when}"
        )
    if not usable:
        return MissingFactor(
            Why.UNVERIFIED,
            f"factor {subject} is known but not verified, for {when}",
            f"排放因子未经核实：{subject}，{when}",
        )
    return MissingFactor(
        Why.NOT_PUBLISHED_YET,
        f"factor {subject} was not published yet, for {when}",
        f"排放因子当时尚未发布：{subject}，{when}",
    )
