"""The published vectors of HJ 212, and the dialect that each frame was written in."""

import json
from typing import TypedDict

from protocols.uplink.hj212 import ChecksumKind, Hj212Dialect, QnForm
from tests.paths import ROOT


class FrameVector(TypedDict):
    """One frame of the file."""

    verdict: str
    source: str
    cn: str
    st: str
    frame: str


class TextVector(TypedDict):
    """A frame with Chinese text."""

    source: str
    encoding: str
    frame: str


class SumVector(TypedDict, total=False):
    """What the two checksums give."""

    data: str
    hj: str
    modbus: str


class CipherVector(TypedDict):
    """An encrypted frame."""

    key: str
    head: str
    cp: str
    len: str
    checksum: str
    begin: str
    end: str


class VectorFile(TypedDict):
    """The file."""

    frames: list[FrameVector]
    text: list[TextVector]
    checksums: list[SumVector]
    sm4: list[CipherVector]


def read() -> VectorFile:
    """Return what the file holds."""
    path = ROOT / "protocols" / "vectors" / "hj212.json"
    found: VectorFile = json.loads(path.read_text(encoding="utf-8"))
    return found


VECTORS = read()


def frames(verdict: str) -> list[FrameVector]:
    """Return the frames with this verdict."""
    return [row for row in VECTORS["frames"] if row["verdict"] == verdict]


def dialect_of(row: FrameVector) -> Hj212Dialect:
    """Return the dialect of a frame, seen in its bytes."""
    frame = row["frame"]
    form = QnForm.ABSENT
    if "QN=" in frame:
        qn = frame.split("QN=")[1].split(";")[0]
        form = QnForm.TIME if len(qn) == 17 else QnForm.UNIX_MS
    kind = ChecksumKind.MODBUS if row["verdict"].endswith("/modbus") else ChecksumKind.HJ
    return Hj212Dialect(
        kind, frame[-4:] != frame[-4:].upper(), qn=form, split_flag_alone="Flag=3" in frame
    )
