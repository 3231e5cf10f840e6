"""The month document itself: the file's bytes are the stored bytes, so its SHA-256 is the revision's digest."""

from storage.months import MonthRow


def render(row: MonthRow) -> bytes:
    """The stored document."""
    return row.document
