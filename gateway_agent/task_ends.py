"""How tasks end: waited for at most so long, and with which error of a group."""

import asyncio
from collections.abc import Coroutine

from .store.errors import StoreFailed


async def within(seconds: float, work: Coroutine[object, object, object]) -> bool:
    """Wait for ``work`` and return True; after ``seconds`` cancel it and return False."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        return False
    return True


async def ended(*tasks: "asyncio.Task[object]") -> None:
    """Wait for tasks that were cancelled; their group handles what they raised."""
    await asyncio.wait(set(tasks))


def first_error(errors: BaseExceptionGroup[StoreFailed]) -> StoreFailed:
    """Return the first error that is no group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, StoreFailed)
    return error
