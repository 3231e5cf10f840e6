"""What the machine says of time: its wall clock, whether somebody keeps it right, and a clock that nobody sets."""

import ctypes
import time
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_TIMEX_BYTES: Final = 512
"""More than struct timex has anywhere; all zero it only asks."""
_TIME_ERROR: Final = 5
"""adjtimex(2): the clock is not synchronised."""


def wall_ms() -> int:
    """UTC ms of the system's clock, right or wrong."""
    return time.time_ns() // 1_000_000


def boot_ms() -> int:
    """Ms since the boot, also through suspend; no step of the wall clock moves it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def boot_id() -> str:
    """What tells this boot from all others."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:  # a kernel that hides it: the time of boot to the minute does
        return f"at-{(wall_ms() - boot_ms()) // 60_000}"


def is_synchronised() -> bool:
    """Whether an NTP or PTP client keeps the system's clock (adjtimex(2), STA_UNSYNC)."""
    try:
        state = int(ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    except (OSError, AttributeError):
        return False
    return 0 <= state < _TIME_ERROR
