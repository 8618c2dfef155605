"""A place for boards on a bench: a bootloader's port and a bus that stay while boards change.

The node after "go" is a process (:mod:`.stand_in_node`) with the store, and the digest of the
image, that the board's flash holds; it takes a second where QEMU takes five. What the node writes
to its store lasts until the board is taken out.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import subprocess
import threading
import tty
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from boards.flash.target import target_of
from boards.folder import default_name
from boards.recordstore import contents
from hil.boot_rom.cable import BootRomBoard
from hil.boot_rom.chip import FLASH_AT, BootRom
from hil.engines.unix import HEAP_BYTES, find_micropython, firmware_root
from hil.files import write_private

_PROGRAM: Final = Path(__file__).with_name("stand_in_node.py")


class BoardPlace:
    """Takes one board after the other; use it in a ``with`` block."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._store = folder / "store"
        self._cable = BootRomBoard(BootRom(bytes(12)), folder)
        self._cable.asleep = True
        self._process: subprocess.Popen[bytes] | None = None
        self._pairs = [os.openpty() for _ in range(2)]
        for _, far in self._pairs:
            tty.setraw(far)
        self._ended = False
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self.port = str(self._cable.port)
        self.bus_port = os.ttyname(self._pairs[1][1])

    def __enter__(self) -> Self:
        self._cable.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.take_out()
        self._cable.__exit__(kind, error, trace)
        self._ended = True
        self._thread.join()
        for pair in self._pairs:
            for descriptor in pair:
                os.close(descriptor)

    @property
    def cable(self) -> BootRomBoard:
        """The bootloader's port."""
        return self._cable

    @property
    def is_empty(self) -> bool:
        """Whether there is no board."""
        return self._cable.asleep and self._process is None

    def put_in(self, uid: bytes, chip_id: int | None = None) -> BootRom:
        """Connect a blank board with BOOT0 high."""
        self.take_out()
        rom = BootRom(uid, on_go=lambda _at: self._boot())
        if chip_id is not None:
            rom.chip_id = chip_id
        self._cable.rom = rom
        self._cable.asleep = False
        return rom

    def power_cycle(self) -> None:
        """Set BOOT0 low, take the power away and give it back."""
        self._cable.asleep = True
        self._end()
        self._start()

    def take_out(self) -> None:
        """Disconnect the board."""
        self._cable.asleep = True
        self._end()
        shutil.rmtree(self._store, ignore_errors=True)  # it holds a key

    def _boot(self) -> None:
        """Give the node what the flash holds, and start it; "go" may come again."""
        self._end()
        shutil.rmtree(self._store, ignore_errors=True)
        target = target_of(default_name())
        flash = self._cable.rom.flash
        image = bytes(flash[target.image_at - FLASH_AT :][: target.image_max]).rstrip(b"\xff")
        store = bytes(flash[target.store_at - FLASH_AT :][: target.store_bytes])
        self._digest = hashlib.sha256(image).hexdigest()
        self._store.mkdir(mode=0o700)
        records = contents(store)
        for name, content in records.items():
            write_private(self._store / name, content)
        commission = json.loads(records["board"])
        node = {**commission, "store": str(self._store), "line": os.ttyname(self._pairs[0][1])}
        (self._folder / "node.json").write_text(json.dumps(node), encoding="utf-8")
        self._start()

    def _start(self) -> None:
        root = firmware_root()
        command = [str(find_micropython()), "-X", f"heapsize={HEAP_BYTES}", str(_PROGRAM)]
        with (self._folder / "console.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, str(self._folder / "node.json"), self._digest],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "MICROPYPATH": f"{root}:.frozen"},
                start_new_session=True,
            )

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _copy(self) -> None:
        left, right = (near for near, _ in self._pairs)
        while not self._ended:
            for source in select.select([left, right], [], [], 0.1)[0]:
                os.write(right if source == left else left, os.read(source, 4096))
