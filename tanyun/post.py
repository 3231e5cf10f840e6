"""What is to be delivered, put together: closed months with their status, rendered files, evidence packs, chain heads."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from factors.holidays import Calendar
from metering.i18n import _
from metering.intervals import iso, previous_month, to_local
from metering.registry import Park
from storage.audit import AuditLog, Event
from storage.deliveries import DeliveryStore
from storage.journal import JournalReader
from storage.lifecycle import Subject
from storage.months import MonthRow, report_stem
from tanyun.config import ServerConfig
from tanyun.desk import MonthDesk, desk_of, subject_of
from tanyun.people import operating_user
from verification.delivery import reminders
from verification.delivery.config import Content, DeliveryConfig, load_delivery
from verification.delivery.parcels import APART, AnyTarget, File, Parcel, due_months, head_is_due
from verification.delivery.run import Outcome, Post, deliver
from verification.evidence import signing, timestamp
from verification.evidence.head import SCHEMA, Head, digest, head_name, read, sign
from verification.evidence.pack import pack_name
from verification.formats import RENDERERS, report_name
from verification.lifecycle import Status, status_of

_KINDS: dict[Content, tuple[str, str]] = {
    "pdf": ("pdf", "application/pdf"),
    "xlsx": ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    "csv": ("csv.zip", "application/zip"),
    "json": ("json", "application/json"),
}


def now_ms() -> int:
    """UTC milliseconds now."""
    return time.time_ns() // 1_000_000


class PostError(Exception):
    """A parcel cannot be made (the operator can cure it); the message says how."""


class CommandAudit:
    """The audit log as delivery writes to it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def record(self, *, actor: str, action: str, subject: str, detail: Mapping[str, str]) -> None:
        outcome = "ok" if detail.get("outcome") == "receipted" else "failed"
        with AuditLog(self._path) as log:
            log.append(
                Event(
                    actor=actor,
                    action=action,
                    target=subject,
                    outcome=outcome,
                    address="local",
                    detail=detail,
                ),
                now_ms(),
            )


