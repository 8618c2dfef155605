"""``tianfu-node probe``: what is connected is found, and nothing on it is changed."""

import json
import os
import pty
import subprocess
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from serial.tools.list_ports_common import ListPortInfo
from typer.testing import CliRunner

from boards import ports
from boards.cli import app
from boards.folder import default_name
from hil.boot_rom.cable import BootRomBoard
from hil.boot_rom.chip import BootRom

UID = bytes(range(1, 13))
#: AN3155: get, get id, read memory.
READS = {0x00, 0x02, 0x11}


def probe(*words: object) -> tuple[int, str]:
    """Return exit status and output."""
    done = CliRunner().invoke(app, ["probe", *map(str, words)], env={"COLUMNS": "200"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout


@contextmanager
def talker(answers: dict[bytes, bytes]) -> Iterator[str]:
    """A port whose far end answers what it knows; yields its path."""
    near, far = pty.openpty()
    tty.setraw(far)
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                came = os.read(near, 4096)
            except OSError:
                return
            if came in answers:
                os.write(near, answers[came])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield os.ttyname(far)
    finally:
        ended.set()
        os.write(far, b"end")
        thread.join(10)
        os.close(near)
        os.close(far)


def test_a_bootloader_shows_chip_and_content_and_is_only_read(tmp_path: Path) -> None:
    rom = BootRom(UID)
    rom.flash[:16] = b"x" * 16
    before = bytes(rom.flash)
    with BootRomBoard(rom, tmp_path) as board:
        status, text = probe("--port", board.port, "--json")
    assert status == 0, text
    (look,) = json.loads(text)["looks"]
    (found,) = look["found"]
    assert found["kind"] == "loader"
    assert (found["uid"], found["image_bytes"]) == (UID.hex(), 16)
    sha = subprocess.run(["sha256sum"], input=b"x" * 16, capture_output=True, check=True).stdout
    assert found["image"] == sha.split()[0].decode()
    assert default_name() in found["boards"]
    assert (found["version"], found["read_protected"], found["role"]) == ("3.1", False, "")
    assert set(rom.commands) <= READS
    assert bytes(rom.flash) == before


def test_a_protected_chip_is_named_and_stays_as_it_is(tmp_path: Path) -> None:
    rom = BootRom(UID, protected=True)
    with BootRomBoard(rom, tmp_path) as board:
        status, text = probe("--port", board.port)
    assert status == 0
    assert "bootloader 3.1 of STM32F405/407 (id 0x413)" in text
    assert "read-out protected" in text
    assert set(rom.commands) <= READS
    assert rom.protected


def test_a_chip_of_no_board_of_ours_is_named(tmp_path: Path) -> None:
    with BootRomBoard(BootRom(UID, chip_id=0x431), tmp_path) as board:
        status, text = probe("--port", board.port)
    assert status == 0
    assert "STM32F411" in text
    assert "no board of ours" in text


def test_a_write_that_was_cut_off_is_not_ended(tmp_path: Path) -> None:
    """What fills up a command that waits for its data would write it."""
    rom = BootRom(UID)
    rom.feed(b"\x7f" + bytes.fromhex("31ce") + bytes.fromhex("0800000008") + b"\x7f")
    with BootRomBoard(rom, tmp_path) as board:
        probe("--port", board.port, "--units", "1")
    assert rom.flash.count(0xFF) == len(rom.flash)


def test_a_console_at_its_prompt_is_found() -> None:
    with talker({b"\r": b"\r\n>>> "}) as port:
        status, text = probe("--port", port)
    assert status == 0
    assert "console of a node, at its prompt: the node does not run" in text


def test_a_boot_line_is_found_while_reset_is_pressed() -> None:
    near, far = pty.openpty()
    tty.setraw(far)
    line = {"boot_epoch": 3, "role": "air", "mem_alloc": 37300, "store": "flash"}
    ended = threading.Event()

    def print_it() -> None:
        while not ended.wait(0.05):  # the listener empties the port when it opens it
            os.write(near, json.dumps(line).encode() + b"\r\n")

    thread = threading.Thread(target=print_it)
    thread.start()
    try:
        status, text = probe("--port", os.ttyname(far), "--wait", "0.5")
    finally:
        ended.set()
        thread.join()
        os.close(near)
        os.close(far)
    assert status == 0
    assert "console: air node, boot 3" in text


def test_silence_is_said_and_is_no_success() -> None:
    with talker({}) as port:
        status, text = probe("--port", port, "--units", "1")
    assert status == 1
    assert "nothing answers" in text


@pytest.mark.provokes("TF-FLASH-001")
def test_a_port_that_is_not_there_has_its_code(tmp_path: Path) -> None:
    status, text = probe("--port", tmp_path / "none")
    assert status == 1
    assert "TF-FLASH-001" in text


@pytest.mark.parametrize("wrong", ["0-3", "5-248", "x", "", "7-3"])
def test_wrong_addresses_are_named(wrong: str) -> None:
    assert probe("--port", "/dev/none", "--units", wrong)[0] == 2


def test_ports_are_listed_by_place_with_their_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    near, far = pty.openpty()
    path = os.ttyname(far)
    other = subprocess.Popen(["sleep", "60"], pass_fds=[far])
    found = []
    for device, location in ((path, "1-1.10:1.0"), ("/dev/ttyUSB7", "1-1.9:1.0")):
        port = ListPortInfo(device)
        port.location, port.vid, port.pid = location, 0x0403, 0x6001
        port.manufacturer, port.product, port.serial_number = "FTDI", "FT232R USB UART", "A1"
        found.append(port)
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: found)
    lasting = tmp_path / "usb-FTDI-A1"
    lasting.symlink_to(path)
    monkeypatch.setattr(ports, "_BY_ID", tmp_path)
    try:
        status, text = probe()
    finally:
        other.kill()
        other.wait()
        os.close(near)
        os.close(far)
    assert status == 0
    lines = text.splitlines()
    assert lines[0] == "/dev/ttyUSB7  USB 1-1.9  FTDI FT232R USB UART 0403:6001"
    assert lines[1].startswith(f"{path}  USB 1-1.10  FTDI FT232R USB UART 0403:6001, opened by ")
    assert f"sleep (process {other.pid})" in lines[1]
    assert lines[2].strip() == str(lasting)
    assert "tianfu-node probe --port PORT" in lines[3]


def test_boards_without_a_serial_port_are_found_by_their_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The files that Linux has under /sys/bus/usb/devices."""
    for place, vendor, product, serial in (
        ("1-1.4", "0483", "df11", "206A3275"),
        ("1-1.5", "1d6b", "0002", "hub"),
        ("1-2", "0483", "374b", None),
    ):
        device = tmp_path / place
        device.mkdir()
        (device / "idVendor").write_text(f"{vendor}\n")
        (device / "idProduct").write_text(f"{product}\n")
        if serial is not None:
            (device / "serial").write_text(f"{serial}\n")
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    monkeypatch.setattr("boards.usb_devices._FOLDER", tmp_path)
    status, text = probe()
    assert status == 0
    assert text.splitlines()[:2] == [
        "USB 1-1.4  STM32 in its USB bootloader (dfu) 0483:df11 206A3275",
        "USB 1-2  ST-LINK/V2-1 (swd) 0483:374b",
    ]
