"""A master's request between any two instructions of sampling, and the other way round.

On a node both run in one thread and never meet like this; the frames hold even if they did, as in
a port that served the line from an interrupt.
"""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from firmware.node.reading import Reading
from protocols.wire.hmac import HmacSha256
from protocols.wire.registers import EVENT_ADDRESS, EVENT_SENSOR, EVENT_WORDS, OK, RegisterMap
from protocols.wire.sample import decode, decode_events, verify
from tests.unit.firmware.node_fakes import KEY_BYTES, UID, make_bank

MAC = HmacSha256(KEY_BYTES)


def at_every_instruction(work: Callable[[], object], intrude: Callable[[], None]) -> int:
    """Run ``work`` and call ``intrude`` before each of its instructions; how many there were."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:  # a trace function's own type
        nonlocal count
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            count += 1
            intrude()
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(former)
    return count


def at_instruction(number: int, work: Callable[[], object], intrude: Callable[[], None]) -> None:
    """Run ``work`` and call ``intrude`` once, before its instruction ``number``."""
    left = number

    def once() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            intrude()

    at_every_instruction(work, once)


@pytest.mark.parametrize("role", ["air", "water", "camera"])
def test_requests_between_the_instructions_of_a_sample(role: str) -> None:
    bank = make_bank(role)
    frames = bank.sample
    words = frames.map.words
    points = len(frames.map.points)
    out = bytearray(256)
    seen: list[bytes] = []

    def request() -> None:
        assert bank.read_input(0, words, out, 3) == 0
        frame = bytes(out[3 : 3 + 2 * words])
        if not seen or frame != seen[-1]:
            seen.append(frame)
        assert (frames.seq, frames.readings) == (len(seen) - 1, points * (len(seen) - 1))

    request()
    for number in range(1, 4):
        reading = _reading(frames.map, 30 + number)

        def sample(reading: Reading = reading, number: int = number) -> None:
            frames.show(reading, 1000 * number, 0, 0)

        assert at_every_instruction(sample, request) > 500
        request()
        assert len(seen) == number + 1, "a frame that is neither the old nor the new one"
    for number, frame in enumerate(seen):
        verify(frame, MAC, UID)
        decoded = decode(frame)
        assert decoded.header.seq == number
        assert decoded.raw == (30 + number if number else 0,) * points


def test_a_sample_between_the_instructions_of_a_request() -> None:
    still = make_bank()
    total = at_every_instruction(lambda: _read(still), lambda: None)
    assert total > 10
    for number in range(1, total + 1):
        bank = make_bank()
        frames = bank.sample
        reading = _reading(frames.map, 5)
        old = bytes(frames.shown())
        got: list[bytes] = []

        def request(bank: Any = bank, got: list[bytes] = got) -> None:
            got.append(_read(bank))

        def sample(frames: Any = frames, reading: Reading = reading) -> None:
            frames.show(reading, 1, 0, 0)

        at_instruction(number, request, sample)
        new = bytes(frames.shown())
        assert new != old
        assert got in ([old], [new]), f"torn at instruction {number}"


def _reading(map: RegisterMap, value: int) -> Reading:
    reading = Reading(map)
    reading.all(OK)
    reading.raw[:] = [value] * len(map.points)
    reading.grade(0xFFFF)
    return reading


def _read(bank: Any) -> bytes:
    out = bytearray(256)
    words = bank.sample.map.words
    assert bank.read_input(0, words, out, 3) == 0
    return bytes(out[3 : 3 + 2 * words])


def test_requests_between_the_instructions_of_an_event() -> None:
    from firmware.node.events import Events

    bank = make_bank()
    events = Events()
    bank.events.show(events, 0, 0)
    out = bytearray(256)
    numbers: list[int] = []

    def request() -> None:
        assert bank.read_input(EVENT_ADDRESS, EVENT_WORDS, out, 3) == 0
        frame = bytes(out[3 : 3 + 2 * EVENT_WORDS])
        verify(frame, MAC, UID)
        header, held = decode_events(frame)
        assert [event.arg for event in held] == list(range(1, header.seq + 1))
        numbers.append(header.seq)

    def push() -> None:
        events.push(EVENT_SENSOR, events.count + 1, 0)
        bank.events.show(events, 0, 0)

    for _ in range(2):
        at_every_instruction(push, request)
    assert numbers == sorted(numbers)
    assert set(numbers) == {0, 1, 2}
