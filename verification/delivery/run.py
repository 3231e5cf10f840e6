"""One pass over what is due: every attempt is kept and goes to the audit log, whatever comes of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage.deliveries import FAILED, RECEIPTED, Attempt, DeliveryStore
from verification.delivery import https, sftp, smtp
from verification.delivery.config import HttpsTarget, SftpTarget, SmtpTarget
from verification.delivery.errors import DeliveryError
from verification.delivery.parcels import AnyTarget, Parcel, next_attempt_ms, receipted


class Audit(Protocol):
    """The audit log, as far as this role needs it."""

    def record(self, *, actor: str, action: str, subject: str, detail: Mapping[str, str]) -> None: ...


@dataclass(frozen=True, slots=True)
class Post:
    """What a pass works with."""

    store: DeliveryStore
    key: Ed25519PrivateKey
    audit: Audit | None
    clock: Callable[[], int]
    actor: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a parcel in this pass."""

    parcel: Parcel
    state: str
    """receipted, failed, waiting (not yet time to try again), done (had its receipt before) or dry (dry run)."""
    detail: str = ""


def deliver(
    post: Post, due: Iterable[tuple[AnyTarget, Parcel]], *, dry: bool = False, now: bool = False
) -> Iterator[Outcome]:
    """Try every parcel whose time has come; `now` does not wait, `dry` only says what would be sent."""
    for target, parcel in due:
        before = post.store.attempts(parcel.key)
        if receipted(before):
            yield Outcome(parcel, "done", before[-1].detail)
        elif not now and next_attempt_ms(before) > post.clock():
            yield Outcome(parcel, "waiting", before[-1].detail)
        elif dry:
            yield Outcome(parcel, "dry")
        else:
            yield _try(post, target, parcel)


def _try(post: Post, target: AnyTarget, parcel: Parcel) -> Outcome:
    now_ms = post.clock()
    post.store.add(parcel.row(now_ms))
    try:
        receipt = transmit(target, parcel, now_ms, post.key)
        attempt = Attempt(parcel.key, now_ms, RECEIPTED, _shown(receipt), receipt)
    except (DeliveryError, OSError) as error:
        attempt = Attempt(parcel.key, now_ms, FAILED, str(error))
    post.store.tried(attempt)
    if post.audit is not None:
        detail = {
            "outcome": attempt.outcome,
            "detail": attempt.detail,
            "parcel": parcel.key,
            "title": parcel.title,
        }
        post.audit.record(actor=post.actor, action="delivery.attempt", subject=target.name, detail=detail)
    return Outcome(parcel, attempt.outcome, attempt.detail)


def transmit(target: AnyTarget, parcel: Parcel, now_ms: int, key: Ed25519PrivateKey) -> bytes:
    """Send a parcel the target's way; the receipt. DeliveryError or OSError without one."""
    if isinstance(target, SmtpTarget):
        return smtp.send(target, parcel, now_ms)
    if isinstance(target, HttpsTarget):
        return https.send(target, parcel, now_ms, key)
    assert isinstance(target, SftpTarget)  # noqa: S101  there are three kinds
    return sftp.send(target, parcel)


def _shown(receipt: bytes) -> str:
    return receipt.decode(errors="replace")[:200]
