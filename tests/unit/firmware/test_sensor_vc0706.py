"""VC0706: the reply parser and the driver against a camera of the protocol, in memory."""

import asyncio

from firmware.sensors.stream import DAMAGED, FRAME, OTHER
from firmware.sensors.vc0706 import ReplyParser, Vc0706
from protocols.wire.registers import CHECKSUM, FAULT, OK, RANGE, TIMEOUT, WARMUP
from tests.dual import vectors
from tests.unit.firmware.fakes import Clock, Uart, growth, heap_locked, noise, outcomes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MOTION = bytes.fromhex("7600390000")
# A picture whose data looks like answers and motion messages.
PICTURE = b"\xff\xd8" + b"\x76\x00\x32\x00\x00" * 40 + MOTION * 9 + b"\xff\xd9"
_SIXTH = 11_008  # of 64 KB, rounded up to whole pieces


class Fake:
    """The camera's end: answers commands; ``spoil`` may change an answer."""

    def __init__(self, picture: bytes = PICTURE) -> None:
        self.picture = picture
        self.commands: list[bytes] = []
        self.stopped = False
        self.motion_on = False
        self.spoil: Callable[[bytes, bytes], bytes] = lambda command, answer: answer

    def answer(self, command: bytes) -> bytes:
        assert command[0] == 0x56
        assert command[3] == len(command) - 4
        self.commands.append(command)
        code = command[2]
        head = bytes((0x76, command[1], code, 0))
        if code == 0x26:
            answer = head + b"\x00VC0703 1.00\r\nInit end\r\n"
        elif code == 0x11:
            answer = head + b"\x0bVC0703 1.00"
        elif code == 0x34:
            answer = head + b"\x04" + len(self.picture).to_bytes(4, "big")
        elif code == 0x32:
            assert command[4:6] == b"\x00\x0a"
            start = int.from_bytes(command[6:10], "big")
            count = int.from_bytes(command[10:14], "big")
            assert start % 8 == 0
            assert count % 8 == 0
            data = self.picture[start : start + count]
            answer = head + b"\x00" + data + bytes(count - len(data)) + head + b"\x00"
        else:
            if code == 0x36:
                self.stopped = command[4] == 0
            elif code == 0x37:
                self.motion_on = command[4] == 1
            answer = head + b"\x00"
        return self.spoil(command, answer)


def started(fake: Fake, piece: int = 64, step: int = 5) -> "tuple[Vc0706, Uart]":
    uart = Uart(fake.answer, piece)
    camera = Vc0706(Clock(step), uart)
    assert asyncio.run(camera.start(0)) == OK
    return camera, uart


def test_reply_vectors_whole_and_byte_by_byte() -> None:
    for vector in vectors("sensors")["vc0706"]["replies"]:
        data = bytes.fromhex(vector["hex"])
        for piece in (len(data), 1):
            parser = ReplyParser()
            parser.expect(vector["command"])
            assert outcomes(parser, b"Init end\r\n" + data, piece) == [FRAME]
            assert parser.status == vector["status"]
            assert bytes(parser.data[: parser.length]) == bytes.fromhex(vector["data"])


def test_only_the_expected_answer_is_taken() -> None:
    parser = ReplyParser()
    parser.expect(0x36)
    assert outcomes(parser, bytes.fromhex("7600340004000000FF"), 64) == []
    assert outcomes(parser, bytes.fromhex("7601360000"), 64) == []  # another camera's number
    assert outcomes(parser, bytes.fromhex("7600360000"), 64) == [FRAME]
    assert outcomes(parser, bytes.fromhex("7600360000"), 64) == []  # nothing asked any more


def test_motion_messages_are_counted_anywhere_between_answers() -> None:
    for text in vectors("sensors")["vc0706"]["motion"]:
        message = bytes.fromhex(text)
        parser = ReplyParser()
        assert outcomes(parser, message, 1) == [OTHER]
        parser.expect(0x36)
        answer = bytes.fromhex("7600360000")
        assert outcomes(parser, message + answer + message, 3) == [OTHER, FRAME, OTHER]
        assert parser.motion == 3
    # The short form, without the last byte, before an answer.
    parser = ReplyParser()
    parser.expect(0x36)
    assert outcomes(parser, MOTION[:4] + bytes.fromhex("7600360000"), 1) == [OTHER, FRAME]


def test_an_answer_longer_than_its_cap_is_not_buffered() -> None:
    parser = ReplyParser()
    parser.expect(0x11)
    assert outcomes(parser, bytes.fromhex("76001100FF") + bytes(255), 64) == []


def test_picture_data_goes_to_its_target_whatever_it_looks_like() -> None:
    head = bytes.fromhex("7600320000")
    data = PICTURE[:128]
    for piece in (1, 5, 64):
        parser = ReplyParser()
        target = bytearray(160)
        parser.expect_piece(target, 16, 128)
        assert outcomes(parser, head + data + head, piece) == [FRAME]
        assert bytes(target) == bytes(16) + data + bytes(16)
        assert parser.motion == 0


def test_picture_data_never_leaves_its_target() -> None:
    head = bytes.fromhex("7600320000")
    parser = ReplyParser()
    target = bytearray(20)
    parser.expect_piece(target, 16, 128)
    assert outcomes(parser, head + b"\xaa" * 128 + head, 64) == [FRAME]
    assert bytes(target) == bytes(16) + b"\xaa" * 4


def test_lost_picture_bytes_are_noticed_at_the_closing_header() -> None:
    head = bytes.fromhex("7600320000")
    parser = ReplyParser()
    parser.expect_piece(bytearray(128), 0, 128)
    assert DAMAGED in outcomes(parser, head + b"\xaa" * 127 + head + b"\x00", 64)


