"""The event loop sends requests to the outbox's thread; futures carry the answers back.

A request that was submitted is carried out. Cancelling the task that waits for it ends the wait
and nothing else: the future counts as running from the start, so it cannot be cancelled, and the
thread sets its result in any case.
"""

import asyncio
import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

from msgspec import Struct, field

from protocols.uplink import Record

from .errors import StoreError, StoreFailed
from .mark import Mark

MAX_COMMIT: Final = 5000  # records in one commit: bounds its duration and its memory

T_co = TypeVar("T_co", covariant=True)


class StoreRequest(Generic[T_co]):
    """One request with the future of its answer."""

    def __init__(self) -> None:
        self.future: Future[T_co] = Future()
        self.future.set_running_or_notify_cancel()

    async def answer(self) -> T_co:
        """Wait in the event loop for the thread's answer."""
        return await asyncio.wrap_future(self.future)

    def fail(self, error: StoreError) -> None:
        """Answer with ``error``, unless there is an answer already."""
        if not self.future.done():
            self.future.set_exception(error)


class PutRequest(StoreRequest[None]):
    """Records and marks (by device id) to commit."""

    def __init__(self, records: Sequence[Record], marks: Mapping[str, Mark]) -> None:
        super().__init__()
        self.records = records
        self.marks = marks

    def succeed(self) -> None:
        """Answer that records and marks are durable."""
        self.future.set_result(None)


class CallRequest(StoreRequest[T_co]):
    """A function of the outbox to call in its thread."""

    def __init__(self, function: Callable[[], T_co]) -> None:
        super().__init__()
        self._function = function

    def run(self) -> None:
        """Call the function and answer with its result or its StoreError.

        Raises StoreFailed too, and any error that is none of the store's: the thread must end.
        """
        try:
            result = self._function()
        except StoreFailed as error:
            self.fail(error)
            raise
        except StoreError as error:
            self.fail(error)
        else:
            self.future.set_result(result)


class Round(Struct):
    """What one turn of the thread has to do: commit ``puts``, run ``calls``, perhaps stop."""

    puts: list[PutRequest] = field(default_factory=list)
    calls: list[CallRequest[object]] = field(default_factory=list)
    stop: bool = False

    @property
    def is_empty(self) -> bool:
        """Return whether nothing was asked for."""
        return not (self.puts or self.calls or self.stop)


class RequestQueue:
    """The way from the event loop to the thread."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[StoreRequest[object] | None] = queue.SimpleQueue()

    def submit(self, request: StoreRequest[object]) -> None:
        """Pass ``request`` to the thread."""
        self._queue.put(request)

    def stop(self) -> None:
        """Ask the thread to end after what was submitted before."""
        self._queue.put(None)

    def take(self, timeout: float | None) -> Round:
        """Wait up to ``timeout`` seconds for a request, then take all there are.

        The round is empty if none came. It ends early when its puts fill one commit.
        """
        found = Round()
        try:
            item = self._queue.get(timeout=timeout)
        except queue.Empty:
            return found
        count = 0
        while True:
            if item is None:
                found.stop = True
            elif isinstance(item, PutRequest):
                found.puts.append(item)
                count += len(item.records)
            elif isinstance(item, CallRequest):
                found.calls.append(item)
            if count >= MAX_COMMIT:
                return found
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return found
