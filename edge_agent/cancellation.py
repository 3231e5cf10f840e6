"""Cancellation that is heard, whatever a library does with it."""

import asyncio


def heed_cancellation() -> None:
    """End a task that was cancelled and did not hear it: asyncio.wait_for of Python 3.11, which aiomqtt uses, may swallow it.

    bpo-42130. Without this a session would outlive its host, and a stopped agent would not stop.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
