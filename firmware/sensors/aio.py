"""The one place where the two runtimes' asyncio differ for drivers and roles."""

import asyncio

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def _sleep_ms(ms: int) -> None:
    await asyncio.sleep(ms / 1000)


# MicroPython's own sleep_ms takes nothing from the heap; CPython has none.
sleep_ms: "Callable[[int], Awaitable[None]]" = getattr(asyncio, "sleep_ms", _sleep_ms)
