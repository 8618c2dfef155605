"""UF2 files: checked whole before anything is written; uf2utils makes them and reads them back."""

import hashlib
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from uf2utils.file import UF2File

from boards.errors import BoardError
from boards.flash import stock
from boards.flash.errors import FlashingError
from boards.flash.methods import uf2

from .test_job import Steps

AT = 0x10000000
CONTENT = bytes(n * 7 % 251 for n in range(2048))


def made(family: int = 0xE48BFF56) -> bytes:
    """A file by another program's hand."""
    file = UF2File(board_family=family)
    file.append_payload(bytearray(CONTENT), start_offset=AT, block_payload_size=256)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.uf2"
        file.to_file(str(path))
        return path.read_bytes()


def seen(done: int, total: int) -> None:
    assert 0 < done <= total


def test_a_whole_file_for_this_chip_is_right() -> None:
    assert uf2.check(made(), "rp2040") == (AT, len(CONTENT))
    assert uf2.check(made(0xE48BFF59), "rp2350") == (AT, len(CONTENT))


def changed(at: int, value: int) -> bytes:
    content = bytearray(made())
    struct.pack_into("<I", content, at, value)
    return bytes(content)


@pytest.mark.provokes("TF-FLASH-029")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (made(0xE48BFF59), "expected family 0xe48bff56"),
        (made()[:-512], "8 blocks, got 7: the file is cut off"),
        (made()[:-1], "whole blocks"),
        (b"", "whole blocks"),
        (made()[512:], "number 0"),
        (made()[:512] + made()[1024:], "number 1"),
        (changed(0, 1), "block 0: expected the marks"),
        (changed(1024 + 508, 1), "block 2: expected the marks"),
        (changed(512 + 8, 0), "block 1: expected a block for a chip's flash"),
        (changed(512 + 12, AT), "block 1: expected address"),
        (changed(512 + 16, 100), "block 1: expected 256 bytes"),
    ],
)
def test_anything_else_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(FlashingError, match=f"TF-FLASH-029.*{reason}.*nothing was written"):
        uf2.check(content, "rp2040")


def test_a_chip_without_uf2_is_refused() -> None:
    with pytest.raises(BoardError, match="got stm32f405"):
        uf2.check(made(), "stm32f405")


@pytest.mark.provokes("TF-FLASH-065", "TF-FLASH-066")
def test_the_volume_is_found_by_its_file(tmp_path: Path) -> None:
    names = ["RPI-RP2", "with space", "no board"]
    for name in names:
        (tmp_path / name).mkdir()
    lines = [f"/dev/sd{n} {tmp_path / name!s} vfat rw 0 0" for n, name in enumerate(names)]
    mounts = tmp_path / "mounts"
    mounts.write_text("\n".join(line.replace("h s", r"h\040s") for line in lines) + "\n")
    with pytest.raises(FlashingError, match="TF-FLASH-065"):
        uf2.chosen("", uf2.volumes(mounts))
    (tmp_path / "RPI-RP2" / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\n")
    assert uf2.chosen("", uf2.volumes(mounts)) == tmp_path / "RPI-RP2"
    (tmp_path / "with space" / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\n")
    with pytest.raises(FlashingError, match="TF-FLASH-066"):
        uf2.chosen("", uf2.volumes(mounts))
    named = str(tmp_path / "with space")
    assert str(uf2.chosen(named, uf2.volumes(mounts))) == named


class Rom(threading.Thread):
    """The chip: it takes the blocks of the file on its volume as uf2utils reads them."""

    def __init__(self, volume: Path) -> None:
        super().__init__()
        self.volume = volume
        self.flash = b""
        (volume / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\nBoard-ID: RPI-RP2\n")

    def run(self) -> None:
        file = self.volume / "firmware.uf2"
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if file.exists() and file.stat().st_size == len(made()):
                read = UF2File(board_family=0xE48BFF56)
                read.from_file(str(file))
                self.flash = bytes(read.extract_payload(AT))
                (self.volume / "INFO_UF2.TXT").unlink()
                return
            time.sleep(0.01)


def test_the_chip_gets_the_blocks_and_restarts(tmp_path: Path) -> None:
    rom = Rom(tmp_path)
    rom.start()
    uf2.write(tmp_path, made(), seen)
    rom.join()
    assert rom.flash == CONTENT


@pytest.mark.tool("mcopy")
def test_on_a_fat_volume_each_sector_is_a_block(tmp_path: Path) -> None:
    """The chip sees no file, only the sectors that a FAT file system writes."""
    rom = Rom(tmp_path)
    rom.start()
    uf2.write(tmp_path, made(), seen)
    rom.join()
    image = tmp_path / "volume.img"
    for words in (
        ["mformat", "-C", "-i", str(image), "-f", "1440", "::"],
        ["mcopy", "-i", str(image), str(tmp_path / "firmware.uf2"), "::"],
    ):
        subprocess.run(words, check=True, capture_output=True)
    volume = image.read_bytes()
    sectors = [volume[at : at + 512] for at in range(0, len(volume), 512)]
    blocks = [each for each in sectors if each[:4] == b"UF2\n"]
    taken = tmp_path / "taken.uf2"
    taken.write_bytes(b"".join(blocks))
    read = UF2File(board_family=0xE48BFF56)
    read.from_file(str(taken))
    assert len(blocks) == len(CONTENT) // 256
    assert bytes(read.extract_payload(AT)) == CONTENT


def test_a_stock_board_gets_the_firmware_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "volume").mkdir()
    rom = Rom(tmp_path / "volume")
    monkeypatch.setattr(uf2, "volumes", lambda: [rom.volume])
    file = tmp_path / "named.uf2"
    file.write_bytes(made())
    rom.start()
    digest, how = stock.write_firmware("rpi_pico", file, str(file), "", Steps())
    rom.join()
    assert (how, rom.flash) == (uf2.VERIFIED_BY, CONTENT)
    assert digest == hashlib.sha256(made()).hexdigest()
    with pytest.raises(BoardError, match="MicroPython can be written, got one flashed by none"):
        stock.write_firmware("unix", file, str(file), "", Steps())
    with pytest.raises(FlashingError, match="TF-FLASH-023"):
        stock.write_firmware("rpi_pico", tmp_path / "missing", str(file), "", Steps())


def test_a_chip_that_does_not_restart_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\n")
    with pytest.raises(FlashingError, match="TF-FLASH-013"):
        uf2.write(tmp_path, made(), seen, 0.2)


def test_a_volume_that_went_away_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FlashingError, match="TF-FLASH-004"):
        uf2.write(tmp_path / "gone", made(), seen)
