"""Applications in the slots of the real image, on QEMU: which runs, and what its modules replace.

What the flash holds is laid down before a boot. QEMU's flash takes nothing from the node, but for
a debugger's help (``hil/boot_rom/flash_writes.py``).
"""

import asyncio
import contextlib
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from boards import build as images
from boards.application import base_of, romfs, sign
from boards.elf import read_symbols
from boards.folder import default_name, tables
from boards.recordstore import compose
from boards.source import micropython_tree
from boards.toolchain import mpy_cross
from hil.boot_rom.chip import FLASH_AT, BootRom
from hil.boot_rom.flash_writes import FlashWrites, LiveCut
from hil.engines.wiring import STORE_ADDRESS
from protocols.wire.update.image_manifest import unsigned
from tests.image.test_port import Emulator

pytestmark = [pytest.mark.tool("qemu-system-arm"), pytest.mark.timeout(300)]

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
SLOTS = tables(default_name(), "peripherals.toml")["memory"]["slots"]["base"]
SLOT_BYTES = 0x20000
#: A module that the image has, one that it has not, and a package that it has not.
MODULES = {
    "firmware/node/selftest.py": "WHO = 'slot'\ndef core():\n    return 12345\n",
    "firmware/node/brand_new.py": "from .selftest import WHO\nTEXT = 'new in the ' + WHO\n",
    "extra/__init__.py": "",
    "extra/inside.py": "import firmware.node.epoch\nEPOCH = firmware.node.epoch.FILES\n",
}
PENDING, ON_TRIAL, CONFIRMED = 1, 2, 3


def made(folder: Path, board_image: Path, modules: dict[str, str]) -> bytes:
    """Return a signed file whose image has these modules."""
    cross = mpy_cross(micropython_tree(lambda _: None), lambda _: None)
    files = {}
    for name, text in modules.items():
        source, out = folder / "m.py", folder / "m.mpy"
        source.write_text(text)
        subprocess.run([cross, "-s", name, "-o", out, source], check=True)
        files[name[:-3] + ".mpy"] = out.read_bytes()
    image = romfs(files)
    base = base_of(board_image.with_name("firmware.bin").read_bytes())
    head = unsigned(default_name(), (0, 255), 7, 5, base, image, bytes(4))
    return sign(head + bytes(64) + image, KEY)


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory, board_image: Path) -> bytes:
    """A signed file whose image has MODULES."""
    return made(tmp_path_factory.mktemp("application"), board_image, MODULES)


def record(application: bytes, outcome: int) -> bytes:
    """Return the record "slots" of a node with this application in slot A, as slots.h has it."""
    trial, good = application[48:56], bytes(8)
    head = [1, 0, 1, 1, 0, outcome, 0, 0]
    if outcome == CONFIRMED:
        trial, good = bytes(8), trial
        head = [1, 1, 0, 0, 0, outcome, 0, 0]
    return bytes(head) + struct.pack("<I", 0) + good + bytes(8) + trial


@contextlib.contextmanager
def board(elf: Path, folder: Path, slot: bytes, records: dict[str, bytes]) -> Iterator[Emulator]:
    """Boot with this file in slot A and these records; the raw REPL is entered."""
    content = slot[:160].ljust(512, b"\xff") + slot[160:]
    files = {SLOTS: content.ljust(SLOT_BYTES, b"\xff"), STORE_ADDRESS: compose(records)}
    more = []
    for address, data in files.items():
        path = folder / f"{address:x}.bin"
        path.write_bytes(data)
        more += ["-device", f"loader,file={path},addr={address:#x},force-raw=on"]
    with contextlib.closing(Emulator(elf, folder, more)) as emulator:
        emulator.printed = emulator.until(b">>> ")
        emulator.raw()
        yield emulator


