"""How wrong the gateways' clocks are: every Sparkplug payload says when it was sent, backlog or not (Sparkplug 3.0, 6.4.2)."""

from metering.protobuf_wire import DecodeError
from metering.sparkplug import decode
from metering.topics import parse_topic
from storage.journal import JournalReader, Offset
from storage.segment import Record

SEGMENTS = 50
"""Looked at in one go, the newest; one message of each gateway is enough."""


class Clocks:
    """Remembers how far it has looked."""

    def __init__(self) -> None:
        self._seen = 0

    def ahead_s(self, journal: JournalReader) -> dict[str, float]:
        """Gateway → seconds that its clock is ahead of the server's (behind: negative), of those that were heard since the last look.

        The way to the server counts as being behind.
        """
        head = journal.last_segment()
        after = max(self._seen if self._seen <= head else 0, head - SEGMENTS)
        newest: dict[str, Record] = {}
        for _, records in journal.segments(Offset(after + 1, 0), head - after):
            for record in records:
                topic = parse_topic(record.topic)
                if topic is not None:
                    newest[topic.gateway] = record
        self._seen = head
        found = {gateway: _ahead_s(record) for gateway, record in newest.items()}
        return {gateway: ahead for gateway, ahead in found.items() if ahead is not None}


def _ahead_s(record: Record) -> float | None:
    try:
        sent_ms = decode(record.payload).timestamp
    except DecodeError:
        return None
    return None if sent_ms is None else (sent_ms - record.received_ms) / 1000
