"""The desk where months are prepared, answered, approved and submitted: what this role asks of whoever runs it.

The rules are verification's; no role imports another, so the command line hands an object over that keeps to this protocol.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from storage.lifecycle import Act, Subject


class Refused(Exception):
    """The action is not possible now (409); `reasons` are sentences in the server's language."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = tuple(reasons)


class Standing(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The newest revision of a month of a scope, as a heat map shows it."""

    month: str
    scope_kind: str
    scope_id: str
    name: str
    name_en: str
    revision: int
    outcome: str
    status: str
    findings: int
    unanswered: int
    due: str
    """Day of the next deadline that it has not met; empty when it has met all."""
    due_zh: str
    due_en: str
    days_left: int | None


class Life(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One revision: where it stands, what was done, what keeps it from *verified*."""

    status: str
    code: str
    """Verification code of its document."""
    acts: tuple[Act, ...]
    unanswered: tuple[str, ...]
    obstacles: tuple[str, ...]
    actions: tuple[str, ...]
    """Possible from this status, whoever asks."""
    preparers: tuple[str, ...]
    restatement: str = ""
    """The cause under which it was handed over together with others; empty for a month by itself."""


class Difference(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One figure that differs between two revisions, as the report's table T10 tells it."""

    path: str
    """Its place in the document."""
    label: str
    """The place in words."""
    unit: str
    old: str
    new: str
    difference: str
    """new − old; empty where there is none."""
    proof: bool
    """Whether it only leads to the proof: places of frames, milliseconds."""


class Desk(Protocol):
    """Implemented by `tanyun.desk`."""

    def board(self, today: str) -> list[Standing]:
        """The newest revision of every month and scope, newest month first; `today` is a local day."""
        ...

    def life(self, subject: Subject) -> Life | None:
        """A revision's life; None when there is no such revision."""
        ...

    def differences(self, subject: Subject, against: int) -> list[Difference] | None:
        """What differs from another revision of the same month, what a reader looks for first; None when one is not there."""
        ...

    def act(
        self,
        subject: Subject,
        action: str,
        *,
        actor: str,
        role: str,
        reason: str,
        check: str,
        file_sha256: str,
        file_name: str,
    ) -> Act:
        """Do it. Refused with every reason; OvertakenError when somebody was faster."""
        ...

    def restatement(self, cause: str) -> list[Subject]:
        """The revisions that were handed over together under a cause; none when there is no such restatement."""
        ...

    def approve_restatement(self, cause: str, *, actor: str, role: str) -> list[Act]:
        """Approve all of them or none. Refused with every reason; OvertakenError when somebody was faster."""
        ...

    def document_schema(self) -> dict[str, Any]:
        """The JSON Schema of a month's JSON report."""
        ...

    def keep(self, data: bytes) -> str:
        """Keep an attached file; its SHA-256. ValueError when it is none that is kept."""
        ...

    def attachment(self, digest: str) -> bytes | None:
        """A kept file."""
        ...

    def by_code(self, code: str) -> Subject | None:
        """The revision that a printed report's verification code belongs to."""
        ...
