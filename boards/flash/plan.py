"""What was found on a board, and what shall be on it: in a line before anything is written."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from protocols.station_log import serial_of


@dataclass(frozen=True, slots=True)
class FoundBoard:
    """What is on the port: ``image`` is what its flash holds at the image's place, ``key_id`` the
    key of its record store; 0: it has none. ``uid`` is empty where only the chip's ``usb_serial``
    is known; the node will show the rest.
    """

    uid: str
    image: bytes
    role: str
    key_id: int
    usb_serial: str = ""

    @property
    def name(self) -> str:
        """What the board is called until more is known of it; its key file has this name."""
        return self.uid or self.usb_serial

    def may_be(self, name: object) -> bool:
        """Return whether a board of this name may be this one."""
        if self.uid and len(str(name)) == len(self.uid):
            return name == self.uid
        own = self.usb_serial or serial_of(self.uid)
        return name == own or serial_of(name) == own


@dataclass(frozen=True, slots=True)
class FlashPlan:
    """What shall be on the board."""

    role: str
    settings: Mapping[str, int]
    image: bytes
    key_id: int  # one that this board never had
    keys: Path  # the folder for the key files
    release: bytes = b""  # the public keys whose updates the node takes

    @property
    def digest(self) -> str:
        """SHA-256 of the image, in hex."""
        return hashlib.sha256(self.image).hexdigest()


def plan_line(plan: FlashPlan, board: FoundBoard, name: str) -> str:
    """Return in one line what will be done."""
    same = board.image == plan.image.rstrip(b"\xff")
    image = f"image {plan.digest[:16]} ({len(plan.image)} bytes)"
    settings = ", ".join(f"{name} {value}" for name, value in plan.settings.items())
    lost = f"; settings and calibration of the {board.role} node are lost" if board.role else ""
    return (
        f"{name} {board.name}: {'keep' if same else 'write'} {image}, new record store: "
        f"{plan.role} node, {settings}, key id {plan.key_id}{lost}"
    )
