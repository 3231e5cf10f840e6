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
