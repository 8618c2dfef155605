"""A board in its bootloader on a pseudo terminal, with a cable that can be pulled.

The path of the port stays the same when the cable is connected again, as a name under
``/dev/serial/by-id`` does.
"""

from __future__ import annotations

import os
import select
import termios
import threading
import tty
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from hil.boot_rom.chip import BootRom

_LOOK_S: Final = 0.05
_OSPEED: Final = 5  # the place of the speed in the attributes of a terminal


class BootRomBoard:
    """Serves ``rom`` at ``port``, a link in ``folder``, from a thread; use it in a ``with`` block.

    ``pull_at`` is how many bytes the board gets until the cable is pulled; it is connected again
    at once. ``keeps_power``: the board does not get its power through the cable, so the bootloader
    waits for the rest of the command.
    """

    def __init__(
        self, rom: BootRom, folder: Path, pull_at: int | None = None, keeps_power: bool = False
    ) -> None:
        self.rom = rom
        self.port = folder / "port"
        self.pull_at = pull_at
        self.keeps_power = keeps_power
        #: The highest speed that the bootloader understands.
        self.max_baud = termios.B4000000
        #: No board is there, or it was started with BOOT0 low: nothing hears what comes.
        self.asleep = False
        #: Bytes that the board got, and that it sent.
        self.taken = 0
        self.given = 0
        self.pulls = 0
        self._near = self._far = -1
        self._ended = False
        self._connect()
        self._thread = threading.Thread(target=self._serve, name="boot rom", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended = True
        self._thread.join()
        self._disconnect()

    def _connect(self) -> None:
        self._near, self._far = os.openpty()
        tty.setraw(self._far)
        os.set_blocking(self._near, False)
        link = self.port.with_suffix(".new")
        link.symlink_to(os.ttyname(self._far))
        link.replace(self.port)

    def _disconnect(self) -> None:
        os.close(self._near)
        os.close(self._far)

    def _pull(self) -> None:
        self.pulls += 1
        self.pull_at = None
        self._disconnect()
        if not self.keeps_power:
            self.rom.restart()
        self._connect()

    def _serve(self) -> None:
        while not self._ended:
            if not select.select([self._near], [], [], _LOOK_S)[0]:
                continue
            data = os.read(self._near, 4096)
            pulled = self.pull_at is not None and self.taken + len(data) >= self.pull_at
            if pulled:
                assert self.pull_at is not None
                data = data[: self.pull_at - self.taken]
            if self.asleep or termios.tcgetattr(self._far)[_OSPEED] > self.max_baud:
                continue
            self.taken += len(data)
            out = self.rom.feed(data)
            self.given += len(out)
            if pulled:
                self._pull()
            else:
                self._send(out)

    def _send(self, data: bytes) -> None:
        with suppress(BlockingIOError):  # nobody reads: a UART would lose it as well
            os.write(self._near, data)
