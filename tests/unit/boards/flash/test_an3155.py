"""The ROM bootloader from our side: each command, and each way in which one fails."""

import fcntl
import os
import pty
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from boards.flash.an3155 import RomLoader, connected
from boards.flash.errors import FlashingError
from boards.flash.serial_port import FlashPort
from hil.boot_rom.cable import BootRomBoard
from hil.boot_rom.chip import BootRom, RomFaults

UID = bytes(range(1, 13))
BASE = 0x08000000


@contextmanager
def loader(folder: Path, rom: BootRom) -> Iterator[RomLoader]:
    """A bootloader that is connected."""
    with BootRomBoard(rom, folder) as board, FlashPort(str(board.port), 115200) as port:
        made = RomLoader(port, answer_s=0.3)
        made.connect()
        yield made


@pytest.mark.parametrize("ask", ["connect", "chip_id"])
def test_a_bootloader_that_refuses_to_name_itself(tmp_path: Path, ask: str) -> None:
    rom = BootRom(UID)
    with loader(tmp_path, rom) as made:
        rom.faults.nack.update(range(len(rom.commands) + 1, len(rom.commands) + 10))
        with pytest.raises(FlashingError, match=r"^TF-FLASH-012: "):
            getattr(made, ask)()


@pytest.mark.parametrize(("max_baud", "heard_at"), [("B230400", 230400), ("B115200", 115200)])
def test_a_speed_that_the_chip_does_not_understand_is_lowered(
    tmp_path: Path, max_baud: str, heard_at: int
) -> None:
    with BootRomBoard(BootRom(UID), tmp_path) as board:
        board.max_baud = getattr(termios, max_baud)
        port, made = connected(str(board.port), 230400)
        with port:
            assert made.chip_id() == 0x413
            assert port.baud == heard_at


def test_every_command(tmp_path: Path) -> None:
    started: list[int] = []
    rom = BootRom(UID, on_go=started.append)
    rom.flash[:] = b"\x00" * len(rom.flash)
    with loader(tmp_path, rom) as made:
        assert made.version == "3.1"
        assert made.chip_id() == 0x413
        assert made.read(0x1FFF7A10, 12) == UID
        made.erase(4)
        assert rom.flash[0x10000:0x20000] == b"\xff" * 0x10000
        assert not any(rom.flash[:0x10000])
        assert not any(rom.flash[0x20000:])
        made.write(BASE + 0x10100, bytes(range(256)))
        assert rom.flash[0x10100:0x10200] == bytes(range(256))
        assert made.read(BASE + 0x10100, 256) == bytes(range(256))
        assert made.read(BASE + 0x10104, 1) == b"\x04"
        made.go(BASE)
    assert started == [BASE]


def test_the_bootloader_may_be_awake_already(tmp_path: Path) -> None:
    with loader(tmp_path, BootRom(UID)) as made:
        made.connect()
        made.connect()
        assert made.chip_id() == 0x413


@pytest.mark.parametrize("cut", [1, 3, 7, 8, 9, 40, 265])
def test_a_write_that_was_cut_off_is_ended_and_harms_nothing_else(tmp_path: Path, cut: int) -> None:
    """The cable was pulled in a write, the board kept its power and waits for the rest."""
    rom = BootRom(UID)
    begun = bytes.fromhex("31ce") + bytes.fromhex("0800000008") + b"\xff" + bytes(256) + b"\xff"
    rom.feed(b"\x7f" + begun[:cut])
    with loader(tmp_path, rom) as made:
        assert made.chip_id() == 0x413
    assert rom.flash[0x100:] == b"\xff" * (len(rom.flash) - 0x100)


@pytest.mark.parametrize("kind", ["nack", "lose"])
def test_a_command_that_fails_once_is_repeated(tmp_path: Path, kind: str) -> None:
    rom = BootRom(UID)
    with loader(tmp_path, rom) as made:
        getattr(rom.faults, kind).add(len(rom.commands) + 1)
        made.write(BASE, b"abcd")
        assert made.read(BASE, 4) == b"abcd"


@pytest.mark.provokes("TF-FLASH-021")
def test_a_chip_that_is_read_protected_is_named_and_stays_protected(tmp_path: Path) -> None:
    rom = BootRom(UID, protected=True)
    with loader(tmp_path, rom) as made:
        assert made.chip_id() == 0x413
        with pytest.raises(FlashingError, match=r"^TF-FLASH-021: .*--unlock"):
            made.read(BASE, 4)
        with pytest.raises(FlashingError, match=r"^TF-FLASH-021: "):
            made.erase(0)
    assert rom.protected
    assert 0x92 not in rom.commands


def test_unlock_erases_everything_and_goes_on(tmp_path: Path) -> None:
    rom = BootRom(UID, protected=True)
    rom.flash[:4] = b"abcd"
    with loader(tmp_path, rom) as made:
        made.unlock()
        assert made.read(BASE, 4) == b"\xff" * 4
    assert not rom.protected


@pytest.mark.provokes("TF-FLASH-022")
def test_a_sector_that_is_write_protected_is_named(tmp_path: Path) -> None:
    rom = BootRom(UID, faults=RomFaults(write_protected={3}))
    with loader(tmp_path, rom) as made:
        with pytest.raises(FlashingError, match=r"^TF-FLASH-022: .*erase of sector 3"):
            made.erase(3)
        with pytest.raises(FlashingError, match=r"^TF-FLASH-022: .*write at 0x0800c000"):
            made.write(BASE + 0xC000, b"abcd")


