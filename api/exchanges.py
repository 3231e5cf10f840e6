"""What this role asks of whoever runs it about exchanged meters (换表): who waits, and the declaration.

The registry's file is not this role's to write: the command line hands an object over that keeps to this protocol.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Protocol

import msgspec
from pydantic import BaseModel, ConfigDict, Field

_Shown = Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=6)]
_Total = Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]


class PendingTotal(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A total that waits."""

    reading_type: str
    label_zh: str
    label_en: str
    unit: str
    """As displays show it."""
    since_ms: int | None
    """Its last total that counted; None where only the serial number changed."""
    since: str | None


class PendingExchange(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A meter whose exchange is to be declared (换表待确认)."""

    meter: str
    name: str
    enterprise: str
    totals: list[PendingTotal]
    serial: str
    """The serial number that it answers with now; empty when it says none."""
    declared: bool
    """It was declared, and the stream has not taken it up yet."""


class ExchangeForm(BaseModel):
    """What the form says. Nothing is required here, so that a stranger's meter is not told from one that does not exist."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: datetime | None = Field(default=None, description="Local time, without an offset.")
    closing: dict[_Total, _Shown] = Field(
        default_factory=dict, max_length=20, description="The old display's last readings."
    )
    opening: dict[_Total, _Shown] = Field(
        default_factory=dict, max_length=20, description="The new display's first readings."
    )
    serial: str = Field(default="", max_length=60, description="Of the new meter.")
    reason: str = Field(default="", max_length=500)
    photo_sha256: str = Field(
        default="", pattern=r"^([0-9a-f]{64})?$", description="Photo of both displays, uploaded before."
    )


class Exchanges(Protocol):
    """Implemented by `tanyun.exchanges`."""

    def pending(self) -> list[PendingExchange]:
        """Meters that wait, in the order of the registry."""
        ...

    def declare(self, meter: str, form: ExchangeForm) -> Mapping[str, Any]:
        """Write an exchange into the registry's file; what the audit log tells of it. Refused with every reason."""
        ...
