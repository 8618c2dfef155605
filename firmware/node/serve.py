"""The Modbus RTU server task: it carries bytes between the line and the server core.

The task sleeps until a byte comes. From then on it looks at the line once a millisecond, until the
core has nothing left that more silence could complete. The core keeps the time of the silence.

An operating system or a driver's buffer hides when a byte came: all that is known is that it was
after the last look. So bytes get the time after the look that found them (a frame is never taken
for complete while its end may still be coming), and the core is asked with the time before a look
that found nothing (a pause in the task's own running never ends a frame).
"""

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from .ports import Line, NodeBoard, Rtu

_HANGUP_MS = const(100)
_COUNT = const(0x3FFFFFFF)  # counters wrap where they would take heap on a 32 bit board


class Server:
    """Serves one line for ever. ``beat`` is called at every turn that got somewhere.

    ``after`` is called when a request is done with, so that a command (a restart) takes effect
    behind its answer. Between polls nothing stays allocated.
    """

    def __init__(
        self,
        board: "NodeBoard",
        line: "Line",
        rtu: "Rtu",
        beat: "Callable[[], None]",
        after: "Callable[[], None]",
    ) -> None:
        self._board = board
        self._line = line
        self._rtu = rtu
        self._beat = beat
        self._after = after
        self._chunk = bytearray(len(rtu.tx))  # the longest frame
        self._tx = memoryview(rtu.tx)
        self.polls = 0  # answers written
        self.cut = 0  # answers the line did not take whole
        self.hangups = 0

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            try:
                length = await self._line.receive(self._chunk)
            except OSError:
                length = 0
            if length <= 0:
                # No beat: a line that stays dead lets the watchdog try a restart.
                self.hangups = (self.hangups + 1) & _COUNT
                await self._board.sleep_ms(_HANGUP_MS)
                continue
            self._feed(length)
            try:
                await self._answer()
            except OSError:
                self.hangups = (self.hangups + 1) & _COUNT

    def _feed(self, length: int) -> None:
        self._beat()
        self._rtu.feed(self._chunk, length, self._board.now_us())

    async def _answer(self) -> None:
        board = self._board
        rtu = self._rtu
        wait_us = 0
        while wait_us >= 0:
            await board.sleep_ms(1)
            now = board.now_us()
            length = self._line.readinto(self._chunk, len(self._chunk))
            if length:
                self._feed(length)
                continue
            wait_us = rtu.wait_us(now)
            if wait_us == 0:
                count = rtu.poll(now)
                if count > 0:
                    self._write(count)
                if count:
                    self._after()  # also behind a broadcast, which has no answer
                wait_us = rtu.wait_us(now)

    def _write(self, count: int) -> None:
        written = self._line.write(self._tx[:count])
        if written != count:
            self.cut = (self.cut + 1) & _COUNT
        self.polls = (self.polls + 1) & _COUNT
