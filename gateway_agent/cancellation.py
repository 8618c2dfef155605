"""Notice a cancellation that was lost on its way, so that every task of the agent can be stopped.

Up to Python 3.11 ``asyncio.wait_for``, with which aiomqtt waits for each answer of a broker,
returns a result and drops the cancellation when both arrive in the same turn of the event loop. A
loop that goes on after that would outlive SIGTERM, so each loop of a task asks here once a turn.

A TaskGroup that ends with the error of a child drops its own cancellation too, and up to Python
3.12 it leaves its task counted as cancelled after such an error. Where the task goes on after the
error of a child, :func:`until_first_ends` takes its place.

What a cancellation must not interrupt, because a file or a lock would be left, is awaited with
:func:`whatever_comes`.
"""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import TypeVar

T = TypeVar("T")


def is_cancelled(task: asyncio.Task[object] | None = None) -> bool:
    """Return whether the current task was cancelled before and runs all the same.

    ``task``: the current one, for a loop so hot that looking it up each time shows.
    """
    if task is None:
        task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def raise_if_cancelled(task: asyncio.Task[object] | None = None) -> None:
    """Raise CancelledError if :func:`is_cancelled`."""
    if is_cancelled(task):
        raise asyncio.CancelledError


async def until_first_ends(*works: Coroutine[object, object, object]) -> None:
    """Run all until one ends, end the others, and raise the error of the first that has one.

    A cancellation from outside wins over every error; it is raised when all have ended.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await whatever_comes(asyncio.wait(tasks))
        errors = [task.exception() for task in tasks if not task.cancelled()]
    raise_if_cancelled()
    for error in errors:
        if error is not None:
            raise error


async def whatever_comes(work: Awaitable[T]) -> T:
    """Wait for ``work`` to its end; a cancellation that came meanwhile is raised after it.

    The cancellation wins over an error, which becomes its cause. It is for what must not be left
    half done and is bounded in itself: a clean-up, a thread.
    """
    task = asyncio.ensure_future(work)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        raise cancellation from (None if task.cancelled() else task.exception())
    return task.result()
