"""What is sent next, and how fast a backlog may go."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.budget import Budget
from edge_agent.drain import FUTURE_MS, Gap, Pace, Window, number_before, portions, with_gaps
from edge_agent.outbox import Frame

NOW = round(datetime(2026, 11, 2, tzinfo=UTC).timestamp() * 1000)


def frame(number: int, t_ms: int = NOW) -> Frame:
    return Frame(number, 1, t_ms, b"")


@settings(max_examples=100)
@given(st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)), st.integers(0, 10), st.integers(0, 5))
def test_frames_and_gaps_together_are_every_number_once_and_in_order(
    there: set[int], ahead: set[int], sent: int, beyond: int
) -> None:
    numbers = sorted(n for n in there if n > sent)
    end = max([*numbers, sent]) + beyond
    found = [frame(n, NOW + FUTURE_MS + 1 if n in ahead else NOW) for n in numbers]
    covered: list[int] = []
    sends: list[int] = []
    for step in with_gaps(sent, found, end, NOW):
        assert number_before(step if isinstance(step, Gap) else [step]) == sent + len(covered)
        if isinstance(step, Gap):
            covered += range(step.first, step.last + 1)
        else:
            covered.append(step.number)
            sends.append(step.number)
    assert covered == list(range(sent + 1, end + 1))
    assert sends == [n for n in numbers if n not in ahead]


@settings(max_examples=200)
@given(
    st.lists(st.one_of(st.tuples(st.sampled_from("ab"), st.integers(1, 3)), st.none()), max_size=30),
    st.integers(1, 5),
)
def test_every_frame_of_a_portion_decodes_with_the_birth_that_was_sent_last(
    wanted: list[tuple[str, int] | None], most: int
) -> None:
    """However often a meter's declaration changes: sent one by one, each under its own birth, it would be the same."""
    names: dict[int, tuple[str, int]] = {}
    steps: list[Frame | Gap] = []
    for number, one in enumerate(wanted, 1):
        if one is None:
            steps.append(Gap(number, number, NOW))
        else:
            id_ = 10 * "ab".index(one[0]) + one[1]
            names[id_] = one
            steps.append(Frame(number, id_, NOW, b""))
    declared: dict[str, int] = {}
    seen: list[Frame | Gap] = []
    for portion in portions(steps, lambda id_: declared.get(names[id_][0]) == id_, most):
        if isinstance(portion, Gap):
            seen.append(portion)
            continue
        assert 1 <= len(portion) <= most
        declared[names[portion[0].declaration][0]] = portion[0].declaration
        assert all(declared[names[frame.declaration][0]] == frame.declaration for frame in portion)
        seen += portion
    assert seen == steps


def test_a_gap_is_dated_by_the_frame_behind_it_however_often_it_is_said() -> None:
    steps = list(with_gaps(0, [frame(4, 77)], 4, None))
    assert steps == [Gap(1, 3, 77), frame(4, 77)]


def test_where_nobody_knows_the_time_nothing_is_withheld() -> None:
    assert list(with_gaps(0, [frame(1, NOW * 2)], 1, None)) == [frame(1, NOW * 2)]


def test_a_backlog_goes_at_full_speed_until_the_months_totals_need_the_rest() -> None:
    seconds = [0.0]
    budget = Budget(80.0)
    pace = Pace(budget, meters=32, totals_every_s=900, window=256, monotonic_s=lambda: seconds[0])
    for _ in range(1000):
        pace.sent(frame(1), 600, historical=True)
    assert pace.room(NOW) == 256
    budget.spent(30_000_000, NOW)  # 32 meters need some 53 MB in the rest of the month
    assert pace.room(NOW) == 256  # a quarter of an hour's share
    for _ in range(256):
        pace.sent(frame(1), 600, historical=True)
    assert pace.room(NOW) == 0
    pace.sent(frame(1), 600, historical=False)
    seconds[0] += 899
    assert pace.room(NOW) == 0
    seconds[0] += 1
    assert pace.room(NOW) == 256


