"""The error of the uplink's readers: a PeerError that names the field it is about.

The root of the tree is in :mod:`protocols.wire.errors`, which runs on MicroPython too and has no
room for this.
"""

from typing import Final, Self

from protocols.text_of_others import printable
from protocols.wire.errors import PeerError

# One more code of the tree; nodes report a wrong CRC by counting it.
BAD_CHECKSUM: Final = 3  # the bytes came damaged, or their sender computes another checksum


class FormatError(PeerError):
    """What came in breaks a format of the uplink.

    ``field`` is the name of the field, or of the structure, that is wrong; a program may compare
    it. ``message`` is for people: the field, and where it stands if that needs saying. Errors are
    not changed once they are made: :meth:`moved` and :meth:`within` return new ones.
    """

    def __init__(
        self,
        code: int,
        field: str,
        offset: int = -1,
        expected: object = None,
        got: object = None,
        message: str = "",
    ) -> None:
        super().__init__(code, message or field, offset, expected, got)
        self.field = field

    def __str__(self) -> str:
        return printable(super().__str__())

    def moved(self, by: int) -> Self:
        """Return the same error about an input in which everything stands ``by`` bytes later."""
        offset = self.offset + by if self.offset >= 0 else -1
        return type(self)(self.code, self.field, offset, self.expected, self.got, self.message)

    def within(self, place: str) -> Self:
        """Return the same error with a message that begins with ``place``."""
        message = f"{place}: {self.message}"
        return type(self)(self.code, self.field, self.offset, self.expected, self.got, message)
