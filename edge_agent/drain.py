"""What is sent next: frames in the order of their numbers, what is missing between them, and how fast a backlog may go. No I/O."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, overload

from edge_agent.budget import Budget
from edge_agent.outbox import Frame

FUTURE_MS: Final = 60_000
"""A stamp so far ahead of a time that is known is wrong; it stays here."""
_PACE_S: Final = 900
_TOTALS_BYTES: Final = 600
"""A whole frame with its topic, before one was sent (ours)."""
_WEIGHT: Final = 0.05
_FIRST_WINDOW: Final = 16
_LEAST_WINDOW: Final = 8
_STEP: Final = 8
_LATE_S: Final = 1.0
_SOON: Final = 0.25
"""An ack should take no longer than `_LATE_S`; below this part of it nothing waits yet (ours)."""
_LONGEST_PATIENCE_S: Final = 60.0
"""As RFC 6298 (2.5) allows a limit."""


class Gap(NamedTuple):
    """Numbers whose frames are not sent: given up, or stamped in the future."""

    first: int
    last: int
    t_ms: int
    """Of the frame behind it, so that it is the same however often it is said."""
    withheld: bool = False


def with_gaps(sent: int, found: Iterable[Frame], end: int, now_ms: int | None) -> Iterator[Frame | Gap]:
    """The frames behind `sent`, and the gaps between them, up to and including `end`.

    Args:
        now_ms: UTC where it is known: frames beyond it are withheld.
    """
    t_ms = 0
    for frame in found:
        if frame.number > sent + 1:
            yield Gap(sent + 1, frame.number - 1, frame.t_ms)
        sent, t_ms = frame.number, frame.t_ms
        if now_ms is not None and frame.t_ms > now_ms + FUTURE_MS:
            yield Gap(frame.number, frame.number, now_ms, withheld=True)
        else:
            yield frame
    if sent < end:
        yield Gap(sent + 1, end, t_ms or now_ms or 0)


@overload
def portions(steps: Iterable[Frame], in_force: Callable[[int], bool], most: int) -> Iterator[list[Frame]]: ...
@overload
def portions(
    steps: Iterable[Frame | Gap], in_force: Callable[[int], bool], most: int
) -> Iterator[list[Frame] | Gap]: ...
def portions(
    steps: Iterable[Frame | Gap], in_force: Callable[[int], bool], most: int
) -> Iterator[list[Frame] | Gap]:
    """The same, frames by the portion: each portion decodes with the births in force once the first one's has been sent.

    Args:
        in_force: Whether the birth of a declaration is. Asked when what came before has been taken.
    """
    waiting: list[Frame] = []
    for step in steps:
        if isinstance(step, Gap) or len(waiting) == most or not in_force(step.declaration):
            if waiting:
                yield waiting
            waiting = []
        if isinstance(step, Gap):
            yield step
        elif in_force(step.declaration):
            waiting.append(step)
        else:
            yield [step]
    if waiting:
        yield waiting


def number_before(step: list[Frame] | Gap) -> int:
    """The highest number that was sent when this comes next."""
    return (step.first if isinstance(step, Gap) else step[0].number) - 1


class Window:
    """How many frames may be under way without an ack, and how long one may take before they are sent again.

    Few at first, more while acks come soon, fewer when they are late. So a thousand gateways behind one server, or one behind
    a slow line, keep its queue about a second long and share it evenly. Where even the fewest of all of them take longer,
    they wait longer, instead of sending again what has only not had its turn.
    """

    def __init__(self, most: int, monotonic_s: Callable[[], float], least_patience_s: float = 3.0) -> None:
        self._most, self._monotonic_s, self._least_patience_s = most, monotonic_s, least_patience_s
        self.new_session()

    def new_session(self) -> None:
        """Nothing is known of what lies between here and the journal."""
        self.size, self._limit_known = min(self._most, _FIRST_WINDOW), False
        self.patience_s = self._least_patience_s
        """After so long without any ack, what is under way is sent again."""
        self._wait = _Wait()
        self._probe: tuple[int, float] | None = None
        """A number, and when it was sent for the first time."""
        self._highest = 0
        """Up to here frames have been sent: once more, they say nothing about how long an ack takes."""

    def sent(self, number: int) -> None:
        """A frame has gone."""
        if self._probe is None and number > self._highest:
            self._probe = number, self._monotonic_s()
        self._highest = max(self._highest, number)

    def acked(self, number: int) -> None:
        """Everything up to this number is stored. Once per round trip the window is set anew.

        Twice as many at first. Once acks wait, the window goes to where what is added is as much as what the wait
        takes away: that depends on the wait alone, which is the same for all gateways of a server, so their windows become equal
        (as in FAST TCP, Wei et al. 2006; the curve is ours).
        """
        if self._probe is None or number < self._probe[0]:
            return
        wait_s = self._monotonic_s() - self._probe[1]
        self._probe = None
        self._wait = self._wait.with_one_of(wait_s)
        self.patience_s = max(self._least_patience_s, min(self._wait.longest_s, _LONGEST_PATIENCE_S))
        wait = wait_s / _LATE_S
        if wait < _SOON and not self._limit_known:
            self._set(self.size * 2)
        else:
            self._limit_known = True
            self._set(self.size * max(0.5, 1 - 0.5 * wait**3) + _STEP * max(0.0, 1.5 - wait))

    def overdue(self) -> None:
        """No ack came in time: fewer, and twice the patience until an ack of something new tells how long it takes (RFC 6298, 5.5)."""
        self._probe, self._limit_known = None, True
        self.patience_s = max(self.patience_s, min(2 * self.patience_s, _LONGEST_PATIENCE_S))
        self._set(self.size * 0.5)

    def _set(self, size: float) -> None:
        self.size = min(self._most, max(_LEAST_WINDOW, round(size)))


class _Wait(NamedTuple):
    """How long an ack takes, as RFC 6298 (2.2, 2.3) smooths it."""

    mean_s: float = -1.0
    deviation_s: float = 0.0

    def with_one_of(self, wait_s: float) -> "_Wait":
        """One more ack was waited for."""
        if self.mean_s < 0:
            return _Wait(wait_s, wait_s / 2)
        deviation_s = 0.75 * self.deviation_s + 0.25 * abs(self.mean_s - wait_s)
        return _Wait(0.875 * self.mean_s + 0.125 * wait_s, deviation_s)

    @property
    def longest_s(self) -> float:
        """What is later than this is not only late."""
        return self.mean_s + 4 * self.deviation_s


class Pace:
    """How many frames of a backlog may go now, so that catching up does not spend what the month's totals need."""

    def __init__(
        self, budget: Budget, meters: int, totals_every_s: int, window: int, monotonic_s: Callable[[], float]
    ) -> None:
        self._budget, self._window, self._monotonic_s = budget, window, monotonic_s
        self._frames_per_s = meters / totals_every_s
        self._mean_bytes = float(_TOTALS_BYTES)
        self._begun_s, self._left = float("-inf"), 0

    def room(self, now_ms: int) -> int:
        """Frames of the backlog that may go now. Over the budget it is a window's worth in a quarter of an hour."""
        totals = self._frames_per_s * self._mean_bytes
        if self._budget.may_catch_up(now_ms, totals):
            return self._window
        now_s = self._monotonic_s()
        if now_s - self._begun_s >= _PACE_S:
            self._begun_s, self._left = now_s, self._window
        return self._left

    def sent(self, frame: Frame, size: int, *, historical: bool) -> None:
        """Count a frame, and its bytes on the wire."""
        if frame.keep:
            self._mean_bytes += _WEIGHT * (size - self._mean_bytes)
        if historical:
            self._left = max(0, self._left - 1)

    @property
    def mean_bytes(self) -> float:
        """What a whole frame costs."""
        return self._mean_bytes
