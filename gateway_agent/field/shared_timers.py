"""Many waits of one event loop end with one timer, because those of a site's buses coincide.

Each poll waits for its slot and sets a deadline that hardly ever passes. With a timer of the event
loop for each, a hundred devices that are due in the same millisecond cost two hundred, a third of
what their polls cost.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Final

_PER_SECOND: Final = 1000  # waits end in whole milliseconds of the loop's time


class SharedTimers:
    """One timer for all that ends in the same millisecond; nothing ends before its time.

    A callback cannot be taken back: it finds out whether it is still of use.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[int, list[Callable[[], object]]] = {}

    def call_at(self, when: float, callback: Callable[[], object]) -> None:
        """Call ``callback`` at the loop's time ``when``, or less than 1 ms later."""
        tick = math.ceil(when * _PER_SECOND)
        callbacks = self._due.get(tick)
        if callbacks is None:
            self._due[tick] = [callback]
            self._loop.call_at(tick / _PER_SECOND, self._call, tick)
        else:
            callbacks.append(callback)

    async def sleep(self, seconds: float, over: "asyncio.Future[None] | None" = None) -> None:
        """Wait as :func:`asyncio.sleep` does, up to 1 ms longer, or until ``over`` has a result."""
        over = over or self._loop.create_future()

        def end() -> None:
            if not over.done():  # cancelled
                over.set_result(None)

        self.call_at(self._loop.time() + seconds, end)
        await over

    def _call(self, tick: int) -> None:
        for callback in self._due.pop(tick):
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - the others are called all the same
                context = {"message": f"exception in {callback!r}", "exception": error}
                self._loop.call_exception_handler(context)
