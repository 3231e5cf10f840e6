"""Quality of a reading or interval (words of IEEE 2030.5 and utility VEE practice), as small integers for columns."""

from enum import IntEnum


class Quality(IntEnum):
    """How far a value can be trusted. Higher is worse, so that `max` combines."""

    VALID = 0
    DERIVED = 1
    """Integrated from power: the meter has no total."""
    ESTIMATED = 2
    """Energy exact between two totals, its shape over the intervals between them estimated."""
    QUESTIONABLE = 3
    """Contradicted by another reading, or waiting for a pending event."""
    VOID = 4
    """Taken back by a restatement: the total before it is in doubt, so there is no energy here yet."""