def test_modules_of_a_slot_go_before_those_of_the_image(
    board_image: Path, tmp_path: Path, application: bytes
) -> None:
    records = {"release": PUBLIC, "slots": record(application, CONFIRMED)}
    with board(board_image, tmp_path, application, records) as node:
        assert node.value("__import__('slots').status()") == [1, 7, 0, 0, CONFIRMED, 2]
        node.run(
            "from firmware.node import selftest, brand_new, schedule; from extra import inside"
        )
        assert node.value("selftest.core()") == 12345
        assert node.value("brand_new.TEXT") == "new in the slot"
        assert node.value("inside.EPOCH") == ["epoch.0", "epoch.1"]
        assert node.value("schedule.Schedule.__name__") == "Schedule"
        with pytest.raises(AssertionError, match="ImportError"):
            node.run("import firmware.node.nothing")


def test_what_is_not_whole_or_cannot_be_noted_starts_the_base(
    board_image: Path, tmp_path: Path, application: bytes
) -> None:
    flipped = bytearray(application)
    flipped[-9] ^= 1
    forged = bytearray(application)
    forged[100] ^= 1
    confirmed = record(application, CONFIRMED)
    pending = record(application, PENDING)
    cases = {
        "damaged": (bytes(flipped), {"release": PUBLIC, "slots": confirmed}),
        "forged": (bytes(forged), {"release": PUBLIC, "slots": confirmed}),
        # The medium takes nothing, so a trial could not be counted: it does not begin.
        "not countable": (
            application,
            {"release": PUBLIC, "slots": pending[:3] + b"\0" + pending[4:]},
        ),
    }
    for name, (slot, records) in cases.items():
        folder = tmp_path / name.replace(" ", "_")
        folder.mkdir()
        with board(board_image, folder, slot, records) as node:
            status = node.value("__import__('slots').status()")
            assert isinstance(status, list)
            assert status[:2] == [0, 0], name
            node.run("from firmware.node import selftest")
            assert node.value("hasattr(selftest, 'WHO')") is False, name


def test_the_node_refuses_what_is_not_for_it(
    board_image: Path, tmp_path: Path, application: bytes
) -> None:
    with board(board_image, tmp_path, application, {"release": PUBLIC}) as node:
        node.run("import slots")

        def check(head: bytes) -> object:
            signed = head + KEY.sign(head)
            return node.value(f"slots.check({signed!r})")

        head = application[:96]
        assert check(head) == 0
        assert node.value(f"slots.check({application[:95] + bytes(65)!r})") == 3
        assert check(head[:8] + b"esp32".ljust(16, b"\0") + head[24:]) == 4
        assert check(head[:6] + b"\2\3" + head[8:]) == 5
        assert check(head[:36] + b"\6\2" + head[38:]) == 8
        assert check(head[:44] + struct.pack(">I", 130564) + head[48:]) == 9
        assert node.value("slots.SIZE") == 130560
        message, signature = application[:96], application[96:160]
        verify = f"slots.verify({PUBLIC!r}, {message!r}, %r)"
        assert node.value(verify % signature) is True
        assert node.value(verify % (signature[:-1] + b"\xff")) is False
        with pytest.raises(AssertionError, match="expected 160 bytes, got 3"):
            node.run("slots.check(b'abc')")
        # The flash of this emulator takes nothing, and the node finds that out.
        assert node.value("slots.erase()") in (False, True)
        assert node.value("slots.write(0, b'abcd')") is False
        assert node.value(f"slots.order({application[:160]!r})") in (11, 12)


def test_an_application_that_fails_again_gives_way_to_the_base(
    board_image: Path, tmp_path: Path
) -> None:
    """On trial for the third time: it ends in a fault, a reset follows, and the base starts."""
    broken = made(
        tmp_path, board_image, {"main.py": "def run():\n    raise ValueError('broken')\n"}
    )
    noted = record(broken, ON_TRIAL)
    records = {"release": PUBLIC, "slots": noted[:4] + b"\2" + noted[5:]}
    with board(board_image, tmp_path, broken, records) as node:
        assert b'"slot": 1, "version": 7, "trial": 1' in node.printed
        assert b'"slot": 0, "version": 0, "trial": 0, "outcome": 5' in node.printed
        assert node.value("__import__('slots').status()") == [0, 0, 0, 0, 5, 1]