def test_what_a_whole_frame_costs_is_learned_from_whole_frames() -> None:
    pace = Pace(Budget(0), meters=1, totals_every_s=900, window=256, monotonic_s=lambda: 0.0)
    for _ in range(200):
        pace.sent(frame(1), 1_000, historical=False)
        pace.sent(Frame(1, 1, NOW, b"", keep=False), 10, historical=False)
    assert 990 < pace.mean_bytes <= 1_000


class Line:
    """A server that stores so many frames a second, for so many gateways with more to send than they may. No wires: time is a number."""

    def __init__(self, gateways: int, per_s: int) -> None:
        self.now_s, self._per_s = 0.0, per_s
        self.windows = [Window(1024, lambda: self.now_s, 3.0) for _ in range(gateways)]
        self.sent, self.acked, self._heard_s = [0] * gateways, [0] * gateways, [0.0] * gateways
        self.again = 0
        """Frames that were sent once more."""
        self._queue: list[tuple[int, int]] = []
        """Gateway and number of the frames that wait."""

    def run(self, seconds: int) -> None:
        for _tenth in range(seconds * 10):
            for i, window in enumerate(self.windows):
                self._send(i, window)
            self.now_s += 0.1
            done, self._queue = self._queue[: self._per_s // 10], self._queue[self._per_s // 10 :]
            for i, number in done:
                self.acked[i] = max(self.acked[i], number)
            for i in {i for i, _number in done}:
                self._heard_s[i] = self.now_s
                self.windows[i].acked(self.acked[i])

    def _send(self, i: int, window: Window) -> None:
        if self.now_s - self._heard_s[i] > window.patience_s:
            self.again += self.sent[i] - self.acked[i]
            self.sent[i], self._heard_s[i] = self.acked[i], self.now_s
            window.overdue()
        self.sent[i] = max(self.sent[i], self.acked[i])
        end = max(self.sent[i], self.acked[i] + window.size)
        for number in range(self.sent[i] + 1, end + 1):
            window.sent(number)
            self._queue.append((i, number))
        self.sent[i] = end

    @property
    def waits_s(self) -> float:
        return len(self._queue) / self._per_s


def test_many_gateways_share_a_server_evenly_and_none_waits_longer_than_its_patience() -> None:
    line = Line(gateways=200, per_s=2_000)
    line.run(20)
    before = list(line.acked)
    line.run(60)
    assert line.waits_s < 2.0  # ack_timeout_s is 3: with windows of 1024 a gateway would wait 100 s
    done = [now - then for now, then in zip(line.acked, before, strict=True)]
    assert sum(done) == 60 * 2_000  # the server was never idle
    assert min(done) > 0.5 * max(done)


def test_where_the_least_of_all_takes_longer_than_they_wait_gateways_wait_longer_and_send_nothing_again() -> (
    None
):
    line = Line(gateways=1_000, per_s=1_000)  # eight frames of each are eight seconds
    line.run(60)
    known, before = line.again, sum(line.acked)
    line.run(60)
    assert line.again == known
    assert sum(line.acked) - before == 60 * 1_000


def test_one_gateway_alone_soon_has_the_whole_window() -> None:
    line = Line(gateways=1, per_s=100_000)
    line.run(1)
    assert line.windows[0].size == 1024


def test_a_slow_line_gets_no_more_than_it_carries_in_about_a_second() -> None:
    line = Line(gateways=1, per_s=30)
    line.run(60)
    assert 8 <= line.windows[0].size <= 40


def test_an_ack_that_does_not_come_halves_the_window_and_what_is_sent_again_does_not_count() -> None:
    now_s = [0.0]
    window = Window(100, lambda: now_s[0])
    window.sent(5)
    window.acked(5)
    assert window.size == 32
    window.sent(9)
    window.overdue()
    now_s[0] = 100.0
    window.acked(9)
    assert window.size == 16
    assert window.patience_s == 6
    window.sent(8)
    window.sent(9)
    window.acked(9)
    assert (window.size, window.patience_s) == (16, 6)
    window.sent(10)
    now_s[0] += 4
    window.acked(10)  # 0 s, then 4 s: their mean is half a second, the deviation one
    assert window.patience_s == 4.5
    window.new_session()
    assert (window.size, window.patience_s) == (16, 3)
    for _ in range(9):
        window.overdue()
    assert (window.size, window.patience_s) == (8, 60)
    assert Window(3, lambda: 0.0).size == 3