def test_64_kb_of_noise_is_survived_without_growth() -> None:
    data = noise(19, 6 * _SIXTH)
    parser = ReplyParser()
    target = bytearray(128)
    at = 0

    def sixth() -> None:
        nonlocal at
        end = at + _SIXTH
        while at < end:
            if at & 0xFFF == 0:
                parser.reset()
                parser.expect_piece(target, 0, 128)
            at += parser.feed(data, min(64, end - at), at)
            while parser.poll():
                pass

    assert growth(sixth) <= 0
    assert at == len(data)
    parser.reset()
    parser.expect(0x36)
    assert FRAME in outcomes(parser, bytes.fromhex("7600360000"), 64)


def test_parsing_allocates_nothing() -> None:
    parser = ReplyParser()
    target = bytearray(128)
    data = bytes.fromhex("7600320000") + bytes(128) + bytes.fromhex("7600320000") + MOTION

    def work() -> None:
        for _ in range(10):
            parser.expect_piece(target, 0, 128)
            at = 0
            while at < len(data):
                at += parser.feed(data, min(64, len(data) - at), at)
                while parser.poll():
                    pass

    work()
    heap_locked(work)
    assert parser.motion == 20


def test_start_resets_identifies_and_arms() -> None:
    fake = Fake()
    camera, _ = started(fake)
    assert [command[2] for command in fake.commands] == [0x26, 0x11, 0x31, 0x37]
    assert fake.commands[2] == bytes.fromhex("560031050401001922")
    assert camera.version == b"VC0703 1.00"
    assert fake.motion_on


def test_start_waits_for_the_boot_without_holding_the_loop() -> None:
    fake = Fake()
    clock = Clock()
    camera = Vc0706(clock, Uart(fake.answer))
    assert asyncio.run(camera.start(3600)) == WARMUP
    assert fake.commands == []  # powered up: it takes no command yet
    clock.at += 2_500
    assert asyncio.run(camera.start(3600)) == WARMUP
    assert [command[2] for command in fake.commands] == [0x26]
    clock.at += 2_500
    assert asyncio.run(camera.start(3600)) == OK


def test_snapshot_brings_the_picture_in_any_pieces() -> None:
    for piece in (64, 7, 1):
        for extra in range(9):
            picture = PICTURE[:-2] + bytes(extra) + b"\xff\xd9"
            fake = Fake(picture)
            camera, _ = started(fake, piece)
            target = bytearray(512)
            assert asyncio.run(camera.snapshot(target)) == OK
            assert bytes(target[: camera.length]) == picture
            assert not fake.stopped
            assert fake.motion_on
            if piece < 64:
                break


def test_padding_behind_the_end_mark_is_cut_off() -> None:
    fake = Fake(PICTURE + bytes(3))
    camera, _ = started(fake)
    assert asyncio.run(camera.snapshot(bytearray(512))) == OK
    assert camera.length == len(PICTURE)


def test_a_picture_without_start_or_end_is_damaged() -> None:
    for picture in (b"\x00" + PICTURE[1:], PICTURE[:-1] + b"\x00", PICTURE + bytes(40)):
        fake = Fake(picture)
        camera, _ = started(fake)
        assert asyncio.run(camera.snapshot(bytearray(512))) == CHECKSUM
        assert camera.length == 0
        assert not fake.stopped, "the camera must go on after a bad picture"


def test_a_length_that_cannot_be_is_out_of_range() -> None:
    for picture in (b"", bytes(513), bytes(70000)):
        camera, _ = started(Fake(picture))
        assert asyncio.run(camera.snapshot(bytearray(512))) == RANGE


def test_a_refusal_is_a_fault() -> None:
    fake = Fake()
    camera, _ = started(fake)
    fake.spoil = lambda command, answer: (
        bytes((0x76, 0, 0x36, 4, 0)) if command[2] == 0x36 else answer
    )
    assert asyncio.run(camera.snapshot(bytearray(512))) == FAULT


def test_a_lost_piece_is_asked_for_again() -> None:
    fake = Fake()
    camera, _ = started(fake, step=20)
    lost: list[int] = []

    def lose_one(command: bytes, answer: bytes) -> bytes:
        if command[2] == 0x32 and command[9] == 128 and not lost:
            lost.append(1)
            return answer[:50]
        return answer

    fake.spoil = lose_one
    target = bytearray(512)
    assert asyncio.run(camera.snapshot(target)) == OK
    assert lost
    assert bytes(target[: camera.length]) == PICTURE


def test_a_camera_that_vanishes_is_a_timeout_and_starts_again() -> None:
    fake = Fake()
    camera, uart = started(fake, step=20)
    uart.answer = None
    assert asyncio.run(camera.snapshot(bytearray(512))) == TIMEOUT
    assert asyncio.run(camera.start(0)) == TIMEOUT
    uart.answer = fake.answer
    fake.commands = []
    assert asyncio.run(camera.start(0)) == OK
    assert fake.commands[0][2] == 0x26
    assert asyncio.run(camera.snapshot(bytearray(512))) == OK


def test_motion_is_collected_between_pictures() -> None:
    fake = Fake()
    camera, uart = started(fake)
    uart.rx += MOTION
    camera.pump()
    assert camera.motion == 1
    uart.rx += MOTION  # stands in the line when the next command begins
    assert asyncio.run(camera.snapshot(bytearray(512))) == OK
    assert camera.motion == 2
