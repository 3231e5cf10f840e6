"""What every kind of fact has: a subject, a key, and for a state the days that it holds."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from metering.config import Strict
from metering.i18n import _
from storage.facts.fields import Day


class Fact(Strict):
    """What every kind has."""

    KIND: ClassVar[str]
    LABEL: ClassVar[tuple[str, str]]
    """Chinese, English."""
    SUBJECT: ClassVar[str]
    """The field that names what the fact is about: `enterprise`, `meter` or `scope` (an enterprise or the park)."""
    KEY: ClassVar[tuple[str, ...]] = ()
    """Fields that tell facts of one subject apart."""

    @property
    def subject(self) -> str:
        """What it is about."""
        return str(getattr(self, self.SUBJECT))

    @property
    def key(self) -> str:
        """What tells it from others of the same kind and subject."""
        return " ".join(str(getattr(self, name)) for name in self.KEY)


class State(Fact):
    """A fact that holds from a day on."""

    valid_from: Day = Field(title="生效日期 valid from")
    valid_to: Day | None = Field(default=None, title="失效日期（不含） valid to, exclusive")

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            raise ValueError(_("valid_to is not after valid_from"))
        return self
