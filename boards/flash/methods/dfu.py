"""The way over USB: the chip's ROM speaks DFU with ST's extensions, and Debian's `dfu-util` to it.

The ROM gives no access to the chip's ids, so the class is checked by the sectors of its flash. The
serial number on USB is derived from the unique id, and other chips may have the same one: a board
is addressed by the USB socket that it is plugged into. The serial number stands for the unique id
until the node shows that over its bus.
"""

import re
import struct
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from boards.flash.errors import (
    CABLE,
    MANY_DFU,
    NO_DFU,
    NO_USB_PERMISSION,
    READ_PROTECTED,
    REFUSED,
    WRITE_PROTECTED,
    FlashFault,
    FlashingError,
)
from boards.flash.method import ChipIdentity, FlashMethod, Progress
from boards.flash.target import FlashTarget
from boards.flash.tool import ToolRun, run_tool

PROGRAM: Final = "dfu-util"
DEVICE: Final = "0483:df11"  # of every STM32 in its ROM bootloader
_FIRST: Final = 256  # bytes, without which a chip starts nothing

_FOUND: Final = re.compile(
    r"^Found DFU: \[" + DEVICE + r"\].* path=\"(?P<path>[^\"]*)\", alt=(?P<alt>\d+), "
    r"name=\"(?P<name>[^\"]*)\"(?:, serial=\"(?P<serial>[^\"]*)\")?",
    re.MULTILINE,
)
_LAYOUT: Final = re.compile(r"^@Internal Flash\s*/0x(?P<at>[0-9a-fA-F]+)/(?P<sectors>[^/]+)")
_SECTORS: Final = re.compile(r"(?P<count>\d+)\*(?P<size>\d+)(?P<unit>[ BKM])[a-g]")
_UNITS: Final = {" ": 1, "B": 1, "K": 1024, "M": 1024 * 1024}
_BAR: Final = re.compile(r"\r(Erase|Download|Upload)\s*\[[= ]*\]\s+(\d+)%")
#: What it prints, and what that stands for; the first that fits counts.
_FAULTS: Final[Sequence[tuple[str, FlashFault]]] = (
    ("No DFU capable USB device available", NO_DFU),
    ("More than one DFU capable USB device found", MANY_DFU),
    ("LIBUSB_ERROR_ACCESS", NO_USB_PERMISSION),
    ("status(11)", READ_PROTECTED),  # errVENDOR: AN3156 answers so while the flash is protected
    ("status(3)", WRITE_PROTECTED),  # errWRITE
    ("status(4)", WRITE_PROTECTED),  # errERASE
    ("LIBUSB_ERROR_NO_DEVICE", CABLE),
    ("LIBUSB_ERROR_IO", CABLE),
    ("get_status", CABLE),
    ("Lost device", CABLE),
)
_LIST_S: Final = 20.0
_TRANSFER_S: Final = 300.0


class DfuBoard(NamedTuple):
    """An STM32 in DFU mode: its USB path, the bytes of each sector, its USB serial number."""

    path: str
    sectors: tuple[int, ...]
    serial: str