class LiveFlash:
    """A board whose node writes its flash; each ``with`` block is from power on to power off."""

    def __init__(self, elf: Path, folder: Path, records: dict[str, bytes]) -> None:
        self._folder = folder
        self._symbols = read_symbols(elf)
        self.rom = BootRom(bytes(12))
        image = elf.with_name("firmware.bin").read_bytes()
        self.rom.flash[: len(image)] = image
        store = compose(records)
        begin = STORE_ADDRESS - FLASH_AT
        self.rom.flash[begin : begin + len(store)] = store

    @contextlib.contextmanager
    def powered(self, cut: LiveCut | None = None) -> Iterator[Emulator]:
        """Boot from what the flash holds; after a ``cut`` nothing is answered any more."""
        flash = self._folder / "flash.bin"
        flash.write_bytes(self.rom.flash)
        near, far = socket.socketpair()
        more = ["-chardev", f"socket,id=gdb,fd={far.fileno()}", "-gdb", "chardev:gdb", "-S"]
        with far:
            emulator = Emulator(flash, self._folder, more, pass_fds=(far.fileno(),))
        if cut is not None:
            cut.switch_off = emulator.process.kill
        writes = FlashWrites(self.rom, self._symbols, cut)
        thread = threading.Thread(target=asyncio.run, args=(writes.serve(near),))
        thread.start()
        try:
            emulator.until(b">>> ")
            emulator.raw()
            emulator.run("import slots")
            yield emulator
        finally:
            emulator.close()
            thread.join()


def test_an_update_from_the_first_block_to_the_confirmation(
    board_image: Path, tmp_path: Path, application: bytes
) -> None:
    """The node's own flash driver, live: erase, write, order, trial, power cut, confirmation."""
    live = LiveFlash(board_image, tmp_path, {"release": PUBLIC})
    manifest, image = application[:160], application[160:]
    with live.powered() as node:
        assert node.value(f"slots.check({manifest!r})") == 0
        assert node.value("slots.erase()") is True
        for at in range(0, len(image), 240):
            assert node.value(f"slots.write({at}, {image[at : at + 240]!r})") is True
        assert node.value(f"slots.digest({len(image)})[:4] == {manifest[48:52]!r}") is True
        assert node.value("slots.blank(1024, 64)") is True
        assert node.value(f"slots.order({manifest!r})") == 0
        assert node.value("slots.status()") == [0, 0, 0, 0, PENDING, 1]
    begin = SLOTS - FLASH_AT
    assert live.rom.flash[begin : begin + 160] == manifest
    assert live.rom.flash[begin + 512 : begin + 512 + len(image)] == image
    with live.powered() as node:
        assert node.value("slots.status()") == [1, 7, 0, 1, ON_TRIAL, 0]
        assert node.value("__import__('firmware.node.selftest').node.selftest.WHO") == "slot"
    with live.powered() as node:
        assert node.value("slots.status()") == [1, 7, 0, 1, ON_TRIAL, 0]
        assert node.value("slots.confirm()") is True
        assert node.value("slots.status()") == [1, 7, 5, 0, CONFIRMED, 2]
    with live.powered() as node:
        assert node.value("slots.status()") == [1, 7, 5, 0, CONFIRMED, 2]


def test_versions_of_the_bytecode_are_those_of_the_image(board_image: Path) -> None:
    tree = micropython_tree(lambda _: None)
    text = (tree.path / "py" / "persistentcode.h").read_text()
    assert "#define MPY_VERSION 6" in text
    assert "#define MPY_SUB_VERSION 3" in text
    assert base_of(b"")[:2] == b"\6\3"
    assert images.build(default_name()).bin.is_file()
