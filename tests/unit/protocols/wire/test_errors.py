"""The error tree: two branches, and attributes a program can act on."""

from protocols.wire import errors
from protocols.wire.errors import BAD_VALUE, TRUNCATED, LocalError, PeerError, ProtocolError


def test_ours_and_theirs_are_apart() -> None:
    assert issubclass(LocalError, ProtocolError)
    assert issubclass(PeerError, ProtocolError)
    assert not issubclass(LocalError, PeerError)
    assert not issubclass(PeerError, LocalError)


def test_codes_do_not_move() -> None:
    assert (errors.TRUNCATED, errors.TOO_LONG, errors.BAD_TAG) == (1, 2, 4)
    assert (errors.BAD_VALUE, errors.UNKNOWN, errors.BAD_ORDER) == (5, 6, 7)


def test_attributes_and_text() -> None:
    error = PeerError(TRUNCATED, "frame", 3, 38, 4)
    assert (error.code, error.offset, error.expected, error.got) == (TRUNCATED, 3, 38, 4)
    assert str(error) == "frame: expected 38, got 4 at byte 3"
    assert str(LocalError(BAD_VALUE, "key")) == "key"
    assert str(PeerError(BAD_VALUE, "value", got=0)) == "value: expected None, got 0"
    assert str(PeerError(BAD_VALUE, "value", 0)) == "value at byte 0"
