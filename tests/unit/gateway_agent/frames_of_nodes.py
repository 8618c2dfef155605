"""Node frames built from the layout's description, with the standard library's HMAC."""

import hashlib
import hmac
import struct

KEY = bytes(range(32))
UID = bytes.fromhex("0123456789abcdef01234567")
KEY_ID = 7

# The air role: map 0x0101 version 1, 7 points of one register, 2 registers of quality nibbles.
AIR_POINTS = ("pm1_0", "pm2_5", "pm10", "particles_0_3", "co2", "temperature", "humidity")
AIR_VALUES = (11, 22, 33, 444, 555, -1234, 5678)
AIR_WORDS = 10 + 2 + 7 + 9
NO_SAMPLE = 6


def seal(body: bytes, key: bytes = KEY, uid: bytes = UID, key_id: int = KEY_ID) -> bytes:
    """Add key id and tag."""
    body += struct.pack(">H", key_id)
    return body + hmac.new(key, body + uid, hashlib.sha256).digest()[:16]


def air_body(
    epoch: int,
    seq: int,
    events: int = 0,
    quality: int = 0,
    status: int = 0,
    map_version: int = 1,
    values: tuple[int, ...] = AIR_VALUES,
) -> bytes:
    """An air frame without its seal; ``quality`` is that of every point."""
    head = struct.pack(
        ">HHIIIHH", 0x0101, map_version, epoch, seq, 1000 * seq & 0xFFFFFFFF, status, events
    )
    nibbles = struct.pack(">HH", quality * 0x1111, quality * 0x0111)
    return head + nibbles + struct.pack(">7h", *(values if not quality else (0,) * 7))


def air_frame(epoch: int, seq: int, events: int = 0, quality: int = 0) -> bytes:
    """A whole, good air frame."""
    return seal(air_body(epoch, seq, events, quality))


def event_frame(
    epoch: int, count: int, codes: tuple[int, ...], t_boot_ms: int = 5000, arg: int = 1
) -> bytes:
    """An event frame with ``count`` events since boot, the last ones with these codes, at 4 s."""
    head = struct.pack(">HHIIIHH", 0x01FF, 1, epoch, count, t_boot_ms, 0, count & 0xFFFF)
    slots = b"".join(struct.pack(">HHI", code, arg, 4000) for code in codes)
    return seal(head + slots + bytes(16 * 8 - len(slots)))
