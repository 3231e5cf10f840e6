"""Kills at random points while readings pour in, a few of them. Ten million readings: scripts/kills."""

from pathlib import Path

import pytest

from tests.chaos.kills import figures


@pytest.mark.timeout(600)
def test_no_kill_loses_or_doubles_a_reading(tmp_path: Path) -> None:
    told = figures(tmp_path, 60_000, seed=7, kills=5)
    assert told["readings"] == 20 * int(str(told["frames"]))
    assert sum(dict(told["killed"]).values()) > 0  # type: ignore[call-overload]
    assert int(str(told["intervals_checked"])) >= 400
