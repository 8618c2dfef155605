"""The answer to a device identification request, and what nodes of ours have in it.

Application Protocol V1.1b3, section 6.21; ``firmware/node/identity.py`` makes the answer of a node.
"""

from typing import Final, NamedTuple

from protocols.wire.errors import TOO_LONG, TRUNCATED, PeerError

# Access codes of the request.
ALL_OBJECTS: Final = 3  # the private ones (0x80 on) included
ONE_OBJECT: Final = 4

VENDOR_OBJECT: Final = 0x00
PRODUCT_OBJECT: Final = 0x01
ROLE_OBJECT: Final = 0x05
UID_OBJECT: Final = 0x80
MAP_OBJECT: Final = 0x81
IMAGE_OBJECT: Final = 0x82  # SHA-256 of the image that runs, 32 bytes; not of every board
VENDOR: Final = b"tianfu-edge"  # what a node of ours has there

_OBJECTS_AT: Final = 7  # function, type, access, conformity, more follows, next object, count


class Identification(NamedTuple):
    """Objects of one identification answer; ``next_object`` when more follow, else None."""

    objects: dict[int, bytes]
    next_object: int | None


def decode_identification(pdu: bytes) -> Identification:
    """Decode the PDU of the answer to :func:`.request.identify_request`.

    PeerError if its lengths do not fit. Of an object that comes twice the last one counts.
    """
    at = _OBJECTS_AT
    if len(pdu) < at:
        raise PeerError(TRUNCATED, "identification", -1, f"at least {at} bytes", len(pdu))
    objects: dict[int, bytes] = {}
    for _ in range(pdu[6]):
        end = at + 2 + pdu[at + 1] if at + 2 <= len(pdu) else at + 2
        if end > len(pdu):
            raise PeerError(TRUNCATED, "identification object", at, f"{end} bytes", len(pdu))
        objects[pdu[at]] = pdu[at + 2 : end]
        at = end
    if at != len(pdu):
        raise PeerError(TOO_LONG, "identification", at, f"{at} bytes", len(pdu))
    return Identification(objects, pdu[5] if pdu[4] else None)
