"""The way onto an ESP32 at the boundary of esptool's API, which a stand-in takes the place of."""

import sys
import types

import pytest

from boards.errors import BoardError
from boards.flash.errors import FlashingError
from boards.flash.methods import esptool

IMAGE = bytes([0xE9, 4, 2, 0x20]) + bytes(8) + b"\x00\x00" + bytes(2000)


class FatalError(RuntimeError):
    """As esptool.util's."""


class Library:
    """Stands in for esptool.cmds: the calls in their order, and the one that fails."""

    def __init__(self, chip: str, failing: str) -> None:
        self.calls: list[str] = []
        self._chip = chip
        self._failing = failing

    def __getattr__(self, name: str) -> object:
        def call(*arguments: object) -> object:
            self.calls.append(name)
            if name == self._failing:
                raise FatalError(f"{name} failed")
            if name in ("write_flash", "verify_flash"):
                assert arguments[1:] == ([(0x1000, IMAGE)],)
            return types.SimpleNamespace(CHIP_NAME=self._chip)

        return call


def library(monkeypatch: pytest.MonkeyPatch, chip: str = "ESP32", failing: str = "") -> Library:
    found = Library(chip, failing)
    package = types.ModuleType("esptool")
    util = types.ModuleType("esptool.util")
    vars(util)["FatalError"] = FatalError
    monkeypatch.setitem(sys.modules, "esptool", package)
    monkeypatch.setitem(sys.modules, "esptool.cmds", found)
    monkeypatch.setitem(sys.modules, "esptool.util", util)
    return found


def test_it_is_written_verified_and_started(monkeypatch: pytest.MonkeyPatch) -> None:
    found = library(monkeypatch)
    esptool.write("/dev/ttyUSB0", IMAGE)
    assert found.calls == [
        "detect_chip",
        "run_stub",
        "attach_flash",
        "write_flash",
        "verify_flash",
        "reset_chip",
    ]


@pytest.mark.parametrize(
    ("failing", "code"),
    [
        pytest.param("detect_chip", "064", marks=pytest.mark.provokes("TF-FLASH-064")),
        ("write_flash", "030"),
        ("verify_flash", "030"),
    ],
)
def test_what_fails_is_a_row_of_the_table(
    failing: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(monkeypatch, failing=failing)
    with pytest.raises(FlashingError, match=f"TF-FLASH-{code}.*{failing} failed"):
        esptool.write("/dev/ttyUSB0", IMAGE)


def test_another_chip_or_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = library(monkeypatch, chip="ESP32-S3")
    with pytest.raises(FlashingError, match=r"TF-FLASH-020.*ESP32-S3"):
        esptool.write("/dev/ttyUSB0", IMAGE)
    assert found.calls == ["detect_chip"]
    with pytest.raises(FlashingError, match=r"TF-FLASH-029.*got 9"):
        esptool.write("/dev/ttyUSB0", IMAGE[:12] + b"\x09" + IMAGE[13:])
    with pytest.raises(FlashingError, match="TF-FLASH-029"):
        esptool.write("/dev/ttyUSB0", b"UF2\n" * 1000)


def test_without_the_library_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "esptool", None)
    with pytest.raises(BoardError, match="pip install esptool"):
        esptool.write("/dev/ttyUSB0", IMAGE)
