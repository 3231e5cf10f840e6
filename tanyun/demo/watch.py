"""Where the accelerated clock stands, heard from its server without blocking the supervisor's loop."""

import json
import socket
from typing import NamedTuple


class Progress(NamedTuple):
    """The clock's tick between its start and now; `live` once it has caught up."""

    tick_ms: int
    start_ms: int
    now_ms: int
    live: bool

    @property
    def share(self) -> float:
        """Part of the way from start to now, 0 to 1."""
        return min(1.0, (self.tick_ms - self.start_ms) / max(1, self.now_ms - self.start_ms))


class ClockWatch:
    """A watcher of the clock server that connects again whenever it has to."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._rest = b""
        self.progress: Progress | None = None

    def poll(self) -> Progress | None:
        """The newest known progress."""
        try:
            if self._socket is None:
                self._connect()
            self._read()
        except OSError:
            self.close()
        return self.progress

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._rest = None, b""

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=0.2)
        self._socket.sendall(b'{"watch": true}\n')
        self._socket.setblocking(False)

    def _read(self) -> None:
        assert self._socket is not None  # noqa: S101
        try:
            while data := self._socket.recv(65536):
                self._rest += data
        except BlockingIOError:
            pass
        else:
            self.close()
        *lines, self._rest = self._rest.split(b"\n")
        if lines:
            said = json.loads(lines[-1])
            self.progress = Progress(said["tick"], said["start"], said["now"], said["live"])
