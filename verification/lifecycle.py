"""The life of a month: open → provisional → under review → verified → submitted → (restated), as a table of transitions.

Pure: what was done so far and what somebody wants to do go in, the act to store or the reasons why not come out.
Each revision has its own life; a later revision restates the one before. That nobody approves what he prepared himself
(四眼原则) and that an unanswered finding, a FAIL or a pending event keeps a month from *verified* are our rules.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from metering.i18n import N_, _
from storage.lifecycle import Act, Subject
from verification.document import MonthDocument


class Status(StrEnum):
    """Where a revision stands."""

    OPEN = "open"
    PROVISIONAL = "provisional"
    UNDER_REVIEW = "under_review"
    VERIFIED = "verified"
    SUBMITTED = "submitted"
    RESTATED = "restated"


STATUS_LABELS: Mapping[Status, tuple[str, str]] = {
    Status.OPEN: ("未关账", N_("open")),
    Status.PROVISIONAL: ("暂定", N_("provisional")),
    Status.UNDER_REVIEW: ("核查中", N_("under review")),
    Status.VERIFIED: ("已核查", N_("verified")),
    Status.SUBMITTED: ("已报送", N_("submitted")),
    Status.RESTATED: ("已更正", N_("restated")),
}


class Action(StrEnum):
    """What can be done to a revision."""

    CLOSE = "close"
    ANSWER = "answer"
    SEND = "send"
    RETURN = "return"
    APPROVE = "approve"
    ATTACH = "attach"
    SUBMIT = "submit"
    RESTATE = "restate"


@dataclass(frozen=True, slots=True)
class Transition:
    """From where an action leads where (None: the status stays), and the permission that it needs."""

    start: frozenset[Status]
    end: Status | None
    permission: str
    needs_reason: bool = False
    needs_file: bool = False


_EDITABLE = frozenset({Status.PROVISIONAL, Status.UNDER_REVIEW})
TRANSITIONS: Mapping[Action, Transition] = {
    Action.CLOSE: Transition(frozenset({Status.OPEN}), Status.PROVISIONAL, "month.prepare"),
    Action.ANSWER: Transition(_EDITABLE, None, "finding.answer", needs_reason=True),
    Action.SEND: Transition(frozenset({Status.PROVISIONAL}), Status.UNDER_REVIEW, "month.prepare"),
    Action.RETURN: Transition(
        frozenset({Status.UNDER_REVIEW}), Status.PROVISIONAL, "month.review", needs_reason=True
    ),
    Action.APPROVE: Transition(frozenset({Status.UNDER_REVIEW}), Status.VERIFIED, "month.review"),
    Action.ATTACH: Transition(
        frozenset({Status.VERIFIED, Status.SUBMITTED}), None, "finding.answer", needs_file=True
    ),
    Action.SUBMIT: Transition(frozenset({Status.VERIFIED}), Status.SUBMITTED, "month.submit"),
    Action.RESTATE: Transition(
        frozenset({Status.PROVISIONAL, Status.UNDER_REVIEW, Status.VERIFIED, Status.SUBMITTED}),
        Status.RESTATED,
        "month.prepare",
        needs_reason=True,
    ),
}
PREPARING = frozenset({Action.CLOSE, Action.ANSWER, Action.SEND})
"""Whoever did one of these prepared the revision."""
_BLOCKING = frozenset({"FAIL", "INSUFFICIENT_DATA"})
_SETTLED = frozenset({"PASS", "NOT_DUE"})


class RefusedError(Exception):
    """The action is not possible now; `reasons` lists every cause at once."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = tuple(reasons)


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to do, in which role."""

    action: Action
    actor: str
    role: str
    at_ms: int
    reason: str = ""
    subject: str = ""
    file_sha256: str = ""
    file_name: str = ""


def status_of(acts: Sequence[Act]) -> Status:
    """Where a revision stands after its acts."""
    return Status(acts[-1].status) if acts else Status.OPEN


def act(of: Subject, document: MonthDocument, acts: Sequence[Act], wish: Wish) -> Act:
    """The act to store.

    Raises:
        RefusedError: with every reason why it cannot be done now.
    """
    reasons = refusals(document, acts, wish)
    if reasons:
        raise RefusedError(reasons)
    after = TRANSITIONS[wish.action].end or status_of(acts)
    return Act(
        month=of.month,
        scope_kind=of.scope_kind,
        scope_id=of.scope_id,
        revision=of.revision,
        at_ms=wish.at_ms,
        actor=wish.actor,
        role=wish.role,
        action=wish.action,
        status=after,
        reason=wish.reason,
        subject=wish.subject,
        file_sha256=wish.file_sha256,
        file_name=wish.file_name,
    )


def refusals(document: MonthDocument, acts: Sequence[Act], wish: Wish) -> list[str]:
    """Every reason why a wish cannot be granted; none when it can."""
    rule, found = TRANSITIONS[wish.action], []
    if (now := status_of(acts)) not in rule.start:
        found.append(
            _("the month is {now}; this is possible from: {start}").format(
                now=label(now), start=", ".join(label(s) for s in Status if s in rule.start)
            )
        )
    if rule.needs_reason and not wish.reason.strip():
        found.append(_("a reason is needed"))
    if rule.needs_file and not wish.file_sha256:
        found.append(_("a file is needed"))
    if wish.action is Action.ANSWER and wish.subject not in answerable(document):
        found.append(_("there is no finding {check}").format(check=wish.subject or "—"))
    if wish.action is Action.APPROVE:
        found += _approval(document, acts, wish.actor)
    return found


def _approval(document: MonthDocument, acts: Sequence[Act], actor: str) -> list[str]:
    found = []
    if actor in preparers(acts):
        found.append(_("{actor} prepared this month and cannot approve it (four eyes)").format(actor=actor))
    return found + obstacles(document, acts)


def obstacles(document: MonthDocument, acts: Sequence[Act]) -> list[str]:
    """What keeps a revision from *verified*, whoever approves."""
    found = [
        _("{check} is {outcome}").format(check=c.id, outcome=c.outcome)
        for c in document.checks
        if c.outcome in _BLOCKING
    ]
    if pending := sorted({line.meter for line in document.meters if line.pending}):
        found.append(_("pending events: {meters}").format(meters=", ".join(pending)))
    if missing := unanswered(document, acts):
        found.append(_("findings without an answer: {checks}").format(checks=", ".join(missing)))
    return found


def findings(document: MonthDocument) -> list[str]:
    """Ids of the checks that somebody has to answer; a finding of a minor check is only shown."""
    return [
        check.id
        for check in document.checks
        if check.outcome in _BLOCKING or (check.outcome == "FINDING" and check.severity != "minor")
    ]


def answerable(document: MonthDocument) -> list[str]:
    """Ids of the checks that somebody may answer: what has to be answered, and findings of minor checks."""
    return [check.id for check in document.checks if check.outcome not in _SETTLED]


def unanswered(document: MonthDocument, acts: Iterable[Act]) -> list[str]:
    """Findings that nobody has answered."""
    answered = {act.subject for act in acts if act.action == Action.ANSWER}
    return [check for check in findings(document) if check not in answered]


def preparers(acts: Iterable[Act]) -> set[str]:
    """Who prepared a revision."""
    return {act.actor for act in acts if act.action in PREPARING}


def label(status: Status) -> str:
    """The status in the reader's language."""
    return _(STATUS_LABELS[status][1])
