"""Messages between the processes of a rebuild: bytes with their length before them."""

from typing import IO

_SIZE_BYTES = 8


def put(pipe: IO[bytes], data: bytes) -> None:
    """Send a message; BrokenPipeError when nobody is there to read it."""
    pipe.write(len(data).to_bytes(_SIZE_BYTES) + data)
    pipe.flush()


def take(pipe: IO[bytes]) -> bytes:
    """The next message; EOFError when who sends them left in the middle of one, or before."""
    size = int.from_bytes(pipe.read(_SIZE_BYTES))
    data = pipe.read(size)
    if not size or len(data) < size:
        msg = "the other end left"
        raise EOFError(msg)
    return data