@dataclass(frozen=True)
class PostOffice:
    """Everything of one server that delivery needs."""

    config: ServerConfig
    park: Park
    delivery: DeliveryConfig
    clock: Callable[[], int] = now_ms

    @classmethod
    def of(cls, config: ServerConfig, park: Park, clock: Callable[[], int] = now_ms) -> "PostOffice":
        """The post office of a server. PostError without a delivery file; ConfigError with its mistakes."""
        if config.delivery is None:
            raise PostError(_('server.toml names no delivery file: add `delivery = "delivery.toml"`'))
        return cls(config, park, load_delivery(config.delivery), clock)

    @cached_property
    def key(self) -> Ed25519PrivateKey:
        """The key that signs heads and pushes. KeyFileError."""
        return signing.load_private(self.delivery.signing_key)

    @cached_property
    def desk(self) -> MonthDesk:
        return desk_of(self.config, self.clock)

    @property
    def now(self) -> datetime:
        return to_local(self.clock(), self.park.tz)

    def run(self, *, dry: bool = False, at_once: bool = False) -> Iterator[Outcome]:
        """One pass: the day's head, then every parcel that is due."""
        with DeliveryStore(self.config.deliveries) as store:
            post = Post(store, self.key, CommandAudit(self.config.audit), self.clock, operating_user())
            yield from deliver(post, self.due(store, dry=dry), dry=dry, now=at_once)

    def due(self, store: DeliveryStore, *, dry: bool = False) -> Iterator[tuple[AnyTarget, Parcel]]:
        """Every parcel that a target is to have by now, those that have their receipt too."""
        rows = {subject_of(row): row for row in self.desk.rows()}
        statuses, calendar = self._statuses(rows), Calendar.load()
        for target in self.delivery.target:
            for subject in due_months(target, statuses, self.now, calendar):
                yield target, self._parcel(target, rows[subject])
            yield from self._reminders(target, rows, statuses, calendar)
            if head_is_due(target, self.now) and (not dry or store.heads()):
                if not dry:
                    self.head(store)
                yield from ((target, self._head_parcel(target, day, signed)) for day, signed in store.heads())

    def _statuses(self, rows: dict[Subject, MonthRow]) -> dict[Subject, Status]:
        acts = self.desk.acts()
        return {subject: status_of(acts.get(subject, [])) for subject in rows}

    def _reminders(
        self,
        target: AnyTarget,
        rows: Mapping[Subject, MonthRow],
        statuses: Mapping[Subject, Status],
        calendar: Calendar,
    ) -> Iterator[tuple[AnyTarget, Parcel]]:
        """Of the newest revisions, and of months that ended and are not closed."""
        names = {e.id: e.name for e in self.park.enterprises} | {self.park.id: self.park.name}
        newest = {(of.month, of.scope_id): statuses[of] for of in sorted(rows, key=lambda of: of.revision)}
        ended = self._ended(first=min((month for month, _scope in newest), default=""))
        months = {key: newest.get(key, Status.OPEN) for key in ended}
        for found in reminders.due_reminders(target, months, self.delivery.deadline, calendar, self.now):
            yield target, reminders.parcel(target, found, names.get(found.scope, found.scope))

    def _ended(self, first: str) -> Iterator[tuple[str, str]]:
        """Every scope in the last months that ended, from the first closed one on; with none closed, the last one."""
        scopes = (*(e.id for e in self.park.enterprises), self.park.id)
        month = self.now.date().isoformat()[:7]
        for _number in range(reminders.MONTHS_BACK if first else 1):
            month = previous_month(month)
            if month >= first:
                yield from ((month, scope) for scope in scopes)

    def _parcel(self, target: AnyTarget, row: MonthRow) -> Parcel:
        files = tuple(
            file for content in target.content if content not in APART for file in self._files(content, row)
        )
        return Parcel(target.name, report_stem(row), files)

    def _files(self, content: Content, row: MonthRow) -> Iterator[File]:
        if content == "evidence":
            path = self.config.reports / "evidence" / pack_name(row)
            if not path.exists():
                text = _("{path} is not there: run `tanyun evidence pack {month}` first")
                raise PostError(text.format(path=path, month=row.month))
            yield File(path.name, "application/zip", path.read_bytes())
            return
        kind, media_type = _KINDS[content]
        yield File(report_name(row, kind), media_type, RENDERERS[kind](row))

    @staticmethod
    def _head_parcel(target: AnyTarget, day: str, signed: bytes) -> Parcel:
        head = read(signed)
        return Parcel(
            target.name, f"{head.park} chain head {day}", (File(head_name(head), "application/json", signed),)
        )

    def head(self, store: DeliveryStore) -> bytes:
        """The day's signed chain head; the day's first one stays. With a time stamp where an authority is configured."""
        day = self.now.date().isoformat()
        heads = store.heads()
        if not heads or heads[-1][0] != day:
            with JournalReader(self.config.journal) as journal:
                found = journal.head()
            head = Head(
                schema=SCHEMA,
                park=self.park.id,
                journal_id=found.journal_id,
                day=day,
                at=iso(self.clock(), self.park.tz),
                segment=found.offset.segment - 1,
                chain=found.chain.hex(),
                previous_sha256=digest(heads[-1][1]) if heads else "",
            )
            signed = store.add_head(found.journal_id, day, sign(head, self.key))
        else:
            signed = heads[-1][1]
        self._stamp(store, signed)
        return signed

    def _stamp(self, store: DeliveryStore, signed: bytes) -> None:
        """Ask for the stamp that is still missing; an authority that cannot be reached holds nothing up."""
        head, tsa = read(signed), self.delivery.tsa
        if tsa is None or store.stamp(head.journal_id, head.day) is not None:
            return
        try:
            response = timestamp.ask(tsa.url, signed, tsa.roots_file.read_bytes())
        except timestamp.TimestampError as error:
            CommandAudit(self.config.audit).record(
                actor=operating_user(),
                action="head.stamp",
                subject=head.day,
                detail={"outcome": "failed", "detail": str(error)},
            )
            return
        store.add_stamp(head.journal_id, head.day, tsa.url, response)
