"""The settings of :mod:`protocols.wire.registers`, kept in the store.

File: ``magic (4), count u16, count values u16, CRC-32 u32``, big endian; the value at index i is
holding register i. A file with fewer values (older firmware) leaves the rest at their defaults, one
with more (newer firmware) is used as far as it is known.
"""

import binascii
import struct
from array import array

from micropython import const

from protocols.wire.registers import (
    SETTINGS,
    STATUS_CONFIG_DEFAULTED,
    STATUS_IMAGE_EXPORT,
    setting_address,
)

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from .ports import Files

FILE = "config"

# What Config.check and Config.set_many return.
SET = 0
NO_SETTING = 1  # an address that is no setting's
OUT_OF_RANGE = 2  # a value outside its setting's range

_MAGIC = b"TFc1"
_HEAD = const(6)
_MAX_VALUES = const(240)  # holding registers from 0x00F0 on are no settings


def encode(values: "array[int]") -> bytearray:
    """Return the content of the file."""
    data = bytearray(_HEAD + 2 * len(values) + 4)
    data[:4] = _MAGIC
    struct.pack_into(">H", data, 4, len(values))
    for index in range(len(values)):
        struct.pack_into(">H", data, _HEAD + 2 * index, values[index])
    end = len(data) - 4
    struct.pack_into(">I", data, end, binascii.crc32(bytes(data[:end])) & 0xFFFFFFFF)
    return data


def decode(data: bytes) -> "list[int] | None":
    """Return the values in a file's content; None if it is damaged."""
    end = len(data) - 4
    if end < _HEAD or data[:4] != _MAGIC:
        return None
    if struct.unpack_from(">I", data, end)[0] != binascii.crc32(data[:end]) & 0xFFFFFFFF:
        return None
    count = struct.unpack_from(">H", data, 4)[0]
    if count > _MAX_VALUES or end != _HEAD + 2 * count:
        return None
    return [struct.unpack_from(">H", data, _HEAD + 2 * index)[0] for index in range(count)]


class Config:
    """Raw values by holding register. Raises only for names and addresses that do not exist.

    ``defaults`` (by name, each allowed) are what the board was commissioned with; they stand in
    for the map's where nothing is stored. ``stored`` is False while what is in force could not be
    written.
    """

    def __init__(self, store: "Files", defaults: "dict[str, int]") -> None:
        self.store = store
        # Called with the first address written and the values before, if a write changed any.
        self.on_change: Callable[[int, list[int]], None] | None = None
        self.stored = True
        self.defaulted = False
        values = array("H", [setting.default for setting in SETTINGS])
        for name in defaults:
            values[setting_address(name)] = defaults[name]
        self._values = values
        content = store.read(FILE)
        kept = None if content is None else decode(content)
        if kept is None:
            self.defaulted = True
            return
        for address in range(min(len(kept), len(SETTINGS))):
            if SETTINGS[address].allows(kept[address]):
                values[address] = kept[address]
            else:
                self.defaulted = True

    def value(self, address: int) -> int:
        """Return the raw value of ``SETTINGS[address]``. Allocates nothing."""
        return self._values[address]

    def get(self, name: str) -> int:
        """Return a raw value by name; PeerError(UNKNOWN) if there is no such setting."""
        return self._values[setting_address(name)]

    def check(self, address: int, values: "list[int]") -> int:
        """Return what :meth:`set_many` would, and set nothing."""
        if address < 0 or not values or address + len(values) > len(SETTINGS):
            return NO_SETTING
        for index in range(len(values)):
            if not SETTINGS[address + index].allows(values[index]):
                return OUT_OF_RANGE
        return SET

    def set_many(self, address: int, values: "list[int]") -> int:
        """Set the settings from ``address`` on: all of them or none.

        Return SET, NO_SETTING or OUT_OF_RANGE. What was accepted is in force at once, also if the
        store cannot be written (``stored`` is False then): switching images off must not depend
        on a medium.
        """
        wrong = self.check(address, values)
        if wrong:
            return wrong
        before = [self._values[address + index] for index in range(len(values))]
        for index in range(len(values)):
            self._values[address + index] = values[index]
        if before != values or self.defaulted or not self.stored:
            self.persist()
        if before != values and self.on_change is not None:
            self.on_change(address, before)
        return SET

    def persist(self) -> bool:
        """Write what is in force; True if it is on the medium."""
        self.stored = self.store.write(FILE, encode(self._values))
        if self.stored:
            self.defaulted = False
        return self.stored

    def fingerprint(self) -> str:
        """Return the CRC-32 of what is in force, 8 hex digits: equal settings give equal ones."""
        return binascii.hexlify(bytes(encode(self._values)[-4:])).decode()

    def status(self) -> int:
        """Return STATUS_CONFIG_DEFAULTED and STATUS_IMAGE_EXPORT as they are now."""
        bits = STATUS_CONFIG_DEFAULTED if self.defaulted else 0
        if self.get("image_export"):
            bits |= STATUS_IMAGE_EXPORT
        return bits
