"""The serial ports of this computer: where each is plugged in, what it is, who uses it.

Two adapters of one make differ by nothing but their place: the path from the computer's USB port
through the hubs. A bench addresses its boards by it.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serial.tools import list_ports

_BY_ID: Final = Path("/dev/serial/by-id")


@dataclass(frozen=True, slots=True)
class PortUser:
    """A process that has a port open."""

    name: str
    pid: int

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


@dataclass(frozen=True, slots=True)
class PortInfo:
    """A serial port. ``place`` is its USB path ("1-4.2": port 2 of the hub at port 4), empty of a
    port that is not on USB; ``lasting`` is its name that stays when adapters are plugged in anew.
    """

    path: str
    place: str
    adapter: str
    usb_id: str
    serial: str
    lasting: str
    users: tuple[PortUser, ...]


def serial_ports() -> list[PortInfo]:
    """Return the ports there are, in the order of their places."""
    names = _lasting_names(_BY_ID)
    found = [
        PortInfo(
            path=port.device,
            place=(port.location or "").split(":")[0],
            adapter=" ".join(
                dict.fromkeys(word for word in (port.manufacturer, port.product) if word)
            ),
            usb_id="" if port.vid is None else f"{port.vid:04x}:{port.pid:04x}",
            serial=port.serial_number or "",
            lasting=names.get(os.path.realpath(port.device), ""),
            users=tuple(users(port.device)),
        )
        for port in list_ports.comports()
    ]
    return sorted(found, key=lambda port: (_steps(port.place), port.path))


def users(path: str) -> list[PortUser]:
    """Return which other processes have a port open, as far as the system shows them."""
    wanted = Path(os.path.realpath(path))
    found: list[PortUser] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [Path(os.readlink(each)) for each in (process / "fd").iterdir()]
            if wanted in links and int(process.name) != os.getpid():
                name = (process / "comm").read_text(encoding="utf-8").strip()
                found.append(PortUser(name, int(process.name)))
        except OSError:  # ended meanwhile, or somebody else's
            continue
    return sorted(found, key=lambda user: user.pid)


def named(found: Iterable[PortUser]) -> str:
    """Return the processes for the end of a sentence: ", opened by ..."; empty if there is none."""
    text = ", ".join(map(str, found))
    return f", opened by {text}" if text else ""


def _lasting_names(folder: Path) -> dict[str, str]:
    try:
        return {os.path.realpath(each): str(each) for each in sorted(folder.iterdir())}
    except OSError:
        return {}


def _steps(place: str) -> list[int]:
    """Return a place for sorting: port 10 of a hub comes after port 9."""
    return [int(word) for word in place.replace("-", ".").split(".") if word.isdecimal()]
