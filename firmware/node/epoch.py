"""The boot epoch: a number that is higher at every boot than at any boot before.

It lives in two files, each ``magic (2), epoch u32, CRC-32 u32``, big endian. A boot takes the
higher valid one plus one and writes it to both, the older file first, before anything is shown to
a master. So

* a cut during the first write leaves the other file as it was, and the new epoch was never shown;
* a cut during the second leaves the new epoch in the first;
* once a boot has shown an epoch both files hold it, and damage to either costs nothing.

A store that lost content to damage may give an older epoch than the last one. The next one is then
so much higher that it is above every epoch that can have been lost.
"""

import binascii
import os
import struct

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Files

_MAGIC = const(0x7E01)
_SIZE = const(10)
_LAST = const(0xFFFFFFFF)
# Both files damaged: where to go on is unknown. No node boots this often by itself.
_UNKNOWN = const(0x40000000)
_LEAP = const(0x100000)  # more boots than a store holds records of

FILES = ("epoch.0", "epoch.1")


def encode(epoch: int) -> bytes:
    """Return the content of a file."""
    body = struct.pack(">HI", _MAGIC, epoch)
    return body + struct.pack(">I", binascii.crc32(body) & 0xFFFFFFFF)


def decode(data: bytes | None) -> int:
    """Return the epoch in a file's content; 0 if it is absent or damaged (no boot has 0)."""
    if data is None or len(data) != _SIZE:
        return 0
    magic, epoch, check = struct.unpack(">HII", data)
    if magic != _MAGIC or check != binascii.crc32(data[:6]) & 0xFFFFFFFF:
        return 0
    return int(epoch)


class BootEpoch:
    """The epoch of this boot; made once per boot.

    ``known`` is False if what the store held of the former epoch was all damaged. ``stored`` is
    False while the store cannot be written: then the next boot may get the same epoch, so
    :meth:`persist` is tried again until it succeeds.
    """

    def __init__(self, store: "Files") -> None:
        contents = [store.read(name) for name in FILES]
        epochs = [decode(data) for data in contents]
        self.known = True
        if epochs[0] or epochs[1]:
            value = max(epochs[0], epochs[1])
            value += _LEAP if getattr(store, "lost", False) else 1
        elif contents[0] is None and contents[1] is None:
            value = 1
        else:
            self.known = False
            value = _UNKNOWN + (struct.unpack(">I", os.urandom(4))[0] >> 3)
        self.value = min(value, _LAST)
        self._store = store
        self._older = 0 if epochs[0] <= epochs[1] else 1
        self.stored = False
        self.persist()

    def reads_back(self) -> bool:
        """Return False if the store took this boot's epoch and gives something else.

        Every boot writes the epoch anyway, so this proves the store without wearing it. A store
        that took nothing is no failure of this kind: ``stored`` is False then.
        """
        data = encode(self.value)
        read = self._store.read
        return not self.stored or read(FILES[0]) == data == read(FILES[1])

    def persist(self) -> bool:
        """Write both files; True once both hold this boot's epoch."""
        if not self.stored:
            data = encode(self.value)
            self.stored = self._store.write(FILES[self._older], data) and self._store.write(
                FILES[1 - self._older], data
            )
        return self.stored
