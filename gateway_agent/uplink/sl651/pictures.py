"""Puts pictures together again from their parts in the stream, for the stations that report them.

A picture is in the stream only if the camera node's image switch let it out (decision 0028), and a
centre gets it only if its station has ``pictures = true``. The parts of one follow each other; one
that is not whole after ten minutes lost parts to a gap, and is given up: the exporter names it.
"""

from hashlib import sha256
from typing import Final, NamedTuple

from protocols.export_record import ExportRecord
from protocols.uplink import FilePart

PICTURE: Final = "picture"
WHOLE_WITHIN_MS: Final = 600_000


class WholePicture(NamedTuple):
    """A whole picture: by which device, when, and the records that its parts are."""

    device: str
    wall_ms: int
    data: bytes
    seqs: tuple[int, ...]


class GivenUpPicture(NamedTuple):
    """A picture that lacks parts; its node counts pictures by boot epoch and number."""

    device: str
    boot_epoch: int
    number: int
    wall_ms: int
    seqs: tuple[int, ...]


class _Parts(NamedTuple):
    boot_epoch: int
    number: int
    sha256: bytes
    wall_ms: int
    data: bytearray
    seqs: dict[int, int]  # by offset


class Pictures:
    """The pictures that are not whole yet, one for each device."""

    def __init__(self, devices: frozenset[str]) -> None:
        self._devices = devices
        self._open: dict[str, _Parts] = {}
        self._given_up: list[GivenUpPicture] = []

    def take(self, record: ExportRecord) -> WholePicture | None:
        """Take a record in the order of the stream; return the picture that it completes."""
        part = record.record.part
        if record.name not in self._devices or part is None or part.file != PICTURE:
            return None
        parts = self._open.get(record.name)
        if parts is None or parts.sha256 != part.sha256:
            if parts is not None:
                self._give_up(record.name)
            of = part.boot_epoch, part.number
            parts = _Parts(*of, part.sha256, record.wall_ms, bytearray(part.size), {})
            self._open[record.name] = parts
        return self._with(parts, part, record)

    def _with(self, parts: _Parts, part: FilePart, record: ExportRecord) -> WholePicture | None:
        parts.data[part.offset : part.offset + len(part.data)] = part.data
        parts.seqs[part.offset] = record.seq
        if part.offset + len(part.data) < part.size or len(parts.data) != part.size:
            return None
        if sha256(parts.data).digest() != part.sha256:
            self._give_up(record.name)
            return None
        del self._open[record.name]
        seqs = tuple(sorted(parts.seqs.values()))
        return WholePicture(record.name, parts.wall_ms, bytes(parts.data), seqs)

    def give_up_at(self, wall_ms: int) -> None:
        """Give up what began so long before that its parts will not come any more.

        What began so long after is given up too: the clock has been set back since.
        """
        for device, parts in list(self._open.items()):
            if abs(wall_ms - parts.wall_ms) > WHOLE_WITHIN_MS:
                self._give_up(device)

    def _give_up(self, device: str) -> None:
        parts = self._open.pop(device)
        seqs = tuple(sorted(parts.seqs.values()))
        self._given_up.append(
            GivenUpPicture(device, parts.boot_epoch, parts.number, parts.wall_ms, seqs)
        )

    def take_given_up(self) -> list[GivenUpPicture]:
        """Return what was given up since the last call."""
        found, self._given_up = self._given_up, []
        return found

    def done_to(self, seen_to: int) -> int:
        """Return up to which sequence number no open picture needs a record."""
        firsts = [min(parts.seqs.values()) - 1 for parts in self._open.values()]
        return min([seen_to, *firsts])
