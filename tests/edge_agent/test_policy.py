"""What of the polls is published, and what a month may cost."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from edge_agent.assemble import Reading
from edge_agent.budget import Budget, month_of
from edge_agent.policy import Policy, PublishSettings
from tests.fakes.gateway import toy_profile

QUARTER = 900_000
EDGE = 1_793_462_400_000
REGISTERS = {register.reading_type: register for register in toy_profile().registers}


def said(total: int, power: float, t_ms: int) -> list[Reading]:
    values = {"energy_import_total": total, "power_active": power, "voltage_l1": 230.0}
    return [(REGISTERS[name], t_ms, value) for name, value in values.items()]


def chosen(
    policy: Policy, powers: list[float], every_ms: int = 15_000, *, may_live: bool = True
) -> list[str]:
    """'T' kept, 't' a whole frame, 'l' live, '.' nothing, poll by poll from a quarter hour on."""
    marks = ""
    for i, power in enumerate(powers):
        t_ms = EDGE + i * every_ms
        found = policy.choose("m", said(i, power, t_ms), t_ms, may_live=may_live)
        whole = found is not None and len(found.readings) == 3
        assert found is None or whole or [r.reading_type for r, _t, _v in found.readings] == ["power_active"]
        marks += "." if found is None else ("T" if found.keep else "t") if whole else "l"
    return [marks]


def test_a_quiet_meter_is_published_every_quarter_hour() -> None:
    assert chosen(Policy(PublishSettings()), [1000.0] * 121) == ["T" + "." * 59 + "T" + "." * 59 + "T"]


def test_in_between_power_goes_out_where_it_has_left_the_band_and_not_more_often_than_allowed() -> None:
    powers = [1000.0, 1049, 1100, 1100, 1200, 1300, 1300, 1300, 1300, 1000]
    assert chosen(Policy(PublishSettings(live_every_s=45)), powers) == ["T.l..l...l"]
    assert chosen(Policy(PublishSettings(live_every_s=45)), powers, may_live=False) == ["T........."]


def test_noise_around_zero_is_measured_by_the_largest_value_seen() -> None:
    assert chosen(Policy(PublishSettings(live_every_s=1)), [1000.0, 0, 40, -40, 10, -45, 60]) == ["Tl....l"]


def test_whole_frames_between_quarter_hours_are_the_first_to_go() -> None:
    assert chosen(Policy(PublishSettings(totals_every_s=300)), [1.0] * 7, 300_000) == ["TttTttT"]


def test_with_every_poll_everything() -> None:
    assert chosen(Policy(PublishSettings(totals_every_s=1)), [1.0] * 4) == ["Tttt"]


def test_a_poll_without_totals_does_not_count_as_theirs() -> None:
    policy = Policy(PublishSettings())
    chosen(policy, [1.0])
    power = said(1, 1.0, EDGE + QUARTER)[1:]
    assert policy.choose("m", power, EDGE + QUARTER) is None
    found = policy.choose("m", said(1, 1.0, EDGE + QUARTER), EDGE + QUARTER + 15_000)
    assert found is not None
    assert (len(found.readings), found.keep) == (3, True)


def test_what_is_read_once_a_day_waits_for_the_next_whole_frame() -> None:
    policy = Policy(PublishSettings())
    chosen(policy, [1.0])
    frozen = REGISTERS["energy_import_total"].model_copy(update={"months_ago": 1})
    assert frozen.name != frozen.reading_type
    rare: Reading = (frozen, EDGE + 15_000, 7)
    assert policy.choose("m", [*said(1, 1.0, EDGE + 15_000), rare], EDGE + 15_000) is None
    found = policy.choose("m", said(1, 1.0, EDGE + QUARTER), EDGE + QUARTER)
    assert found is not None
    assert found.readings[0] == rare
    found = policy.choose("m", said(1, 1.0, EDGE + 2 * QUARTER), EDGE + 2 * QUARTER)
    assert found is not None
    assert len(found.readings) == 3


def test_only_gauges_are_live() -> None:
    with pytest.raises(ValidationError, match="energy_import_total"):
        PublishSettings(live=("energy_import_total",))


def at(day: int, hour: int = 0, month: int = 11) -> int:
    return round(datetime(2026, month, day, hour, tzinfo=UTC).timestamp() * 1000)


def test_live_readings_may_spend_the_part_of_the_month_that_has_passed() -> None:
    budget = Budget(30.0)
    assert budget.may_live(at(1))
    budget.spent(1_100_000, at(1))
    assert not budget.may_live(at(1))
    assert budget.may_live(at(3))
    assert not budget.may_live(at(3), waiting_bytes=3_000_000)


def test_a_new_month_begins_at_nothing_and_a_clock_that_steps_back_gives_nothing_back() -> None:
    budget = Budget(30.0)
    budget.spent(29_000_000, at(20))
    assert not budget.may_live(at(20))
    assert budget.may_live(at(1, month=12))
    assert (budget.month, budget.used_bytes) == (month_of(at(1, month=12)), 0)
    budget.spent(5, at(20))
    assert budget.used_bytes == 5


def test_a_backlog_leaves_what_the_months_other_totals_need() -> None:
    budget = Budget(30.0)
    per_s = 10.0  # 26 MB in a month of 30 days
    assert budget.may_catch_up(at(1), per_s)
    budget.spent(4_100_000, at(1))
    assert not budget.may_catch_up(at(1), per_s)
    assert budget.may_catch_up(at(15), per_s)


def test_without_a_limit_everything_may_go() -> None:
    budget = Budget(0)
    budget.spent(1 << 50, at(1))
    assert budget.may_live(at(1))
    assert budget.may_catch_up(at(1), 1e9)


def test_a_meter_without_totals_says_its_power_also_when_it_stands_still() -> None:
    """Its energy is integrated between two reads: a dead band would spread a jump over all the time before it."""
    policy, marks = Policy(PublishSettings(live_every_s=60)), ""
    for i in range(13):
        t_ms = EDGE + i * 15_000
        reading: Reading = (REGISTERS["power_active"], t_ms, 1000.0)
        marks += "." if policy.choose("m", [reading], t_ms) is None else "p"
    assert marks == "pp...p...p..."
