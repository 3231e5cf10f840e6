"""A ledger made from the journal by several processes: one reads, some work on their share of the meters; this one writes.

Plain children instead of `multiprocessing`: that would import the caller's own main module again, whatever it does.
"""

import gc
import mmap
import os
import pickle
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from metering.registry import Park
from storage.journal import JournalReader, Offset
from storage.ledger import SCHEMA_VERSION, RebuildPoint
from stream.batch import Birth, runs
from stream.context import Context
from stream.messages import put, take
from stream.policy import Policy
from stream.share import ROWS, SLICE, Point, Share, Told
from stream.sources.handed import CHUNK_BYTES, MEMORY_BYTES, Handed, Range, Reader
from stream.sources.partition import Partition, worker_of
from stream.sources.replay import Replay
from stream.sources.source import Source
from stream.state import SCHEMA

COMMAND = (sys.executable, "-c", "from stream.rebuild import main; main()")
BEGIN = Offset(1, 0)


class Work(NamedTuple):
    """What a worker has to do."""

    journal: Path
    end: Offset
    park: Park
    policy: Policy
    worker: int
    workers: int
    size: int
    """Of a slice, in totals."""
    rows: int
    """That are told at once."""
    point: bytes
    """Where it goes on; empty at the beginning."""

    @property
    def begin(self) -> Offset:
        """Where it reads from."""
        return msgspec.msgpack.decode(self.point, type=Point).cursor if self.point else BEGIN


class Hearing(NamedTuple):
    """A worker as a process: the file descriptors of the shared memory, of what it is told, and for what it has done."""

    work: Work
    memory: int
    told: int
    done: int


class Reading(NamedTuple):
    """The reader as a process: as above, the pipes of all workers."""

    journal: Path
    span: Range
    memory: int
    workers: list[int]
    done: int


class WorkerError(Exception):
    """A worker left before its time (ours). What it said went to the log."""


def cores() -> int:
    """What this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def made_of(journal_id: str, context: Context) -> str:
    """What the results of a rebuild follow from, as one word."""
    said = repr((journal_id, SCHEMA, SCHEMA_VERSION, context.policy.made_of)) + context.park.model_dump_json()
    return blake2b(said.encode(), digest_size=16).hexdigest()


def usable(points: Sequence[RebuildPoint], end: Offset) -> bool:
    """Whether a rebuild up to `end` can go on from them. A worker without a point has told nothing yet."""
    return bool(points) and all(msgspec.msgpack.decode(p.data, type=Point).cursor <= end for p in points)


def told_by(
    workers: int, journal: Path, end: Offset, context: Context, points: Sequence[RebuildPoint] = ()
) -> Iterator[Told]:
    """What so many workers find, as it comes; each ends with one that has a rest. They go on from `points`, if there are any."""
    known = {point.worker: point.data for point in points}
    of_all = journal, end, context.park, context.policy
    work = [Work(*of_all, i, workers, SLICE, ROWS, known.get(i, b"")) for i in range(workers)]
    return shares(work) if workers > 1 else share(work[0])


def share(work: Work, source: Source | None = None) -> Iterator[Told]:
    """What one worker finds, of all records of `source`."""
    with JournalReader(work.journal) as journal:
        if source is None:
            source = Replay(journal, work.end, times=work.workers)
        source, world = Partition(source, work.worker, work.workers), Context(work.park, work.policy)
        mine = Share(source, world, work.size, work.rows, work.worker)
        if work.point:
            births = (
                run for run in runs(journal.births_before(work.begin.segment)) if isinstance(run, Birth)
            )
            point = msgspec.msgpack.decode(work.point, type=Point)
            mine.go_on(point, [birth for birth in births if _has(work, birth)])
        yield from mine.told(work.begin)


def _has(work: Work, birth: Birth) -> bool:
    return worker_of(birth.topic.gateway, birth.topic.meter, work.workers) == work.worker


def shares(work: list[Work]) -> Iterator[Told]:
    """What several find, each in a process of its own, and one that reads for them; they end when nobody asks any more."""
    with ExitStack() as stack, selectors.DefaultSelector() as ready:
        for pipe in _started(work, stack):
            ready.register(pipe, selectors.EVENT_READ)
        while ready.get_map():
            for key, _events in ready.select():
                told = _told(key.fileobj)  # type: ignore[arg-type]
                if told.rest is not None:
                    ready.unregister(key.fileobj)
                yield told


def _started(work: list[Work], stack: ExitStack) -> list[IO[bytes]]:
    """Start the reader and the workers; what each worker says."""
    memory, pipes, (done, tell_done) = _memory(stack), [os.pipe() for _ in work], os.pipe()
    ours = [done, tell_done, *(fd for pipe in pipes for fd in pipe)]
    span = Range(
        min(one.begin for one in work), work[0].end, frozenset(one.begin.segment for one in work), CHUNK_BYTES
    )
    said = [
        _child(Hearing(one, memory, told, tell_done), [memory, told, tell_done], stack)
        for one, (told, _tell) in zip(work, pipes, strict=True)
    ]
    tells = [tell for _told, tell in pipes]
    _child(Reading(work[0].journal, span, memory, tells, done), [memory, *tells, done], stack)
    for fd in ours:  # who reads from one that has left has to notice
        os.close(fd)
    return said


def _memory(stack: ExitStack) -> int:
    """Memory that children can share, as a file that has no name."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("tanyun-rebuild")
        stack.callback(os.close, fd)
    else:
        fd, name = tempfile.mkstemp()
        stack.callback(os.close, fd)
        Path(name).unlink()
    os.ftruncate(fd, MEMORY_BYTES)
    return fd


def _child(job: Hearing | Reading, fds: list[int], stack: ExitStack) -> IO[bytes]:
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = stack.enter_context(
        subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=found, pass_fds=fds)
    )
    stack.callback(process.kill)
    if process.stdin is None or process.stdout is None:
        raise AssertionError
    # One that has gone already is noticed when it is read from.
    with suppress(BrokenPipeError):
        process.stdin.write(pickle.dumps(job))
    with suppress(BrokenPipeError):
        process.stdin.close()
    return process.stdout


def _told(pipe: IO[bytes]) -> Told:
    try:
        return msgspec.msgpack.decode(take(pipe), type=Told)
    except EOFError as error:
        msg = "a worker of the rebuild left before its time"
        raise WorkerError(msg) from error


def main() -> None:
    """A child: what to do comes in on stdin, what was found goes out on stdout."""
    job = pickle.load(sys.stdin.buffer)  # noqa: S301  our own parent's
    gc.disable()  # it makes no cycles, and looking for them among its rows takes a tenth of the time
    with mmap.mmap(job.memory, MEMORY_BYTES) as memory:
        if isinstance(job, Reading):
            _read(job, memory)
        else:
            _hear(job, memory)
        os._exit(0)  # without looking for who still looks into the memory


def _read(job: Reading, memory: mmap.mmap) -> None:
    with JournalReader(job.journal) as journal, ExitStack() as stack:
        workers = [stack.enter_context(os.fdopen(fd, "wb")) for fd in job.workers]
        done = stack.enter_context(os.fdopen(job.done, "rb", buffering=0))
        Reader(journal, memory, workers, done).serve(job.span)


def _hear(job: Hearing, memory: mmap.mmap) -> None:
    with os.fdopen(job.told, "rb") as told, os.fdopen(job.done, "wb") as done:
        for found in share(job.work, Handed(memory, told, done)):
            try:
                put(sys.stdout.buffer, msgspec.msgpack.encode(found))
            except BrokenPipeError:  # who asked for it has gone, or does not want any more
                return
