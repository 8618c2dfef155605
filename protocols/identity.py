"""Who is who: unique ids of nodes, ids of gateways and devices, and the limits of both.

A node's *unique id* (uid) is 12 bytes, written as 24 hex digits; its chip has it from the factory,
or the node was commissioned with one. A *device id* names a device in records, topics and
databases: a node's is ``tf-`` and its unique id, a third-party device's is ``<gateway id>.<device
name>``. Gateway ids and device ids are *identifiers*, one level of an MQTT topic and the base of
SenML names.
"""

import re
from typing import Final

from protocols.wire.uid import UID_BYTES, parse_uid

__all__ = [
    "IDENTIFIER_RULE",
    "MAX_IDENTIFIER_LENGTH",
    "NODE_ID_RULE",
    "UID_BYTES",
    "UID_PATTERN",
    "UID_RULE",
    "USB_SERIAL_PATTERN",
    "is_identifier",
    "is_node_id",
    "node_id",
    "parse_uid",
    "uid_of",
    "usb_serial",
]

# As configuration files spell a unique id. Elsewhere upper-case digits are read too.
UID_PATTERN: Final = rf"^[0-9a-f]{{{2 * UID_BYTES}}}\Z"
UID_RULE: Final = f"{2 * UID_BYTES} hex digits"

# As the ROM of an STM32 writes it into its USB descriptor.
USB_SERIAL_PATTERN: Final = r"^[0-9A-F]{12}\Z"

_NODE_PREFIX: Final = "tf-"
_NODE_ID: Final = re.compile(f"{_NODE_PREFIX}[0-9a-f]{{{2 * UID_BYTES}}}")
NODE_ID_RULE: Final = f"{_NODE_PREFIX} and {UID_RULE}"

MAX_IDENTIFIER_LENGTH: Final = 64
# The characters of RFC 8428 section 4.5.1 without "/", which separates a device id from a name.
_IDENTIFIER: Final = re.compile(f"[A-Za-z0-9][A-Za-z0-9:._-]{{0,{MAX_IDENTIFIER_LENGTH - 1}}}")
IDENTIFIER_RULE: Final = f"1 to {MAX_IDENTIFIER_LENGTH} of A-Za-z0-9-:._, letter or digit first"


def is_identifier(text: str) -> bool:
    """Return whether ``text`` can be the id of a gateway or a device."""
    return _IDENTIFIER.fullmatch(text) is not None


def node_id(uid: bytes) -> str:
    """Return the device id of the node with this unique id. ValueError for a wrong length."""
    if len(uid) != UID_BYTES:
        raise ValueError(f"unique id: expected {UID_BYTES} bytes, got {len(uid)}")
    return _NODE_PREFIX + uid.hex()


def is_node_id(text: str) -> bool:
    """Return whether ``text`` is the device id of a node."""
    return _NODE_ID.fullmatch(text) is not None


def uid_of(device_id: str) -> bytes:
    """Return the unique id in the device id of a node. ValueError for any other text."""
    if not is_node_id(device_id):
        raise ValueError(f"device id: expected {NODE_ID_RULE}, got {device_id!r}")
    return bytes.fromhex(device_id[len(_NODE_PREFIX) :])


def usb_serial(uid: bytes) -> str:
    """Return the serial number that the ROM of an STM32 shows on USB; other chips may have it too.

    The rule is that of MicroPython's stm32 port, which shows the same text as the ROM. Half of the
    bytes count for nothing: chips of one lot, at one place of two wafers, differ in none of it.
    """
    parts = (uid[11], uid[10] + uid[2], uid[9], uid[8] + uid[0], uid[7], uid[6])
    return bytes(each & 0xFF for each in parts).hex().upper()
