"""Notice a cancellation that was lost on its way, so that every task of the agent can be stopped.

Up to Python 3.11 ``asyncio.wait_for``, with which aiomqtt waits for each answer of a broker,
returns a result and drops the cancellation when both arrive in the same turn of the event loop. A
TaskGroup that ends with the error of a child drops its own cancellation too. A loop that goes on
after either would outlive SIGTERM, so each loop of a task asks here once a turn.
"""

import asyncio


def raise_if_cancelled() -> None:
    """Raise CancelledError if the current task was cancelled before and runs all the same."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
