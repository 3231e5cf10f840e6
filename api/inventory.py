"""Activity data to emissions: the boundary formula over meters, and the factors both inventories take."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal, NamedTuple

from api.models import EmissionFigure, FactorInForce
from factors.policy import FactorPolicy, MissingFactor, enterprise_policy, park_policy, resolve
from factors.table import Factor, FactorTable
from metering.reading_types import READING_TYPES
from metering.registry import Meter, Park, RegistryError, Term
from metering.roles import Role

Use = Literal["enterprise", "park"]
Key = tuple[str, str]
"""(meter, reading type)."""


class Flow(NamedTuple):
    """One term of a formula on one meter: its total is added or taken off."""

    meter: str
    reading_type: str
    role: Role
    sign: int

    @property
    def key(self) -> Key:
        return self.meter, self.reading_type


def flows(meters: Iterable[Meter], formula: Iterable[Term]) -> tuple[Flow, ...]:
    """The electricity totals that a boundary formula takes from these meters."""
    terms = tuple(formula)
    return tuple(
        Flow(meter.id, reading_type, role, term.sign)
        for meter in meters
        for reading_type, role in meter.roles.items()
        for term in terms
        if role is term.role and READING_TYPES[reading_type].unit == "Wh"
    )


@dataclass(frozen=True, slots=True)
class Tally:
    """The result of a formula; `missing` are meters that say nothing about the time, so that their share is unknown."""

    energy_wh: int | None
    missing: tuple[str, ...] = ()


def tally(terms: Iterable[Flow], sums: Mapping[Key, int]) -> Tally:
    """Signed sum over the meters that are known; None when none is."""
    known = [flow for flow in terms if flow.key in sums]
    missing = tuple(flow.meter for flow in terms if flow.key not in sums)
    return Tally(sum(flow.sign * sums[flow.key] for flow in known) if known else None, missing)


def times_factor(energy_wh: int, factor: Factor) -> int:
    """Emission in ug, floored where the factor is not whole."""
    return energy_wh * factor.num // factor.den


def factor_text(factor: Factor) -> str:
    """Ug per Wh as exact text."""
    return str(factor.num) if factor.den == 1 else f"{factor.num}/{factor.den}"


class Inventory:
    """The factors of a park: the national average for enterprises, the provincial one for the park's inventory."""

    def __init__(self, table: FactorTable, park: Park, file: str) -> None:
        self.table = table
        try:
            provincial = park_policy(park.grid_scope)
        except ValueError as error:
            raise RegistryError(file, [f"grid_scope: {error}"]) from error
        self.policies: dict[Use, FactorPolicy] = {"enterprise": enterprise_policy(), "park": provincial}

    def factor(self, use: Use, month: str, as_of: date) -> Factor | MissingFactor:
        """The factor a use takes for a month, as known on `as_of`."""
        return resolve(self.table, self.policies[use], month, as_of)

    def figures(self, scope: Use, energy_wh: int | None, month: str, as_of: date) -> list[EmissionFigure]:
        """An enterprise gets the national figure; a park the provincial one first, and the national one."""
        uses: tuple[Use, ...] = ("enterprise",) if scope == "enterprise" else ("park", "enterprise")
        return [self._figure(use, energy_wh, month, as_of, primary=use == scope) for use in uses]

    def _figure(
        self, use: Use, energy_wh: int | None, month: str, as_of: date, *, primary: bool
    ) -> EmissionFigure:
        policy, factor = self.policies[use], self.factor(use, month, as_of)
        head = {"use": use, "primary": primary, "label_zh": policy.label_zh, "label_en": policy.label_en}
        if isinstance(factor, MissingFactor):
            return EmissionFigure.model_validate(
                head | {"reason": factor.reason, "reason_zh": factor.reason_zh}
            )
        head |= {"factor_id": factor.id, "factor_ug_per_wh": factor_text(factor)}
        if energy_wh is None:
            return EmissionFigure.model_validate(head | NO_READINGS)
        return EmissionFigure.model_validate(head | {"emission_ug": times_factor(energy_wh, factor)})

    def in_force(self, month: str, as_of: date) -> list[FactorInForce]:
        """Both factors of a month with their sources, for display."""
        return [self._in_force(use, month, as_of) for use in self.policies]

    def _in_force(self, use: Use, month: str, as_of: date) -> FactorInForce:
        policy, factor = self.policies[use], self.factor(use, month, as_of)
        if isinstance(factor, MissingFactor):
            return FactorInForce(
                use=use, policy_zh=policy.label_zh, policy_en=policy.label_en,
                reason=factor.reason, reason_zh=factor.reason_zh,
            )  # fmt: skip
        return FactorInForce(
            use=use, policy_zh=policy.label_zh, policy_en=policy.label_en, id=factor.id,
            scope_code=factor.scope_code, data_year=factor.data_year, value_kg_per_kwh=factor.value_text,
            factor_ug_per_wh=factor_text(factor), label_zh=factor.label_zh, label_en=factor.label_en,
            notice=factor.notice, published=factor.published, verified=factor.verified,
        )  # fmt: skip


NO_READINGS = {"reason": "no reading covers this time", "reason_zh": "该时段没有读数"}
