"""Spans of time in seconds, and in Grafana's words."""

MINUTE, HOUR, DAY = 60, 3600, 86_400


def duration(seconds: int) -> str:
    """Seconds in Grafana's words."""
    for size, unit in ((HOUR, "h"), (MINUTE, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
