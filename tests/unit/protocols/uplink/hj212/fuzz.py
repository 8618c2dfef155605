"""Whatever bytes come, the reader gives frames or rejections; ``tests.fuzz`` runs it long."""

from random import Random

from protocols.uplink.hj212 import (
    MAX_READ_SEGMENT,
    AcceptedFrame,
    ChecksumKind,
    Hj212Dialect,
    Hj212Error,
    Hj212Reader,
    QnForm,
    write_frame,
)
from protocols.uplink.hj212.checksum import hj_checksum
from protocols.uplink.hj212.sm4 import Sm4Text
from protocols.wire.errors import LocalError

from .vectors import VECTORS

CORPUS = [row["frame"].encode() for row in VECTORS["frames"]]
CORPUS += [bytes.fromhex(row["frame"]) for row in VECTORS["text"]]
_KEY = Sm4Text(b"0" * 16)


def one_input(data: bytes) -> None:
    """Read one input; AssertionError and every other error is a finding."""
    if not data:
        return
    kind = ChecksumKind.MODBUS if data[0] & 1 else ChecksumKind.HJ
    size = 1 + (data[0] >> 2)
    whole = Hj212Reader(kind, _KEY.decrypt if data[0] & 2 else None)
    cut = Hj212Reader(whole.kind, whole.decrypt)
    stream = data[1:]
    found = whole.feed(stream) + whole.silence()
    pieces = [
        item for at in range(0, len(stream), size) for item in cut.feed(stream[at : at + size])
    ]
    assert cut.held <= MAX_READ_SEGMENT + 10
    pieces += cut.silence()
    assert whole.held == cut.held == 0
    accepted = [item for item in found if isinstance(item, AcceptedFrame)]
    assert accepted == [item for item in pieces if isinstance(item, AcceptedFrame)]
    for item in found:
        if isinstance(item, AcceptedFrame):
            assert len(item.raw) <= MAX_READ_SEGMENT + 10
            _write_again(item, kind)
        else:
            assert isinstance(item.error, Hj212Error)
            assert len(item.raw) <= 160
            assert str(item.error).isprintable()


def _write_again(found: AcceptedFrame, kind: ChecksumKind) -> None:
    """What the writer allows of what was read means the same when it is read again."""
    for form in QnForm:
        try:
            frame = write_frame(found.message, Hj212Dialect(kind, qn=form, split_flag_alone=True))
        except LocalError:
            continue
        (again,) = Hj212Reader(kind).feed(frame)
        assert isinstance(again, AcceptedFrame), again
        assert again.message == found.message


def damaged(seed: int) -> bytes:
    """Return published frames with faults: flips, cuts, repeats, checksums made right again."""
    random = Random(seed)
    parts = [random.randbytes(1)]
    for _ in range(random.randrange(1, 6)):
        frame = bytearray(random.choice(CORPUS))
        for _ in range(random.choice((0, 0, 1, 1, 4))):
            at = random.randrange(len(frame))
            operation = random.randrange(5)
            if operation == 0:
                frame[at] ^= 1 << random.randrange(8)
            elif operation == 1:
                del frame[at : at + random.randrange(1, 30)]
            elif operation == 2:
                frame[at:at] = random.choice((b"##", b"&&", b";", b",", b"=", b"//", b"\r\n", b"#"))
            elif operation == 3:
                frame[at:at] = frame[random.randrange(len(frame)) :][:40]
            else:
                frame[at:at] = random.randbytes(random.randrange(1, 20))
            if not frame:
                frame += b"#"
        if random.random() < 0.5 and len(frame) > 10:  # past LEN and checksum to what is behind
            segment = bytes(frame[6:-4])
            frame = bytearray(b"##%04d%b%04X" % (len(segment), segment, hj_checksum(segment)))
        parts += [bytes(frame), random.choice((b"\r\n", b"", b"\n", b"#"))]
    return b"".join(parts)
