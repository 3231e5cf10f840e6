"""Why a block could not be read."""


class ReadFailed(Exception):
    """No connection, no answer in time, or the device's own exception."""

    reached = True
    """False when there was nothing to ask: no connection, no port. The device may be in order."""
    silent = False
    """True when the time-out passed without an answer to this request."""


class Unreachable(ReadFailed):
    """The endpoint takes no connection, or the serial port cannot be opened."""

    reached = False


class NoAnswer(ReadFailed):
    """Nothing that answers this request came in time."""

    silent = True


class Refused(ReadFailed):
    """The device itself says that it has no such function, address or count. It says so every time."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
