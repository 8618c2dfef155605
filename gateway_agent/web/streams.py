"""Server-sent events: a bounded number of viewers, each as long as its session lasts."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway_agent.cancellation import raise_if_cancelled

from .access import Access, Visitor, problem, visitor_of

MAX_STREAMS: Final = 32  # viewers at a time


def event(kind: str, data: bytes) -> bytes:
    """Return one event. ``data`` is JSON, which has no line breaks."""
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


class Streams:
    """The viewers of one console."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._count = 0

    def of(
        self, make: Callable[[Request], AsyncGenerator[bytes, None]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that sends the events that ``make`` yields."""

        async def answer(request: Request) -> Response:
            visitor = visitor_of(request)
            assert visitor is not None
            if self._count >= MAX_STREAMS:
                return problem(f"{MAX_STREAMS} viewers are connected: close a page", 503)
            sent = self._sent(visitor, make(request))
            return StreamingResponse(sent, media_type="text/event-stream")

        return answer

    async def _sent(
        self, visitor: Visitor, events: AsyncGenerator[bytes, None]
    ) -> AsyncIterator[bytes]:
        self._count += 1
        try:
            async with aclosing(events):
                async for data in events:
                    raise_if_cancelled()
                    if not self._access.is_open(visitor):
                        return
                    yield data
        finally:
            self._count -= 1
