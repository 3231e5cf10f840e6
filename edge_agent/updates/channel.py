"""The gateway's end of a push: hears bundles beside Sparkplug, stages and tries them, and says what became of them."""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from edge_agent.agent import Running
from edge_agent.config import EdgeConfig
from edge_agent.side import Message
from edge_agent.updates.bundle import BundleError
from edge_agent.updates.store import Store
from metering.topics import configuration_topic, configured_topic

log = logging.getLogger("tanyun.edge")
_POLLS_TRIED: Final = 2
"""The least that a trial sees, however far polls are apart."""
_TOLD_S: Final = 5.0
"""The most that a switch waits for `staged` to go out."""


class Updates:
    """What carries a pushed configuration through the runs of an agent. A side channel, and a companion of each run."""

    def __init__(self, installed: EdgeConfig, store: Store) -> None:
        self._in = configuration_topic(installed.park, installed.gateway)
        self._out = configured_topic(installed.park, installed.gateway)
        self._confirm_s = 60 * installed.updates.confirm_minutes if installed.updates is not None else 0.0
        self._heard: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._judged = ""
        """SHA-256 of the bundle that was judged last: the server knows its own by it."""
        self.store = store
        self.outgoing: asyncio.Queue[Message] = asyncio.Queue()
        self.switch = asyncio.Event()
        """Set when another configuration is in force: the run has to end, and the next one begin."""

    @property
    def topics(self) -> Sequence[str]:
        """The topic of this gateway's bundles."""
        return (self._in,)

    def hello(self) -> Sequence[Message]:
        """What the server is told at the start of each session."""
        return (self._report(),)

    def hear(self, topic: str, body: bytes) -> None:
        """A bundle, to be judged by `judge`; a newer one replaces what waits."""
        if topic == self._in and body:
            if self._heard.full():
                self._heard.get_nowait()
            self._heard.put_nowait(body)

    def configuration(self) -> EdgeConfig:
        """The configuration of the next run."""
        self.switch.clear()
        return self.store.configuration()

    async def accompany(self, running: Running) -> None:
        """Bring a trial to its end, then judge bundles as they come. A companion of the agent."""
        if self.store.state.trial is not None:
            await self._try(running)
        while not self.switch.is_set():
            await self._judge(await self._heard.get(), running)

    async def _judge(self, body: bytes, running: Running) -> None:
        self._judged = hashlib.sha256(body).hexdigest()
        try:
            number = await asyncio.to_thread(self.store.stage, body)
        except BundleError as error:
            log.warning("configuration_refused error=%s", str(error).replace("\n", "; "))
            self._tell("refused", str(error))
            return
        except OSError as error:
            log.warning("configuration_not_staged error=%s", error)
            self._tell("not_staged", str(error))
            return
        if number is None:
            return
        log.warning("configuration_staged number=%d", number)
        self._tell()
        await self._told()
        answered = [device.meter.id for device in running.devices if device.health.answers]
        await asyncio.to_thread(self.store.begin, number, answered)
        self.switch.set()

    async def _told(self) -> None:
        """Wait until `staged` has gone out, if there is a connection: the next one may have other credentials."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_TOLD_S):
                await self.outgoing.join()

    async def _try(self, running: Running) -> None:
        """Wait, then judge: healthy polls and the server's acks, or back to what was before."""
        self._tell()
        seconds = max(self._confirm_s, _POLLS_TRIED * running.config.poll_interval_s)
        log.warning("configuration_on_trial number=%d seconds=%.0f", self.store.state.active, seconds)
        acked, last = running.outbox.acked, running.outbox.last
        await asyncio.sleep(seconds)
        wrong = self._wrong(running, acked, last)
        if wrong:
            await asyncio.to_thread(self.store.roll_back, "; ".join(wrong))
            log.error("configuration_rolled_back reason=%s", "; ".join(wrong))
            self.switch.set()
            return
        await asyncio.to_thread(self.store.confirm)
        log.warning("configuration_confirmed number=%d", self.store.state.active)
        self._tell()

    def _wrong(self, running: Running, acked: int, last: int) -> list[str]:
        """What the new configuration has made worse; `acked` and `last` are those of its start."""
        trial = self.store.state.trial
        before = set(trial.answered) if trial is not None else set()
        silent = [d.meter.id for d in running.devices if d.meter.id in before and not d.health.answers]
        wrong = [f"meters that answered before are silent: {', '.join(silent)}"] if silent else []
        if not any(device.health.polls_total for device in running.devices):
            wrong.append("no meter was polled")
        if not running.publisher.in_session:
            wrong.append("no session with broker and server")
        elif running.outbox.last > last and running.outbox.acked <= acked:
            wrong.append("the server acknowledged nothing")
        return wrong

    def _tell(self, said: str | None = None, detail: str | None = None) -> None:
        self.outgoing.put_nowait(self._report(said, detail))

    def _report(self, said: str | None = None, detail: str | None = None) -> Message:
        state = self.store.state
        document = {
            "number": state.highest,
            "state": said or state.said,
            "active": state.active,
            "bundle": self._judged,
            "detail": state.detail if detail is None else detail,
            "t_ms": time.time_ns() // 1_000_000,
        }
        return Message(self._out, json.dumps(document, ensure_ascii=False).encode())
