"""paho's client with another way to read: as much as the socket has at once, and ordinary messages without paho's work for each.

Connecting, signing in, keep-alive, subscriptions and every other packet stay paho's. It is given whole packets only.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

_PLAIN: Final = 0x30
"""First byte of a PUBLISH at QoS 0 that is neither retained nor a repetition (MQTT 3.1.1, 3.3.1)."""
_PORTION: Final = 65_536
_AT_ONCE: Final = 1_000_000
_OK: Final = MQTTErrorCode.MQTT_ERR_SUCCESS


class BulkClient(mqtt.Client):
    """Calls `plain(topic, payload)` for ordinary messages, in order with those of `on_message`, and `pause` after each portion.

    Args:
        plain: False sends a message paho's way, to `on_message`.
        pause: May block; meanwhile nothing is read from the socket.
    """

    def __init__(self, plain: Callable[[bytes, bytes], bool], pause: Callable[[], None], **more: Any) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, **more)
        self._plain, self._pause = plain, pause
        self._read, self._at, self._end = b"", 0, 0
        self._from_socket = False

    def reconnect(self) -> MQTTErrorCode:
        """As paho's; what was left of the old connection is gone."""
        self._read, self._at, self._end = b"", 0, 0
        return super().reconnect()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Everything that has come, in whole packets."""
        if self.socket() is None:
            return super().loop_read(max_packets)
        open_ = self._fill()
        rc = _OK
        while rc == _OK and self._next_packet():
            if not self._took_plain():
                rc = super().loop_read(max_packets)
                self._at = self._end
        self._read, self._at, self._end = self._read[self._at :], 0, 0
        self._pause()
        if rc != _OK or open_:
            return rc
        # Closed or broken: paho asks the socket once more, and does what is to be done.
        self._from_socket = True
        try:
            return super().loop_read(max_packets)
        finally:
            self._from_socket = False

    def _fill(self) -> bool:
        """Read what is there, up to a limit; False when the connection has ended."""
        parts, size = [self._read], 0
        try:
            while size < _AT_ONCE and (data := super()._sock_recv(_PORTION)):
                parts.append(data)
                size += len(data)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self._read = b"".join(parts)
            if size:
                self._heard_from()
        return size >= _AT_ONCE

    def _heard_from(self) -> None:
        """Whatever has come is a sign of life: the answer to a ping may lie behind the births of a whole park."""
        self._ping_t = 0.0
        self._last_bytes_received = time.monotonic()

    def _next_packet(self) -> bool:
        """Find the end of the packet at `_at`; False when it is not here whole."""
        data, at = self._read, self._at + 1
        size = shift = 0
        while at < len(data):
            size |= (data[at] & 0x7F) << shift
            if data[at] < 0x80 or shift == 21:  # noqa: PLR2004  four bytes at most
                self._begin, self._end = at + 1, at + 1 + size
                return self._end <= len(data)
            at, shift = at + 1, shift + 7
        return False

    def _took_plain(self) -> bool:
        """Hand an ordinary message over."""
        data, begin = self._read, self._begin
        if data[self._at] != _PLAIN:
            return False
        split = begin + 2 + (data[begin] << 8 | data[begin + 1] if self._end - begin >= 2 else 0)  # noqa: PLR2004
        if not begin + 2 < split <= self._end or not self._plain(
            data[begin + 2 : split], data[split : self._end]
        ):
            return False
        self._at = self._end
        return True

    def _sock_recv(self, bufsize: int) -> bytes:
        """What paho reads: the rest of the packet that is its turn."""
        if self._from_socket:
            return super()._sock_recv(bufsize)
        data = self._read[self._at : min(self._at + bufsize, self._end)]
        if not data:
            raise BlockingIOError
        self._at += len(data)
        return data
