"""The proof of a board: the node itself, over its own bus, shows what was flashed.

Its device identification must give the chip's unique id, the role and the SHA-256 of the image,
which the node computes over its flash, and a sample that it took must verify with the key that it
was given.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from boards.node_line import NodeIdentity, NodeLine, NodeLineError
from boards.provision import node_key
from protocols.wire.errors import PeerError
from protocols.wire.sample import Sample, verify

from .errors import NO_NODE, NOT_PROVEN, OTHER_NODE, FlashingError

_LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class NodeProof:
    """What the node showed."""

    uid: str
    role: str
    image: str
    key_id: int
    boot_epoch: int
    seq: int


def prove(
    port: str, unit: int, baud: int, uid: str, role: str, image: str, key: Path, limit_s: float
) -> NodeProof:
    """Wait for the node and check what it shows. BoardError within about ``limit_s``."""
    end = time.monotonic() + limit_s
    with NodeLine(port, unit, baud) as line:
        identity = _wait_for_node(line, end)
        for what, wanted, got in (
            ("unique id", uid, identity.uid.hex()),
            ("role", role, identity.map.role),
            ("image's SHA-256", image, identity.image),
        ):
            if got != wanted:
                raise FlashingError(
                    OTHER_NODE,
                    f"{port}, address {unit}: expected {what} {wanted}, the node that answers has "
                    f"{got or 'none'}",
                )
        sample = _wait_for_sample(line, identity, key, end)
    header = sample.header
    return NodeProof(uid, identity.map.role, image, header.key_id, header.boot_epoch, header.seq)


def _wait_for_node(line: NodeLine, end: float) -> NodeIdentity:
    while True:
        try:
            return line.identity()
        except NodeLineError as error:
            if time.monotonic() >= end:
                raise FlashingError(NO_NODE, str(error)) from error
        time.sleep(_LOOK_S)


def _wait_for_sample(line: NodeLine, identity: NodeIdentity, key: Path, end: float) -> Sample:
    secret = node_key(key)
    assert secret.mac is not None
    while True:
        try:
            frame, sample = line.sample(identity.map)
            verify(frame, secret.mac, identity.uid)
        except (NodeLineError, PeerError) as error:
            if time.monotonic() >= end:
                raise FlashingError(
                    NOT_PROVEN, f"{line.port}, address {line.unit}: {error}"
                ) from error
        else:
            if sample.header.seq:
                return sample
            if time.monotonic() >= end:
                raise FlashingError(
                    NOT_PROVEN, f"{line.port}, address {line.unit}: it took no sample"
                )
        time.sleep(_LOOK_S)
