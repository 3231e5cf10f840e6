"""The source of one worker of several: its share of the meters, from any other source."""

from functools import lru_cache
from hashlib import blake2b

from metering.topics import Topic
from storage.journal import Offset
from stream.kernels.records import CODE
from stream.records import Block, ByTopic
from stream.sources.source import Source


@lru_cache(maxsize=1 << 16)
def worker_of(gateway: str, meter: str, workers: int) -> int:
    """Which of `workers` has a meter. The same on every machine and for ever."""
    digest = blake2b(f"{gateway}/{meter}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % workers


class Partition:
    """Passes on what belongs to one worker's meters. Messages of no meter go to everyone."""

    def __init__(self, source: Source, worker: int, workers: int) -> None:
        self._source, self._worker, self._workers = source, worker, workers
        self._mine = ByTopic(self._has)

    def read(self, cursor: Offset) -> tuple[Block, Offset]:
        """The worker's next records, and the cursor after everything that was looked at."""
        while True:
            block, after = self._source.read(cursor)
            mine = block.taken(self._mine(block.topics)[block.places[CODE]] > 0)
            if len(mine) or after == cursor:
                return mine, after
            cursor = after

    def _has(self, topic: Topic | None) -> bool:
        if topic is None or not topic.meter:
            return True
        return worker_of(topic.gateway, topic.meter, self._workers) == self._worker
