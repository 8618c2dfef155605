"""Boards and programmers on USB that have no serial port: bootloaders, ST-LINKs, volumes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FOLDER: Final = Path("/sys/bus/usb/devices")
#: What a vendor and product id stand for, and the way of flashing that uses it.
KNOWN: Final[Mapping[str, str]] = {
    "0483:df11": "STM32 in its USB bootloader (dfu)",
    "0483:3744": "ST-LINK (swd)",
    "0483:3748": "ST-LINK/V2 (swd)",
    "0483:374b": "ST-LINK/V2-1 (swd)",
    "0483:374e": "ST-LINK/V3 (swd)",
    "0483:374f": "ST-LINK/V3 (swd)",
    "0483:3752": "ST-LINK/V2-1 (swd)",
    "0483:3753": "ST-LINK/V3 (swd)",
    "2e8a:0003": "RP2040 in its bootloader, a volume (uf2)",
    "2e8a:000f": "RP2350 in its bootloader, a volume (uf2)",
}


@dataclass(frozen=True, slots=True)
class UsbDevice:
    """A device that a board can be flashed through; ``place`` is its USB path, as of a port."""

    place: str
    usb_id: str
    what: str
    serial: str


def usb_devices() -> list[UsbDevice]:
    """Return the known devices that are plugged in, by place; what goes meanwhile is left out."""
    found: list[UsbDevice] = []
    for vendor in sorted(_FOLDER.glob("*/idVendor")):
        device = vendor.parent
        try:
            usb_id = f"{_text(vendor)}:{_text(device / 'idProduct')}"
        except OSError:
            continue
        if usb_id in KNOWN:
            serial = device / "serial"
            try:
                number = _text(serial)
            except OSError:
                number = ""
            found.append(UsbDevice(device.name, usb_id, KNOWN[usb_id], number))
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip()
