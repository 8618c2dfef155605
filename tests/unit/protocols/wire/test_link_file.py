"""Files over the link: asked for, sent in parts, stopped, resumed, refused, and never too long."""

import hashlib
import struct

from protocols.wire.errors import BAD_ORDER, BAD_TAG, BAD_VALUE, TOO_LONG, LocalError, PeerError
from protocols.wire.link.file_sink import ASKED, BROKEN, REFUSED, RUNNING, WHOLE, FileSink
from protocols.wire.link.file_source import FileSource
from protocols.wire.link.messages import (
    BEHIND_END,
    FILE,
    FILE_INFO,
    NO_FILE,
    OTHER_FILE,
    PART,
    PICTURE,
)
from protocols.wire.link.ring import MessageRing
from tests.dual import raises

from .link_support import Wire
from .support import Lcg


class Picture:
    """A stored file of random bytes."""

    def __init__(self, size: int, number: int = 1) -> None:
        self.data = bytes(Lcg(size + number).bytes(size))
        self.number = number
        self.size = size
        self.sha256 = hashlib.sha256(self.data).digest()
        self.gone = False

    def read(self, offset: int, out: bytearray, at: int, count: int) -> int:
        if self.gone:
            return 0
        data = self.data[offset : offset + count]
        out[at : at + len(data)] = data
        return len(data)


class Transfer:
    """A source and a sink at the two ends of an open wire."""

    def __init__(self, picture: "Picture | int", wire: "Wire | None" = None) -> None:
        self.picture = picture
        self.wire = wire or Wire()
        self.wire.opened()
        self.source = FileSource(self.wire.node, self.find)
        self.received = bytearray()
        self.came = 0  # bytes

    def find(self, file: int) -> "Picture | int":
        return self.picture if file == PICTURE else NO_FILE

    def write(self, data: "bytes | bytearray | memoryview") -> None:
        self.received += bytes(data)
        self.came += len(data)

    def turn(self, sink: FileSink) -> int:
        """Run until everything that waits has arrived; return the state of the sink."""
        self.source.pump()
        self.wire.run(5)
        for _, message in self.wire.at_node:
            self.source.take(message)
        self.wire.at_node.clear()
        for _, message in self.wire.at_gateway:
            sink.take(message)
        self.wire.at_gateway.clear()
        return sink.state

    def fetch(self, sink: FileSink, turns: int = 200) -> int:
        assert self.wire.gateway.send(FILE, sink.request())
        for _ in range(turns):
            if self.turn(sink) not in (ASKED, RUNNING):
                break
        return sink.state

    def sink(self, file: int = PICTURE, max_size: int = 100_000) -> FileSink:
        return FileSink(file, max_size, self.write)


def test_a_file_arrives_whole() -> None:
    for size in (1, 479, 480, 5000):
        picture = Picture(size)
        transfer = Transfer(picture)
        sink = transfer.sink()
        assert transfer.fetch(sink) == WHOLE
        assert transfer.received == picture.data
        assert (sink.size, sink.number, sink.sha256) == (size, 1, picture.sha256)
        assert not transfer.source.busy


def test_a_file_goes_through_a_queue_smaller_than_a_packet() -> None:
    wire = Wire()
    wire.node._out[FILE]._ring = MessageRing(100)  # type: ignore[union-attr]
    transfer = Transfer(Picture(5000), wire)
    assert transfer.fetch(transfer.sink()) == WHOLE
    assert transfer.received == transfer.find(PICTURE).data  # type: ignore[union-attr]


def test_an_empty_file_is_whole_at_once() -> None:
    transfer = Transfer(Picture(0))
    assert transfer.fetch(transfer.sink()) == WHOLE
    assert transfer.came == 0


def test_a_transfer_goes_on_in_the_next_session_where_it_stopped() -> None:
    transfer = Transfer(Picture(20_000))
    sink = transfer.sink()
    assert transfer.fetch(sink, turns=4) == RUNNING
    stopped_at = sink.offset
    assert 0 < stopped_at < 20_000
    # The node restarts its link: both ends see a new session.
    again = Transfer(transfer.picture, Wire(seed=2))
    again.received = transfer.received
    again_sink = sink
    sink._write = again.write
    assert again.fetch(again_sink) == WHOLE
    assert again.received == again.find(PICTURE).data  # type: ignore[union-attr]


def test_a_transfer_goes_on_after_a_restart_of_the_receiver() -> None:
    picture = Picture(20_000)
    transfer = Transfer(picture)
    transfer.received += picture.data[:7777]
    sink = FileSink(PICTURE, 100_000, transfer.write, picture.sha256)
    sink.resume(picture.data[:7000])
    sink.resume(picture.data[7000:7777])
    assert transfer.fetch(sink) == WHOLE
    assert transfer.received == picture.data
    assert transfer.came == 20_000 - 7777