def test_a_slow_erase_is_waited_for(tmp_path: Path) -> None:
    rom = BootRom(UID, faults=RomFaults(erase_s=0.5), wait=time.sleep)
    with loader(tmp_path, rom) as made:
        made.erase(11)
    assert rom.erased == [11]


@pytest.mark.provokes("TF-FLASH-004")
def test_a_pulled_cable_is_named(tmp_path: Path) -> None:
    rom = BootRom(UID)
    with BootRomBoard(rom, tmp_path) as board, FlashPort(str(board.port), 115200) as port:
        made = RomLoader(port)
        made.connect()
        board.pull_at = board.taken + 100
        with pytest.raises(FlashingError, match=r"^TF-FLASH-004: "):
            made.write(BASE, bytes(256))


@pytest.mark.provokes("TF-FLASH-004")
@pytest.mark.parametrize(
    "command",
    [
        lambda made: made.connect(),
        lambda made: made.chip_id(),
        lambda made: made.read(BASE, 256),
        lambda made: made.erase(3),
        lambda made: made.write(BASE, bytes(256)),
        lambda made: made.go(BASE),
        lambda made: made.unlock(),
    ],
    ids=["get", "id", "read", "erase", "write", "go", "unlock"],
)
@pytest.mark.parametrize("after", [1, 2])
def test_a_cable_that_is_pulled_at_a_command_is_named_and_the_next_try_works(
    tmp_path: Path, command: Callable[[RomLoader], object], after: int
) -> None:
    """In the middle of the command, and while its answer is on the way."""
    with BootRomBoard(BootRom(UID), tmp_path) as board:
        with FlashPort(str(board.port), 115200) as port:
            made = RomLoader(port, answer_s=0.3)
            made.connect()
            board.pull_at = board.taken + after
            with pytest.raises(FlashingError, match=r"^TF-FLASH-004: "):
                command(made)
        assert board.pulls == 1
        plugged_by = time.monotonic() + 10
        while not board.port.exists():  # the cable is plugged in again under a name of its own
            assert time.monotonic() < plugged_by
            time.sleep(0.005)
        with FlashPort(str(board.port), 115200) as port:
            again = RomLoader(port, answer_s=0.3)
            again.connect()
            command(again)


@pytest.mark.provokes("TF-FLASH-010")
def test_nothing_answers(tmp_path: Path) -> None:
    near, far = pty.openpty()
    try:
        with (
            FlashPort(os.ttyname(far), 115200) as port,
            pytest.raises(FlashingError, match=r"^TF-FLASH-010: .*BOOT0 high"),
        ):
            RomLoader(port).connect()
    finally:
        os.close(near)
        os.close(far)


@pytest.mark.provokes("TF-FLASH-001")
def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FlashingError, match=r"^TF-FLASH-001: "):
        FlashPort(str(tmp_path / "nothing"), 115200)


@pytest.mark.provokes("TF-FLASH-002")
def test_a_port_that_is_in_use_names_the_program(tmp_path: Path) -> None:
    with BootRomBoard(BootRom(UID), tmp_path) as board:
        held = os.open(board.port, os.O_RDWR | os.O_NOCTTY)
        fcntl.flock(held, fcntl.LOCK_EX)
        other = subprocess.Popen(["sleep", "60"], pass_fds=[held])
        os.close(held)
        try:
            with pytest.raises(FlashingError, match=rf"^TF-FLASH-002: .*process {other.pid}\)"):
                FlashPort(str(board.port), 115200)
        finally:
            other.kill()
            other.wait()


@pytest.mark.provokes("TF-FLASH-003")
def test_a_port_that_you_may_not_use_shows_the_udev_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, whom the system refuses nothing."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("serial.Serial", refuse)
    with pytest.raises(FlashingError, match=r"^TF-FLASH-003: .*70-serial.rules"):
        FlashPort("/dev/ttyUSB0", 115200)


@pytest.mark.provokes("TF-FLASH-011")
def test_firmware_that_talks_is_no_bootloader(tmp_path: Path) -> None:
    class Talker(BootRom):
        def feed(self, data: bytes) -> bytes:
            return b"hello" * len(data)

    with (
        pytest.raises(FlashingError, match=r"^TF-FLASH-011: .*68686868"),
        loader(tmp_path, Talker(UID)),
    ):
        pass


@pytest.mark.provokes("TF-FLASH-012")
def test_a_command_that_is_always_refused(tmp_path: Path) -> None:
    rom = BootRom(UID)
    with loader(tmp_path, rom) as made:
        rom.faults.nack.update(range(len(rom.commands) + 1, len(rom.commands) + 10))
        with pytest.raises(FlashingError, match=r"^TF-FLASH-012: "):
            made.go(BASE)


@pytest.mark.provokes("TF-FLASH-013")
def test_a_bootloader_that_falls_silent(tmp_path: Path) -> None:
    rom = BootRom(UID)
    with loader(tmp_path, rom) as made:
        rom.faults.lose.update(range(len(rom.commands) + 1, len(rom.commands) + 10))
        with pytest.raises(FlashingError, match=r"^TF-FLASH-013: "):
            made.write(BASE, b"abcd")
