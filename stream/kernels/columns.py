"""The columns that the step and its kernels share. Every table is int64."""

# State, one row per channel (a total of a meter). "Register" is the meter's own total in base units under the ratio of
# the channel's segment; "position" counts on through roll-overs, resets, exchanges and ratio changes:
# position = register + OFFSET.
(
    SEEN, LAST_T, LAST_POS, OFFSET, SEGMENT,  # the last good total
    OPEN_START, OPEN_POS, COVERAGE, QUALITY,  # the running interval
    HEARD_T, HEARD_R, HELD,  # the newest total heard, good or not; whether it stands a last digit below
    PENDING, WITNESSES, CANDIDATE_T, CANDIDATE_R, SECOND_T, SECOND_R, WITNESS_T, WITNESS_R,
    SWAPPED_T,  # moment of the last exchange that was taken up
    RING,  # the last good totals, newest first: time and position alternating
) = range(22)  # fmt: skip
# A total that is integrated from power keeps in the same places, and powers in the ring:
REST = OFFSET  # what is left over beyond whole Wh, in 1/7.2e9 Wh
POWER = CANDIDATE_R  # of the last read that counts, mW, never negative
HEARD_ANY, SKIPPED = (
    WITNESSES,
    SECOND_T,
)  # whether one was heard at all; whether one since the last that counts was left out
RING_SIZE = 4
STATE_COLUMNS = RING + 2 * RING_SIZE

# PENDING
NONE, WAITING, BLOCKED = range(3)

# What a reading is counted in: one row per declared metric and ratio segment, the segments of a metric in order.
# T_LIMIT: what a register stays below, so that it stays below 2^62 under every earlier ratio as well.
# T_SIGN: 0 for a total; ±1 for a power, whose registers are mW; T_GAP: the longest gap in ms that it is integrated over.
(
    T_CHANNEL, T_SEGMENT, T_SINCE, T_NUM, T_DEN, T_KNUM, T_KDEN, T_POWER, T_GRAIN, T_MODULUS, T_LIMIT, T_SIGN, T_GAP,
) = range(13)  # fmt: skip
TERM_COLUMNS = 13
NOT_HEARD, HEARD_FIRST = -1, -2
"""Instead of a channel: none was made yet; one has to be made."""

# KIND of an entry
READING, CLOSING_SWAP, OPENING_SWAP = range(3)
UNSCALED = 3
"""Of a reading whose product with its ratio leaves 62 bits: Python's integers take over before anything else sees it."""

# A closed interval.
CHANNEL, START, END, OPENING, CLOSING, COVERED, EDGE_READ, WORST = range(8)
ROW_COLUMNS = 8

# An event. E_POSITION is the register that was read, E_DELTA what it adds to the position over the register,
# E_NOTED the time of the entry that made it known, E_UNTIL the last of the readings that it is about.
E_CHANNEL, E_TIME, E_KIND, E_POSITION, E_LAST_T, E_LAST_POS, E_DELTA, E_NOTED, E_UNTIL = range(9)
EVENT_COLUMNS = 9
(
    LATE, CONFLICT, PENDING_FALL, PENDING_RISE, TRANSIENT, LAST_DIGIT,
    ROLLOVER, STEP_BACK, RESET, UNEXPLAINED, EXCHANGE, RATIO_CHANGE,
    POWER_GAP, POWER_IMPLAUSIBLE, POWER_REVERSED,
) = range(1, 16)  # fmt: skip
EVENTS_PER_ENTRY = 4
"""At most: something settled, a candidate dropped, a last digit, a ratio change."""
BEYOND = 1 << 62
"""Above every register."""
