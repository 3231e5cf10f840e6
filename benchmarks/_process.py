"""What a process of somebody else's uses."""

import os
import time
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """User and system time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def wait_until_idle(pid: int, limit_s: float) -> float:
    """Wait until it uses less than 5 % of a core for two seconds: what it does behind our back is done. How long that took."""
    began = time.monotonic()
    while time.monotonic() - began < limit_s:
        before = cpu_s(pid)
        time.sleep(2)
        if cpu_s(pid) - before < 0.1:
            break
    return time.monotonic() - began
