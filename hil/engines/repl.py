"""The way into a node: its REPL over the console's UART, for tests, people and mpremote."""

from __future__ import annotations

from typing import Final

from hil.engines.console import Console
from hil.errors import ReplError
from hil.wires.console_tap import Tap
from hil.wires.wire import Wire

_LIMIT_S: Final = 10.0
# A UART of 115200 Bd takes no megabyte in one write: pieces keep a wire's bounds.
_CHUNK: Final = 256

_INTERRUPT: Final = b"\r\x03\x03"
_RAW: Final = b"\r\x01"
_FRIENDLY: Final = b"\r\x02"
_END: Final = b"\x04"
_RAW_BANNER: Final = b"raw REPL; CTRL-B to exit\r\n>"


class Repl:
    """The REPL behind ``console``, whose UART is ``wire``."""

    def __init__(self, console: Console, wire: Wire) -> None:
        self._console = console
        self._wire = wire
        self._tap: Tap | None = None
        self._listening = False

    def listen(self) -> None:
        """Begin to read the wire, in the running event loop."""
        if not self._listening:
            self._listening = True
            self._wire.listen(self._console.feed)

    def write(self, data: bytes) -> int:
        """Type; return how many bytes were taken."""
        return self._wire.write(data)

    @property
    def path(self) -> str:
        """A terminal to open like the board's serial port (``mpremote connect PATH resume ...``).

        The bench goes on reading; two that type at the same time disturb each other.
        """
        if self._tap is None:
            self._tap = Tap(self.write)
            self._console.mirror = self._tap.send
        return self._tap.path

    async def interrupt(self, limit_s: float = _LIMIT_S) -> None:
        """Type Ctrl-C until there is a REPL that waits for a line. ConsoleError."""
        self._console.forget_unread()
        self.write(_INTERRUPT)
        await self._console.wait_for(">>> $", limit_s)

    async def raw_exec(self, code: str, limit_s: float = _LIMIT_S) -> str:
        """Run ``code`` in the raw REPL; return what it printed. ReplError if it raised.

        What runs now is interrupted first. ``limit_s`` is for each step, and for the code.
        """
        console = self._console
        console.forget_unread()
        self.write(_INTERRUPT + _RAW)
        await console.wait_bytes(_RAW_BANNER, limit_s)
        source = code.encode()
        for start in range(0, len(source), _CHUNK):
            self.write(source[start : start + _CHUNK])
        self.write(_END)
        await console.wait_bytes(b"OK", limit_s)
        output = await console.wait_bytes(_END, limit_s)
        errors = await console.wait_bytes(_END, limit_s)
        self.write(_FRIENDLY)
        await console.wait_bytes(b">>> ", limit_s)
        if raised := errors[:-1].decode("utf-8", "replace").strip():
            last = raised.splitlines()[-1]
            raise ReplError(f"node {console.name}: {code!r} raised {last}\n{raised}", raised)
        return output[:-1].decode("utf-8", "replace").replace("\r\n", "\n")

    def close(self) -> None:
        """Stop listening and close wire and terminal; further calls do nothing."""
        self._wire.close()
        if self._tap is not None:
            self._console.mirror = None
            self._tap.close()
            self._tap = None