def test_what_is_here_already_and_damaged_is_found_out() -> None:
    picture = Picture(1000)
    transfer = Transfer(picture)
    sink = FileSink(PICTURE, 100_000, transfer.write, picture.sha256)
    sink.resume(bytes(500))
    transfer.wire.gateway.send(FILE, sink.request())
    error = raises(PeerError, transfer.fetch, sink)
    assert error.code == BAD_TAG
    assert sink.state == BROKEN


def test_resuming_an_unknown_file_is_a_mistake_of_ours() -> None:
    sink = FileSink(PICTURE, 100, lambda data: None)
    assert raises(LocalError, sink.resume, b"1").code == BAD_ORDER


def test_refusals_have_their_reasons() -> None:
    for setup, reason in (
        ((PICTURE, Picture(10), bytes(31) + b"\x01", 0), OTHER_FILE),
        ((2, Picture(10), bytes(32), 0), NO_FILE),
        ((PICTURE, 2, bytes(32), 0), 2),
        ((PICTURE, Picture(10), Picture(10).sha256, 11), BEHIND_END),
    ):
        file, picture, digest, offset = setup
        transfer = Transfer(picture)
        sink = FileSink(file, 100, transfer.write, digest)
        if offset:
            sink.resume(bytes(offset))
        assert transfer.fetch(sink) == REFUSED
        assert sink.reason == reason


def test_a_file_that_is_replaced_meanwhile_is_named_as_such() -> None:
    picture = Picture(20_000)
    transfer = Transfer(picture)
    sink = transfer.sink()
    transfer.fetch(sink, turns=3)
    picture.gone = True
    while transfer.turn(sink) == RUNNING:
        pass
    assert (sink.state, sink.reason) == (REFUSED, OTHER_FILE)


def test_a_stop_ends_the_parts() -> None:
    transfer = Transfer(Picture(100_000))
    sink = transfer.sink()
    transfer.fetch(sink, turns=3)
    transfer.wire.gateway.send(FILE, FileSink.stop())
    for _ in range(4):
        transfer.turn(sink)
    stopped_at = sink.offset
    for _ in range(4):
        transfer.turn(sink)
    assert sink.offset == stopped_at < 100_000
    assert not transfer.source.busy


def test_a_new_get_ends_the_file_before() -> None:
    picture = Picture(100_000)
    transfer = Transfer(picture)
    transfer.fetch(transfer.sink(), turns=3)
    transfer.received = bytearray()
    sink = transfer.sink()
    assert transfer.fetch(sink, turns=1000) == WHOLE
    assert transfer.received == picture.data


def _info(size: int, offset: int = 0, digest: bytes = bytes(32)) -> bytes:
    return struct.pack(">BBII32sI", FILE_INFO, PICTURE, 1, size, digest, offset)


def _part(offset: int, data: bytes) -> bytes:
    return struct.pack(">BI", PART, offset) + data


def test_a_file_longer_than_allowed_or_promised_is_broken() -> None:
    got: list[bytes] = []
    sink = FileSink(PICTURE, 100, got.append)  # type: ignore[arg-type]
    sink.request()
    assert raises(PeerError, sink.take, _info(101)).code == TOO_LONG
    assert sink.state == BROKEN

    sink = FileSink(PICTURE, 100, got.append)  # type: ignore[arg-type]
    sink.request()
    assert sink.take(_info(10)) == RUNNING
    assert sink.take(_part(0, bytes(8))) == RUNNING
    assert raises(PeerError, sink.take, _part(8, bytes(3))).code == TOO_LONG
    assert sink.state == BROKEN
    assert got == [bytes(8)]
    assert sink.take(_part(8, bytes(2))) == BROKEN


def test_a_file_that_changes_its_size_is_broken() -> None:
    digest = b"d" * 32
    for size in (4, 11):
        sink = FileSink(PICTURE, 100, lambda data: None)
        sink.request()
        sink.take(_info(10, digest=digest))
        sink.take(_part(0, bytes(5)))
        sink.request()
        assert raises(PeerError, sink.take, _info(size, 5, digest)).code == BAD_VALUE
        assert sink.state == BROKEN


def test_parts_that_do_not_follow_each_other_break_the_file() -> None:
    for offset in (0, 7, 9, 0xFFFFFFFF):
        sink = FileSink(PICTURE, 100, lambda data: None)
        sink.request()
        sink.take(_info(50))
        sink.take(_part(0, bytes(8)))
        assert raises(PeerError, sink.take, _part(offset, bytes(3))).code == BAD_ORDER


def test_what_is_left_of_an_earlier_transfer_is_ignored() -> None:
    sink = FileSink(PICTURE, 100, lambda data: None)
    sink.request()
    assert sink.take(_part(0, bytes(8))) == ASKED
    assert sink.take(_info(50, offset=8)) == ASKED
    assert sink.take(b"") == ASKED
    assert sink.take(_info(50)) == RUNNING


def test_what_is_no_message_of_a_file_is_counted() -> None:
    transfer = Transfer(Picture(10))
    for message in (b"", b"\x01", b"\x02\x00", bytes(38), b"\x04" + bytes(30)):
        transfer.source.take(message)
    assert transfer.source.malformed == 5
    assert not transfer.source.busy