class DfuMethod(FlashMethod):
    """A chip's USB bootloader; ``port`` is its USB path, as in "1-2.3", empty: the only one."""

    name = "dfu"
    verified_by = "read back by DFU upload (dfu-util)"
    piece = 1 << 20
    write_erases = True

    def __init__(self, target: FlashTarget, port: str = "", baud: int = 0) -> None:
        self._target = target
        self._port = port
        self._found = DfuBoard(port, (), "")

    def open(self) -> None:
        """Find the board. NO_DFU, MANY_DFU."""
        found = attached()
        chosen = [board for board in found if self._port in ("", board.path)]
        if not chosen:
            others = f", found {', '.join(board.path for board in found)}" if found else ""
            raise FlashingError(
                NO_DFU, f"expected a board in DFU mode at USB {self._port or 'any path'}{others}"
            )
        if len(chosen) > 1:
            raise FlashingError(
                MANY_DFU,
                "expected one board in DFU mode, found "
                + ", ".join(f"{board.path} (serial {board.serial})" for board in chosen),
            )
        self._found = chosen[0]

    def close(self) -> None:
        """Do nothing: `dfu-util` runs once for each transfer."""

    def identify(self) -> ChipIdentity:
        """Return the sectors of its flash and its USB serial number; the ROM gives nobody more."""
        return ChipIdentity(sectors=self._found.sectors, usb_serial=self._found.serial)

    def read(self, address: int, size: int, progress: Progress) -> bytes:
        """Upload from the chip."""
        with tempfile.TemporaryDirectory(prefix="tianfu-") as folder:
            file = Path(folder) / "upload.bin"
            self._run(["-s", f"{address:#010x}:{size}", "-U", str(file)], progress)
            content = file.read_bytes()
        if len(content) != size:
            raise FlashingError(
                CABLE, f"{PROGRAM}: expected {size} bytes at {address:#010x}, got {len(content)}"
            )
        return content

    def erase(self, sectors: Sequence[int], progress: Progress) -> None:
        """Write a blank word to each: the program erases what it writes to, and nothing else."""
        for count, sector in enumerate(sectors):
            progress(count, len(sectors))
            at = self._target.flash_at + sum(self._target.sectors[:sector])
            self._download([(at, b"\xff" * 4)], _unseen)

    def write(self, address: int, content: bytes, progress: Progress) -> None:
        """Download; the sectors that it touches are erased.

        The program erases a sector when an element of the file begins or goes on in another one
        than the last element ended in. So the sector with the first bytes comes last, and those
        bytes last of all.
        """
        first = self._target.sectors_of(address, 1)[0]
        end = self._target.flash_at + sum(self._target.sectors[: first + 1]) - address
        parts = [(end, content[end:]), (_FIRST, content[_FIRST:end]), (0, content[:_FIRST])]
        self._download([(address + at, part) for at, part in parts if part], progress)

    def start(self, address: int) -> None:
        """Leave the bootloader."""
        with tempfile.TemporaryDirectory(prefix="tianfu-") as folder:
            file = str(Path(folder) / "upload.bin")
            self._run(["-s", f"{address:#010x}:4:leave", "-U", file], _unseen)

    def unlock(self) -> None:
        """Take the read-out protection away; the board leaves the bus for a moment."""
        self._run(["-s", ":unprotect:force", "-D", "/dev/null"], _unseen)

    def _download(self, elements: Sequence[tuple[int, bytes]], progress: Progress) -> None:
        with tempfile.TemporaryDirectory(prefix="tianfu-") as folder:
            file = Path(folder) / "download.dfu"
            file.touch(mode=0o600)  # it may hold a key
            file.write_bytes(dfuse_file(elements))
            self._run(["-D", str(file)], progress)

    def _run(self, arguments: Sequence[str], progress: Progress) -> None:
        def seen(output: str) -> None:
            bars = _BAR.findall(output)
            if bars:
                progress(int(bars[-1][1]), 100)

        command = [PROGRAM, "-d", DEVICE, "-p", self._found.path, "-a", "0", *arguments]
        run = run_tool(command, _TRANSFER_S, seen)
        if run.status:
            raise _failed(run)


def attached() -> list[DfuBoard]:
    """Return the STM32 boards in DFU mode that are plugged in. BoardError."""
    run = run_tool([PROGRAM, "-l", "-d", DEVICE], _LIST_S)
    if run.status:
        raise _failed(run)
    if "Cannot open DFU device" in run.output:
        raise FlashingError(NO_USB_PERMISSION, f"{PROGRAM}: {run.last_line}")
    found: list[DfuBoard] = []
    for match in _FOUND.finditer(run.output):
        layout = _LAYOUT.match(match["name"])
        if match["alt"] == "0" and layout is not None:
            sectors = tuple(
                int(each["size"]) * _UNITS[each["unit"]]
                for each in _SECTORS.finditer(layout["sectors"])
                for _ in range(int(each["count"]))
            )
            found.append(DfuBoard(match["path"], sectors, match["serial"] or ""))
    return found


def dfuse_file(elements: Sequence[tuple[int, bytes]]) -> bytes:
    """Return a file in ST's format (UM0391) with these contents at these addresses, in order."""
    body = b"".join(struct.pack("<II", at, len(part)) + part for at, part in elements)
    target = struct.pack("<6sBI255sII", b"Target", 0, 0, b"", len(body), len(elements)) + body
    head = struct.pack("<5sBIB", b"DfuSe", 1, 11 + len(target), 1)
    suffix = struct.pack("<HHHH3sB", 0xFFFF, 0xDF11, 0x0483, 0x011A, b"UFD", 16)
    content = head + target + suffix
    return content + struct.pack("<I", ~zlib.crc32(content) & 0xFFFFFFFF)


def _failed(run: ToolRun) -> FlashingError:
    fault = next((fault for text, fault in _FAULTS if text in run.output), REFUSED)
    return FlashingError(fault, f"{PROGRAM}: {run.last_line}")


def _unseen(done: int, total: int) -> None:
    """Show nothing."""
