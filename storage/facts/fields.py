"""Types of the fields of facts: what each accepts, and what it says of anything else."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from metering.i18n import _
from metering.roles import Role
from storage.facts.credit_code import is_credit_code

TEXT_LENGTH = 500
NUMBER_LIMIT = Decimal(10) ** 15
DIGITS = 9
"""After the point: more than any bill or laboratory prints."""
_TERM = re.compile(r"([+-]?)\s*([a-z_]+)\s*")


def _number(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    if (
        not value.is_finite()
        or value.copy_abs() > NUMBER_LIMIT  # abs() would round, and overflow
        or not isinstance(exponent, int)
        or -exponent > DIGITS
    ):
        raise ValueError(_("a number has at most 15 digits before and 9 after the point"))
    return value


def _not_negative(value: Decimal) -> Decimal:
    if value < 0:
        raise ValueError(_("must not be negative"))
    return value


def _positive(value: Decimal) -> Decimal:
    if value <= 0:
        raise ValueError(_("must be above 0"))
    return value


def _code(value: str) -> str:
    if not is_credit_code(value):
        raise ValueError(
            _("not a 统一社会信用代码: 18 characters, and the last one does not follow from the others")
        )
    return value


def _formula(value: str) -> str:
    parse_formula(value)
    return value


def _plain_day(value: object) -> object:
    """Spreadsheets give days as midnights."""
    if isinstance(value, datetime):
        return value.date()
    return value.split(" ")[0] if isinstance(value, str) else value


Text = Annotated[str, Field(max_length=TEXT_LENGTH)]
Required = Annotated[str, Field(min_length=1, max_length=TEXT_LENGTH)]
Month = Annotated[str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")]
Day = Annotated[date, BeforeValidator(_plain_day)]
Number = Annotated[Decimal, AfterValidator(_number)]
Quantity = Annotated[Decimal, AfterValidator(_number), AfterValidator(_not_negative)]
Positive = Annotated[Decimal, AfterValidator(_number), AfterValidator(_positive)]
Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Formula = Annotated[str, AfterValidator(_formula)]
CreditCode = Annotated[str, AfterValidator(_code)]
RatioText = Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,4})?(/[1-9][0-9]{0,5})?$")]
"""A transformer ratio: 80 or 400/5."""
Industry = Annotated[str, Field(pattern=r"^[A-T]?[0-9]{2,4}$")]


def parse_formula(text: str) -> tuple[tuple[Role, Literal[1, -1]], ...]:
    """`grid_boundary - resold` as roles with signs; ValueError when it is none."""
    terms: list[tuple[Role, Literal[1, -1]]] = []
    at, rest = 0, text.strip()
    while at < len(rest):
        found = _TERM.match(rest, at)
        if found is None or (at and not found[1]) or found[2] not in Role.__members__.values():
            roles = ", ".join(Role)
            raise ValueError(
                _("not a formula over roles such as `grid_boundary - resold`; the roles are {roles}").format(
                    roles=roles
                )
            )
        terms.append((Role(found[2]), -1 if found[1] == "-" else 1))
        at = found.end()
    if not any(sign > 0 for _role, sign in terms):
        raise ValueError(_("a formula adds at least one role"))
    return tuple(terms)
