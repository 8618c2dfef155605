"""The board's image on QEMU: ``qemu-system-arm -M netduinoplus2``, one process per board.

QEMU gets its sockets as open descriptors, one end of a pair each: no path, no port, nothing to
wait for, and nobody else can connect. What its model of the STM32F405 lies about is written down
in ``hil/engines/fidelity.toml``.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from hil.engines.base import Capability, NodeSpec
from hil.engines.qemu_board import QemuBoard
from hil.engines.wiring import STORE_ADDRESS
from hil.errors import EngineError
from hil.tools import TOOLS

NAME: Final = "qemu"
PROGRAM: Final = "qemu-system-arm"
INSTALL: Final = TOOLS["qemu-system-arm"].remedy
OLDEST: Final = (7, 2)
#: The n-th serial port of QEMU's machine is this UART of the chip.
UARTS: Final = ("usart1", "usart2", "usart3", "uart4", "uart5", "usart6")
# A bench that is killed takes its boards along: prctl(PR_SET_PDEATHSIG, SIGKILL), see prctl(2).
_LAUNCH: Final = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
)


def find_qemu() -> Path:
    """The emulator in PATH, checked for its version. EngineError names the remedy."""
    found = shutil.which(PROGRAM)
    if found is None:
        raise EngineError(f"no `{PROGRAM}` in PATH: install it with `{INSTALL}`")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"version (\d+)\.(\d+)", said)
    version = tuple(map(int, match.groups())) if match else (0, 0)
    if version < OLDEST:
        raise EngineError(
            f"{found}: expected QEMU {OLDEST[0]}.{OLDEST[1]} or newer, it says "
            f"{said.splitlines()[0] if said else 'nothing'!r}: install one with `{INSTALL}`"
        )
    return Path(found)


class QemuEngine:
    """Makes boards that run ``image`` (an ELF file; by default the one ``boards`` builds).

    ``icount`` is QEMU's shift: an instruction takes 2^shift ns of the board's time, whatever the
    host does (3 is 125 MIPS). ``trace`` writes what the guest does to hardware that is not there
    to ``qemu.log`` in the board's folder. Use as ``async with``.
    """

    name = NAME
    capabilities = frozenset(
        {
            Capability.IMAGE,
            Capability.REPL,
            Capability.MPREMOTE,
            Capability.PAUSE,
            Capability.FLASH_IMAGE,
            Capability.WARM_RESET,
        }
    )

    def __init__(
        self, image: Path | None = None, *, icount: int | None = None, trace: bool = False
    ) -> None:
        self._image = image
        self._icount = icount
        self._trace = trace
        self._program = Path()
        self._boards: list[QemuBoard] = []

    async def __aenter__(self) -> Self:
        self._program = await asyncio.to_thread(find_qemu)
        if self._image is None:
            from boards.build import build

            self._image = (await asyncio.to_thread(build, "stm32f405")).elf
        if not self._image.is_file():
            raise EngineError(f"{self._image}: expected the board's image, there is no such file")
        return self

    async def __aexit__(self, *_: object) -> None:
        for board in self._boards:
            await board.close()

    async def board(self, spec: NodeSpec, folder: Path) -> QemuBoard:
        """A board in ``folder``, provisioned by ``spec``, switched off."""
        board = QemuBoard(spec, folder, self)
        self._boards.append(board)
        return board

    def command(
        self, store: Path, folder: Path, serials: Mapping[str, int], control: int
    ) -> Sequence[str]:
        """The command line; ``serials`` are descriptors by the chip's UART, ``control`` QMP's."""
        command = [
            *(sys.executable, "-I", "-S", "-c", _LAUNCH, str(self._program)),
            *("-M", "netduinoplus2", "-nodefaults", "-no-user-config", "-display", "none"),
            *("-accel", "tcg,thread=single", "-kernel", str(self._image)),
            *("-chardev", f"socket,id=qmp,fd={control}", "-mon", "chardev=qmp,mode=control"),
            "-device",
            f"loader,file={escaped(store)},addr={STORE_ADDRESS:#x},force-raw=on",
        ]
        for uart in UARTS:
            if uart in serials:
                command += ["-chardev", f"socket,id={uart},fd={serials[uart]}"]
            command += ["-serial", f"chardev:{uart}" if uart in serials else "null"]
        if self._icount is not None:
            command += ["-icount", f"shift={self._icount},sleep=on"]
        if self._trace:
            command += ["-d", "unimp,guest_errors", "-D", str(folder / "qemu.log")]
        return command


def escaped(path: Path) -> str:
    """A path within one of QEMU's comma-separated options."""
    return str(path).replace(",", ",,")
