"""Fetches one file of a node, goes on where it was after a break, and takes it whole or not at all.

Until a file has the size and the SHA-256 that the node announced its bytes are in memory only, at
most MAX_FILE_BYTES of them.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from gateway_agent.errors import OperatorError
from protocols.uplink import MAX_FILE_BYTES
from protocols.wire.errors import PeerError
from protocols.wire.link.file_sink import REFUSED, WHOLE, FileSink
from protocols.wire.link.messages import BEHIND_END, NO_FILE, NOT_ALLOWED, OTHER_FILE

IDLE_S: Final = 60.0  # without one byte, sessions that come and go included
_REASONS: Final = {
    NO_FILE: "the node has none: nothing was taken since its start",
    NOT_ALLOWED: "the node does not allow it: its image switch (setting image_export) is off",
    OTHER_FILE: "the node has another one by now: ask again",
    BEHIND_END: "the node has a shorter one by now: ask again",
}


class FetchError(OperatorError):
    """The file did not come whole; the text gives the reason."""


class FetchedFile(Struct, frozen=True):
    """A whole file. ``number`` is the node's own, ``sha256`` was compared with ``data``."""

    file: int
    number: int
    sha256: bytes
    data: bytes


class _Fetch:
    """One file on its way."""

    def __init__(self, file: int, progress: Callable[[int, int], None]) -> None:
        self.file = file
        self.progress = progress
        self.renewals = 0  # it was another file by then
        self.messages = 0
        self.whole: asyncio.Future[FetchedFile] = asyncio.get_running_loop().create_future()
        self.begin()

    def begin(self) -> None:
        """Begin with nothing."""
        self.data = bytearray()
        self.sink = FileSink(self.file, MAX_FILE_BYTES, self.data.extend)

    def fail(self, reason: str) -> None:
        self.whole.set_exception(FetchError(reason))


class FileFetch:
    """Fetches the files of one node, one at a time. ``send`` puts a message on the file channel."""

    def __init__(self, send: Callable[[bytes], bool]) -> None:
        self._send = send
        self._now: _Fetch | None = None

    @property
    def is_busy(self) -> bool:
        """Return whether a file is on its way."""
        return self._now is not None

    async def get(self, file: int, progress: Callable[[int, int], None]) -> FetchedFile:
        """Fetch a file; FetchError if it does not come whole.

        ``progress`` is called with bytes that are there and bytes of the file as they come.
        """
        if self._now is not None:
            raise FetchError("another file of this node is on its way: try again when it is there")
        self._now = fetch = _Fetch(file, progress)
        try:
            self.resume()
            while not fetch.whole.done():
                messages = fetch.messages
                await asyncio.wait({fetch.whole}, timeout=IDLE_S)
                if messages == fetch.messages and not fetch.whole.done():
                    raise FetchError(
                        f"nothing of it came for {IDLE_S:.0f} s, {fetch.sink.offset} bytes are"
                        " there: has the node a session? `tianfu-gateway status` shows it"
                    )
            return fetch.whole.result()
        finally:
            self._now = None
            if not fetch.whole.done():
                self._send(fetch.sink.stop())
                fetch.whole.cancel()
            elif not fetch.whole.cancelled():
                fetch.whole.exception()  # nobody may wait for it any more

    def resume(self) -> None:
        """Ask for what is not there yet; called when a session begins, too."""
        if self._now is not None:
            self._send(self._now.sink.request())

    def message(self, message: bytes) -> None:
        """Take one message of the file channel."""
        fetch = self._now
        if fetch is None or fetch.whole.done():
            return
        fetch.messages += 1
        sink = fetch.sink
        try:
            state = sink.take(message)
        except PeerError as error:
            self._send(sink.stop())
            fetch.fail(f"it is not taken: {error}")
            return
        if state == REFUSED:
            self._refused(fetch, sink.reason)
            return
        if sink.size >= 0:
            fetch.progress(sink.offset, sink.size)
        if state == WHOLE:
            fetch.whole.set_result(
                FetchedFile(sink.file, sink.number, sink.sha256, bytes(fetch.data))
            )

    def _refused(self, fetch: _Fetch, reason: int) -> None:
        if reason in (OTHER_FILE, BEHIND_END) and not fetch.renewals:
            fetch.renewals += 1
            fetch.begin()  # a newer one: it is taken from its beginning
            self.resume()
        else:
            fetch.fail(_REASONS.get(reason, f"the node refuses it for reason {reason}"))
