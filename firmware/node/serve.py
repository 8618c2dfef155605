"""The Modbus RTU server task: bytes of the line to the server core, its answers back.

The task sleeps until a byte comes. From then on it looks at the line once a millisecond until the
line has been quiet for t3.5, hands the frame over and writes the answer at once.

An operating system or a driver's buffer hides when a byte came: all that is known is that it was
after the last look. So what is found before the line was quiet at a look belongs together and is
given one date (a pause in the task's own running never tears a frame apart; two frames that came
during it are told apart by the core), and silence is counted from the look that found the last
bytes (a frame is never taken for complete while its end may still be coming).
"""

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from .ports import Board, Line, Rtu

_CHUNK = const(256)  # the longest frame of the line (Modbus over Serial Line V1.02, 2.5.1)
_HANGUP_MS = const(100)
# A babbling line gets a new date this often: ticks can be compared over half their range only.
_BABBLE_US = const(5_000_000)
_COUNT = const(0x3FFFFFFF)  # counters wrap where they would take heap on a 32 bit board


def silence_us(baud: int) -> int:
    """t3.5 in us: 3.5 characters of 11 bits, and 1750 us above 19200 baud (section 2.5.1.1)."""
    return 1750 if baud > 19200 else -(-38_500_000 // baud)


class Server:
    """Serves one line for ever. ``beat`` is called at every turn that got somewhere.

    ``after`` is called when a request is done with, so that a command (a restart) takes effect
    behind its answer. Between polls nothing stays allocated.
    """

    def __init__(
        self,
        board: "Board",
        line: "Line",
        rtu: "Rtu",
        baud: int,
        beat: "Callable[[], None]",
        after: "Callable[[], None]",
    ) -> None:
        self._board = board
        self._line = line
        self._rtu = rtu
        self._silence_us = silence_us(baud)
        self._beat = beat
        self._after = after
        self._chunk = bytearray(_CHUNK)
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
            self._beat()
            now = self._board.now_us()
            self._rtu.feed(self._chunk, length, now)
            try:
                await self._answer(now)
            except OSError:
                self.hangups = (self.hangups + 1) & _COUNT

    async def _answer(self, date: int) -> None:
        board = self._board
        heard = date
        while True:
            await board.sleep_ms(1)
            # A pause of this program may fall between any two calls. The line was quiet up to a
            # time before the look that found nothing, and bytes are no older than one after it.
            now = board.now_us()
            length = self._line.readinto(self._chunk, _CHUNK)
            if length:
                now = board.now_us()
                self._beat()
                if board.ticks_diff(now, date) > _BABBLE_US:
                    date = now
                self._rtu.feed(self._chunk, length, date)
                heard = now
            elif board.ticks_diff(now, heard) >= self._silence_us:
                count = self._rtu.poll(now)
                if count > 0:
                    self._write(count)
                if count:
                    self._after()  # also behind a broadcast, which has no answer
                    return
                if self._rtu.wait_us(now) < 0:
                    return

    def _write(self, count: int) -> None:
        written = self._line.write(self._tx[:count])
        if written != count:
            self.cut = (self.cut + 1) & _COUNT
        self.polls = (self.polls + 1) & _COUNT
