"""QEMU's program and its command line: ``qemu-system-arm -M netduinoplus2``."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hil.engines.wiring import STORE_ADDRESS
from hil.errors import EngineError
from hil.lifeline import bound
from hil.tools import TOOLS

PROGRAM: Final = "qemu-system-arm"
OLDEST: Final = (7, 2)
MACHINE: Final = "netduinoplus2"
#: The n-th serial port of QEMU's machine is this UART of the chip.
UARTS: Final = ("usart1", "usart2", "usart3", "uart4", "uart5", "usart6")


def find_qemu() -> Path:
    """Return the emulator, checked for its version. EngineError names the remedy."""
    tool = TOOLS[PROGRAM]
    found = tool.find()
    if found is None:
        raise EngineError(f"no `{PROGRAM}` in PATH: install it with `{tool.remedy}`")
    text = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"version (\d+)\.(\d+)", text)
    version = tuple(map(int, match.groups())) if match else (0, 0)
    if version < OLDEST:
        raise EngineError(
            f"{found}: expected QEMU {OLDEST[0]}.{OLDEST[1]} or newer, got "
            f"{text.splitlines()[0] if text else 'nothing'!r}: install one with `{tool.remedy}`"
        )
    return found


@dataclass(frozen=True, slots=True)
class QemuCommand:
    """How ``program`` runs ``image``.

    ``icount`` is QEMU's shift: an instruction takes 2^shift ns of the board's time, whatever the
    host does (3 is 125 MIPS). ``trace`` writes what the guest does to hardware that is not there
    to ``qemu.log`` in the board's folder.
    """

    program: Path
    image: Path
    icount: int | None = None
    trace: bool = False

    def words(
        self,
        folder: Path,
        serials: Mapping[str, int],
        control: int,
        *,
        store: Path | None = None,
        debugger: int | None = None,
    ) -> list[str]:
        """Return the command line.

        ``serials`` are descriptors by the chip's UART, ``control`` is QMP's. ``store`` is loaded
        into the record store's sectors at every reset; with a ``debugger`` QEMU starts stopped.
        """
        words = [
            str(self.program),
            *("-M", MACHINE, "-nodefaults", "-no-user-config", "-display", "none"),
            *("-accel", "tcg,thread=single", "-kernel", str(self.image)),
            *("-chardev", f"socket,id=qmp,fd={control}", "-mon", "chardev=qmp,mode=control"),
        ]
        if store is not None:
            words += [
                "-device",
                f"loader,file={escaped(store)},addr={STORE_ADDRESS:#x},force-raw=on",
            ]
        if debugger is not None:
            words += ["-chardev", f"socket,id=gdb,fd={debugger}", "-gdb", "chardev:gdb", "-S"]
        for uart in UARTS:
            if uart in serials:
                words += ["-chardev", f"socket,id={uart},fd={serials[uart]}"]
            words += ["-serial", f"chardev:{uart}" if uart in serials else "null"]
        if self.icount is not None:
            words += ["-icount", f"shift={self.icount},sleep=on"]
        if self.trace:
            words += ["-d", "unimp,guest_errors", "-D", str(folder / "qemu.log")]
        return bound(words)


def escaped(path: Path) -> str:
    """Return a path as part of one of QEMU's comma-separated options."""
    return str(path).replace(",", ",,")
