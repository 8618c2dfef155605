"""Threads for what may hang, so that nothing waits for it: neither other work nor the end.

A name that no server resolves keeps its thread for half a minute, and nothing can end the call. In
asyncio's own pool a few of them hold up everything else that needs a thread, and the process does
not end before they do.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class DaemonThreads(ThreadPoolExecutor):
    """Runs each call in a daemon thread of its own; asyncio takes no other kind of executor."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Begin to call ``fn``."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()

        def call() -> None:
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - the future has it
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=call, name="call", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: a call that still runs ends with the process."""


def run(main: Coroutine[object, object, T]) -> T:
    """Run ``main`` as :func:`asyncio.run` does, with these threads; a call that hangs is left."""

    async def with_threads() -> T:
        asyncio.get_running_loop().set_default_executor(DaemonThreads())
        return await main

    return asyncio.run(with_threads())
