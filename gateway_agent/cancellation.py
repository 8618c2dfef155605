"""Notice a cancellation that was lost on its way, so that every task of the agent can be stopped.

Up to Python 3.11 ``asyncio.wait_for``, with which aiomqtt waits for each answer of a broker,
returns a result and drops the cancellation when both arrive in the same turn of the event loop. A
loop that goes on after that would outlive SIGTERM, so each loop of a task asks here once a turn.

A TaskGroup that ends with the error of a child drops its own cancellation too, and up to Python
3.12 it leaves its task counted as cancelled after such an error. Where the task goes on after the
error of a child, :func:`until_first_ends` takes its place.
"""

import asyncio
from collections.abc import Coroutine


def raise_if_cancelled(task: asyncio.Task[object] | None = None) -> None:
    """Raise CancelledError if the current task was cancelled before and runs all the same.

    ``task``: the current one, for a loop so hot that looking it up each time shows.
    """
    if task is None:
        task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def until_first_ends(*works: Coroutine[object, object, object]) -> None:
    """Run all until one ends, end the others, and raise the error of the first that has one.

    A cancellation from outside wins over every error.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        errors = [task.exception() for task in tasks if not task.cancelled()]
    raise_if_cancelled()
    for error in errors:
        if error is not None:
            raise error
