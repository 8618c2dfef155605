"""Send the notices of one queue, again and again, so that one receiver never waits for another."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn, Protocol

from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.journal import about
from gateway_agent.status import NotifyStatus
from gateway_agent.uplink.backoff import Backoff, Pause
from protocols.text_of_others import printable

from .queue import Notice, NoticeQueue

log: Final = logging.getLogger(__name__)

AGAIN: Final = Pause(1.0, 300.0)


class NoticeRefused(ValueError):
    """A receiver will never take what it got; the text says why."""


class NoticeSender(Protocol):
    """Delivers notices to one receiver."""

    @property
    def most(self) -> int:
        """Return how many notices it takes at once."""

    @property
    def pause_s(self) -> float:
        """Return how long it waits between two deliveries."""

    @property
    def where(self) -> str:
        """Return the receiver as a person writes it."""

    async def send(self, notices: Sequence[Notice]) -> str:
        """Return when the receiver has them, with who of it will not get them, or "".

        NoticeRefused, OSError or ValueError: why nobody has them.
        """


class NoticeTask:
    """One receiver with its queue."""

    def __init__(
        self,
        status: NotifyStatus,
        sender: NoticeSender,
        queue: NoticeQueue,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.status = status
        self.queue = queue
        self._sender = sender
        self._sleep = sleep
        self._backoff = Backoff(sleep)

    async def run(self) -> NoReturn:
        """Deliver until cancelled."""
        sender, queue, status = self._sender, self.queue, self.status
        while True:
            raise_if_cancelled()
            notices = await queue.take(sender.most)
            try:
                problem = await sender.send(notices)
            except NoticeRefused as error:
                queue.refused()
                self._note(str(error))
            except Exception as error:  # noqa: BLE001 - a bug of one sender must not stop the agent
                raise_if_cancelled()
                self._note(str(error) or type(error).__name__)
                await self._backoff.wait(AGAIN)
            else:
                raise_if_cancelled()
                self._backoff.reset()
                queue.done(len(notices) if problem else 0)
                status.sent += len(notices)
                if problem:
                    self._note(problem)
                elif status.problem:
                    log.warning("notify %s (%s) works again", status.name, status.where)
                    status.problem = ""
                await self._sleep(sender.pause_s)

    def _note(self, problem: str) -> None:
        """Log a problem when it begins or is another one than before."""
        status, text = self.status, printable(problem)[:200]
        if text != status.problem:
            log.warning(
                *("notify %s (%s): %s", status.name, status.where, text),
                extra=about(notify=status.name),
            )
        status.problem = text
