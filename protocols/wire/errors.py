"""The one error tree of the protocols.

::

    ProtocolError
    +-- LocalError   we broke a rule: a bug on this side, never caused by input
    +-- PeerError    the other side broke a rule: reject, count, go on

``code`` is what a program acts on; ``offset`` is the byte in the input where the rule was broken
(-1 when it concerns the whole input); ``expected`` and ``got`` complete the message. MicroPython
has no second base class and no ``__cause__``, so there is neither here.
"""

# Codes are public: retry policy and counters are keyed by them.
TRUNCATED = 1  # shorter than its own length field or the format's minimum
TOO_LONG = 2  # longer than the format's named cap
BAD_TAG = 4  # authentication tag or signature does not verify
BAD_VALUE = 5  # a field holds a value outside its range
UNKNOWN = 6  # unknown register map, version, key or type
BAD_ORDER = 7  # sequence, chain or state does not allow this now


class ProtocolError(Exception):
    """Root of the tree; raise one of its two branches."""

    def __init__(
        self,
        code: int,
        message: str,
        offset: int = -1,
        expected: object = None,
        got: object = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.offset = offset
        self.expected = expected
        self.got = got

    def __str__(self) -> str:
        text = self.message
        if self.expected is not None or self.got is not None:
            text += ": expected " + str(self.expected) + ", got " + str(self.got)
        if self.offset >= 0:
            text += " at byte " + str(self.offset)
        return text


class LocalError(ProtocolError):
    """Our own code asked for something the format cannot carry."""


class PeerError(ProtocolError):
    """What came in breaks the format."""
