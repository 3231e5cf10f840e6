"""Closing a month: what was metered, checked against the raw frames, frozen as a document and printed."""
