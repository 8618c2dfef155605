"""Files over the link: who may have which, what the node notes of it, and what stays meanwhile."""

import hashlib
import json

from protocols.wire.link.file_sink import REFUSED, RUNNING, WHOLE, FileSink
from protocols.wire.link.messages import (
    ANY_FILE,
    BEHIND_END,
    EVENTS,
    FAULT_RECORD,
    FILE,
    LOG,
    NO_FILE,
    NODE_LOG,
    NOT_ALLOWED,
    OTHER_FILE,
    PICTURE,
    STOP,
)
from protocols.wire.registers import (
    EVENT_IMAGE_ASKED,
    EVENT_IMAGE_EXPORT,
    EVENT_IMAGE_REFUSED,
    EVENT_IMAGE_SENT,
    setting_address,
)
from tests.unit.firmware.link_bench import LinkBench, LinkBoard

EXPORT = setting_address("image_export")


class Camera(LinkBench):
    """A camera node whose images may leave, with an open session."""

    def __init__(self, export: int = 1, size: int = 5000) -> None:
        LinkBench.__init__(self, "camera")
        image = self.role.image
        assert image is not None
        self.image = image
        self.show(size, 3)
        self.node.config.set_many(EXPORT, [export])
        self.open()
        self.steps(200)

    def show(self, size: int, number: int) -> None:
        """Put a picture where the camera would."""
        image = self.image
        image.data = bytearray([(7 * index + number) & 0xFF for index in range(size)])
        image.length = size
        image.number = number
        image.sha = hashlib.sha256(image.data).digest()

    def codes(self) -> "list[tuple[int, int]]":
        """Events of images, with their arguments."""
        return [(code, arg) for code, arg, _ in self.node.events.slots() if code >= 14]

    def fetch(self, sink: FileSink) -> int:
        """Ask, and take parts until it is whole or refused; the state."""
        self.got = []
        assert self.gateway.send(FILE, sink.request())
        self.until(lambda: self.take(sink) not in (0, RUNNING))
        return sink.state

    def take(self, sink: FileSink) -> int:
        for message in self.messages(FILE):
            sink.take(message)
        self.got = [(channel, message) for channel, message in self.got if channel != FILE]
        return sink.state


def sink_of(file: int, sha256: bytes = ANY_FILE) -> "tuple[FileSink, bytearray]":
    data = bytearray()
    return FileSink(file, 1 << 20, data.extend, sha256), data


def test_a_picture_leaves_whole_and_both_ends_of_it_are_events() -> None:
    bench = Camera()
    sink, data = sink_of(PICTURE)
    assert bench.fetch(sink) == WHOLE
    assert (sink.number, sink.size, sink.sha256) == (3, 5000, bench.image.sha)
    assert bytes(data) == bytes(bench.image.data)
    assert bench.codes() == [(EVENT_IMAGE_ASKED, 3), (EVENT_IMAGE_SENT, 3)]
    shown = bytes(bench.node.event_frame.shown())
    bench.steps(30)
    assert shown in bench.messages(EVENTS), "an event of the link itself leaves at once too"
    assert not bench.image.held


def test_no_picture_leaves_while_the_switch_is_off() -> None:
    bench = Camera(export=0)
    sink, data = sink_of(PICTURE)
    for _ in range(3):
        assert bench.fetch(sink) == REFUSED
        assert sink.reason == NOT_ALLOWED
    assert not data
    assert not bench.image.held
    assert bench.codes() == [(EVENT_IMAGE_REFUSED, 1)], "at most one event a minute"
    for _ in range(7):
        bench.step(10_000)
    bench.fetch(sink)
    assert bench.codes()[1:] == [(EVENT_IMAGE_REFUSED, 4)]


def test_the_switch_ends_a_transfer() -> None:
    bench = Camera()
    sink, data = sink_of(PICTURE)
    bench.gateway.send(FILE, sink.request())
    bench.until(lambda: bench.take(sink) == RUNNING and len(data) > 1000)
    bench.node.config.set_many(EXPORT, [0])
    bench.until(lambda: bench.take(sink) == REFUSED)
    assert sink.reason == NOT_ALLOWED
    assert len(data) < 4000
    assert [code for code, _ in bench.codes()] == [EVENT_IMAGE_ASKED]
    assert EVENT_IMAGE_EXPORT in [code for code, _, _ in bench.node.events.slots()]


def test_a_picture_is_held_until_it_has_arrived() -> None:
    bench = Camera()
    sink, data = sink_of(PICTURE)
    bench.gateway.send(FILE, sink.request())
    bench.until(lambda: bench.take(sink) == RUNNING and len(data) > 1000)
    assert bench.image.held
    # The session breaks off; a new one goes on where it stopped.
    bench.silence(20_000)
    assert bench.image.held
    bench.connect()
    bench.open()
    bench.steps(50)
    assert bench.image.held
    rest, more = sink_of(PICTURE, sink.sha256)
    rest.resume(data)
    assert bench.fetch(rest) == WHOLE
    assert bytes(data + more) == bytes(bench.image.data)
    assert bench.codes() == [(EVENT_IMAGE_ASKED, 3), (EVENT_IMAGE_SENT, 3)]
    bench.steps(100)
    assert not bench.image.held


def test_a_picture_that_nobody_wants_any_more_is_let_go() -> None:
    bench = Camera()
    sink, data = sink_of(PICTURE)
    bench.gateway.send(FILE, sink.request())
    bench.until(lambda: bench.take(sink) == RUNNING and len(data) > 1000)
    bench.gateway.send(FILE, bytes((STOP,)))
    bench.silence(58_000)
    assert bench.image.held
    bench.silence(4_000)
    assert not bench.image.held


def test_what_changed_or_ends_before_is_refused() -> None:
    bench = Camera()
    other, _ = sink_of(PICTURE, hashlib.sha256(b"another").digest())
    assert bench.fetch(other) == REFUSED
    assert other.reason == OTHER_FILE
    assert bench.get(PICTURE, 5001)[2] == BEHIND_END
    assert bench.get(PICTURE, 5000)[:2] == bytes((3, PICTURE))
    assert bench.get(9)[2] == NO_FILE
    bench.show(5000, 0)
    assert bench.get(PICTURE)[2] == NO_FILE


def test_other_nodes_have_no_picture() -> None:
    bench = LinkBench("air")
    bench.open()
    assert bench.get(PICTURE)[2] == NO_FILE


def test_the_log_is_a_file() -> None:
    bench = LinkBench("air")
    bench.node.link.note(2, "first")  # type: ignore[union-attr]  # it has one
    bench.open()
    bench.messages_of(LOG, 3)
    first = bench.get(NODE_LOG)
    size = int.from_bytes(first[6:10], "big")
    text = b"".join(message[5:] for message in bench.messages_of(FILE, 2)[1:])
    assert len(text) == size
    lines = text.decode().split("\n")
    assert lines[:2] == ["0 information boot 1, reset cause 0", "0 warning first"]
    assert lines[2].endswith(" information link: open")
    assert lines[3] == ""


def test_the_last_fault_is_a_file() -> None:
    board = LinkBoard()
    bench = LinkBench(board=board)
    bench.open()
    assert bench.get(FAULT_RECORD)[2] == NO_FILE
    board.fault = ("hard", "bus", 1, 2, 3, 4, 55)
    bench.get(FAULT_RECORD)
    record = json.loads(bench.messages_of(FILE, 2)[1][5:].decode())
    assert (record["last_fault"], record["text"], record["uptime_ms"]) == ("hard", "bus", 55)
