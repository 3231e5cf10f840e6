"""The desk of the months: stores and life-cycle rules put together, for the API's pages and for the command line."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from api.desk import Difference, Life, Refused, Standing
from factors.holidays import Calendar
from metering.i18n import _
from storage import attachments
from storage.lifecycle import Act, LifecycleStore, Subject
from storage.months import MonthRow, MonthStore, verification_code
from tanyun.config import ServerConfig
from verification import changes
from verification.deadlines import DEADLINES, Deadline, due, reached
from verification.delivery.config import load_delivery
from verification.document import MonthDocument, json_schema, parse
from verification.lifecycle import (
    TRANSITIONS,
    Action,
    RefusedError,
    Status,
    Wish,
    act,
    findings,
    obstacles,
    preparers,
    status_of,
    unanswered,
)

_COLUMNS = ("label", "unit", "old", "new", "difference")
RESTATEMENT = "restatement "
"""Begins the reason under which the months of one cause are handed over, and approved."""


def subject_of(row: MonthRow) -> Subject:
    """The revision that a stored document is."""
    return Subject(row.month, row.scope_kind, row.scope_id, row.revision)


@dataclass(frozen=True, slots=True)
class MonthDesk:
    """Keeps to `api.desk.Desk`. Every call opens what it needs for a short moment."""

    months: Path
    lifecycle: Path
    attachments: Path
    clock: Callable[[], int]
    deadlines: tuple[Deadline, ...] = DEADLINES

    def rows(self) -> list[MonthRow]:
        """All revisions."""
        if not self.months.exists():
            return []
        with MonthStore(self.months, writable=False) as store:
            return store.list()

    def row(self, subject: Subject) -> MonthRow | None:
        """A revision's document."""
        if not self.months.exists():
            return None
        with MonthStore(self.months, writable=False) as store:
            return store.get(*subject)

    def acts(self) -> dict[Subject, list[Act]]:
        """Everything that was done, by revision."""
        if not self.lifecycle.exists():
            return {}
        found: dict[Subject, list[Act]] = {}
        with LifecycleStore(self.lifecycle, writable=False) as store:
            for done in store.everything():
                found.setdefault(done.of, []).append(done)
        return found

    def board(self, today: str) -> list[Standing]:
        """The newest revision of every month and scope, newest month first."""
        acts, calendar = self.acts(), Calendar.load()
        newest = {
            (row.month, row.scope_kind, row.scope_id): row
            for row in sorted(self.rows(), key=lambda r: r.revision)
        }
        ordered = sorted(newest.values(), key=lambda r: (r.month, r.scope_kind, r.scope_id), reverse=True)
        return [self._standing(row, acts.get(subject_of(row), []), calendar, today) for row in ordered]

    def _standing(self, row: MonthRow, acts: Sequence[Act], calendar: Calendar, today: str) -> Standing:
        document, status = parse(row.document), status_of(acts)
        open_ = [due(rule, row.month, calendar) for rule in self.deadlines if not reached(status, rule)]
        next_ = min(open_, key=lambda found: found.day, default=None)
        return Standing(
            month=row.month,
            scope_kind=row.scope_kind,
            scope_id=row.scope_id,
            name=document.scope.name,
            name_en=document.scope.name_en,
            revision=row.revision,
            outcome=row.outcome,
            status=status,
            findings=len(findings(document)),
            unanswered=len(unanswered(document, acts)),
            due=next_.day.isoformat() if next_ else "",
            due_zh=next_.rule.label_zh if next_ else "",
            due_en=next_.rule.label_en if next_ else "",
            days_left=(next_.day - dt.date.fromisoformat(today)).days if next_ else None,
        )

    def life(self, subject: Subject) -> Life | None:
        """A revision's life; None when there is no such revision."""
        row = self.row(subject)
        if row is None:
            return None
        document, acts = parse(row.document), self.acts().get(subject, [])
        now = status_of(acts)
        return Life(
            status=now,
            code=verification_code(row.digest),
            acts=tuple(acts),
            unanswered=tuple(unanswered(document, acts)),
            obstacles=tuple(obstacles(document, acts)),
            actions=tuple(action.value for action, rule in TRANSITIONS.items() if now in rule.start),
            preparers=tuple(sorted(preparers(acts))),
            restatement=_cause(acts),
        )

    def differences(self, subject: Subject, against: int) -> list[Difference] | None:
        """What differs from another revision, in the words of the report's T10."""
        from verification.formats.tables_changes import differing  # noqa: PLC0415  not for a gateway

        row, other = self.row(subject), self.row(subject._replace(revision=against))
        if row is None or other is None:
            return None
        document = parse(row.document)
        found = changes.differences(parse(other.document), document)
        return [
            Difference(path=change.path, **dict(zip(_COLUMNS, told, strict=True)), proof=proof)
            for change, told, proof in differing(document, found)
        ]

    def act(
        self,
        subject: Subject,
        action: str,
        *,
        actor: str,
        role: str,
        reason: str = "",
        check: str = "",
        file_sha256: str = "",
        file_name: str = "",
    ) -> Act:
        """Do it. Refused with every reason; OvertakenError when somebody was faster."""
        if reason.startswith(RESTATEMENT):
            # It would join a month to what others restated, and have it approved together with that.
            raise Refused(
                [_("no reason begins with {word!r}: that names a restatement").format(word=RESTATEMENT)]
            )
        wish = Wish(Action(action), actor, role, self.clock(), reason, check, file_sha256, file_name)
        (done,) = self.act_on([subject], wish)
        return done

    def act_on(self, subjects: Sequence[Subject], wish: Wish) -> list[Act]:
        """The same for several revisions: all or none. Refused names every one that stands in the way."""
        with LifecycleStore(self.lifecycle) as store:
            seen, refused, fresh = store.newest_id(), [], []
            for subject in subjects:
                try:
                    fresh.append(act(subject, self._document(subject), store.acts(subject), wish))
                except RefusedError as error:
                    refused += [_placed(subject, one, len(subjects)) for one in error.reasons]
            if refused:
                raise Refused(refused)
            return store.append(fresh, seen)

    def restatement(self, cause: str) -> list[Subject]:
        """The revisions that were handed over together under a cause, oldest month first."""
        return (
            sorted(subject for subject, acts in self.acts().items() if _cause(acts) == cause) if cause else []
        )

    def approve_restatement(self, cause: str, *, actor: str, role: str) -> list[Act]:
        """Approve all of them or none."""
        wish = Wish(Action.APPROVE, actor, role, self.clock(), f"{RESTATEMENT}{cause}")
        return self.act_on(self.restatement(cause), wish)

    @staticmethod
    def document_schema() -> dict[str, Any]:
        """The JSON Schema of a month's JSON report."""
        return json_schema()

    def _document(self, subject: Subject) -> MonthDocument:
        row = self.row(subject)
        if row is None:
            raise Refused(
                [f"{subject.month} {subject.scope_id} r{subject.revision}: there is no such revision"]
            )
        return parse(row.document)

    def note_closed(self, rows: Sequence[MonthRow], actor: str, role: str) -> list[Act]:
        """Begin the life of revisions that have none; the ones before them become restated."""
        wish = Wish(Action.CLOSE, actor, role, self.clock())
        with LifecycleStore(self.lifecycle) as store:
            return [done for row in rows for done in self._begin(row, store, wish)]

    def _begin(self, row: MonthRow, store: LifecycleStore, wish: Wish) -> list[Act]:
        seen = store.newest_id()
        if store.acts(subject_of(row)):
            return []
        closed = act(subject_of(row), parse(row.document), [], wish)
        return store.append([closed, *self._carried(row, store), *self._restated(row, store, wish)], seen)

    def _carried(self, row: MonthRow, store: LifecycleStore) -> Iterator[Act]:
        """Answers of the revision before, to findings that say exactly the same again."""
        before = subject_of(row)._replace(revision=row.revision - 1)
        answers = [done for done in store.acts(before) if done.action == Action.ANSWER]
        if not answers:
            return
        old = {check.id: (check.outcome, check.value) for check in self._document(before).checks}
        new = {check.id: (check.outcome, check.value) for check in parse(row.document).checks}
        for done in answers:
            if old.get(done.subject) == new.get(done.subject):
                status = Status.PROVISIONAL
                yield msgspec.structs.replace(
                    done, id=0, revision=row.revision, status=status, at_ms=self.clock()
                )

    def _restated(self, row: MonthRow, store: LifecycleStore, wish: Wish) -> Iterator[Act]:
        for revision in range(1, row.revision):
            before = subject_of(row)._replace(revision=revision)
            acts = store.acts(before)
            if acts and status_of(acts) is not Status.RESTATED:
                again = Wish(
                    Action.RESTATE, wish.actor, wish.role, wish.at_ms, row.reason or "—", f"r{row.revision}"
                )
                yield act(before, self._document(before), acts, again)

    def keep(self, data: bytes) -> str:
        """Keep an attached file; its SHA-256. ValueError when it is none that is kept."""
        return attachments.keep(self.attachments, data)

    def attachment(self, digest: str) -> bytes | None:
        """A kept file."""
        return attachments.read(self.attachments, digest)

    def by_code(self, code: str) -> Subject | None:
        """The revision that a printed report's verification code belongs to."""
        wanted = code.strip().upper().replace("O", "0").replace("I", "1").replace("L", "1").replace("-", "")
        return next(
            (
                subject_of(row)
                for row in self.rows()
                if verification_code(row.digest).replace("-", "") == wanted
            ),
            None,
        )


def _cause(acts: Sequence[Act]) -> str:
    """The restatement that a revision was handed over with."""
    sent = [done.reason for done in acts if done.action == Action.SEND]
    return sent[-1].removeprefix(RESTATEMENT) if sent and sent[-1].startswith(RESTATEMENT) else ""


def _placed(subject: Subject, reason: str, count: int) -> str:
    return f"{subject.month} {subject.scope_id}: {reason}" if count > 1 else reason


def desk_of(config: ServerConfig, clock: Callable[[], int]) -> MonthDesk:
    """The desk of a server. ConfigError when its delivery file, which has the deadlines, is wrong."""
    rules = load_delivery(config.delivery).deadline if config.delivery else DEADLINES
    return MonthDesk(config.months, config.lifecycle, config.attachments, clock, rules)


def note_closed(config: ServerConfig, rows: Sequence[MonthRow], actor: str, now_ms: int) -> None:
    """What `tanyun month close` does to the life of the revisions that hold now."""
    desk_of(config, lambda: now_ms).note_closed(rows, actor, "operator")
