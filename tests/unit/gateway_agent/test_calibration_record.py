"""What a technician left in a node comes into the stream with its event, or the event waits."""

import struct
from pathlib import Path

import pytest

from protocols.uplink import ACTION, EVENTS, Action

from .frames_of_nodes import event_frame
from .slave import Reply, raw_answer, refusal, registers, until
from .test_poller import NODE, Bench, run

PH = (
    struct.pack(">7H", 7, 20785, 29789, 700, 32000, 400, 997)
    + b"B0412".ljust(16, b"\0")
    + b"B\x1b388".ljust(16, b"\0")
    + b"wang".ljust(16, b"\0")
)
LEVEL = (
    struct.pack(">7H", 0xFFFF, 20785, 1953, 850, 2803, 0, 0)
    + b"P3".ljust(16, b"\0")
    + bytes(16)
    + b"wang".ljust(16, b"\0")
)
CALIBRATION = 18
POINT = 5  # of an air node: temperature, in 0.01 degrees


def calibrated(bench: Bench, record: bytes, point: int = 0, what: int = 2, silent: int = 0) -> None:
    """Let the node show one event about a point, and its record after ``silent`` requests."""
    polled = bench.slave.handler
    left = [silent]

    def handle(request: bytes) -> list[Reply]:
        _, function, address, count = registers(request)
        if function == 3:
            assert (address, count) == (0x1C0 + point, 31)
            left[0] -= 1
            if left[0] >= 0:
                return []
            return [(0, raw_answer(1, record, 3) if record else refusal(1, 3, 2))]
        if request[0] == 1 and address == 0x100:
            return [(0, raw_answer(1, event_frame(5, 1, (CALIBRATION,), arg=point << 8 | what)))]
        return list(polled(request))

    bench.slave.handler = handle
    bench.line.events = 1
    bench.line.seq += 1


@pytest.mark.parametrize(
    ("record", "action"),
    [
        (
            PH,
            Action(
                "calibration",
                "wang",
                POINT,
                "temperature on 2026-11-28: 7 = raw 29789 (lot B0412), 4 = raw 32000"
                " (lot B\\x1b388); slope 99.7 %",
            ),
        ),
        (
            LEVEL,
            Action(
                "calibration",
                "wang",
                POINT,
                "temperature on 2026-11-28: distance 1953 at level 850: zero 2803; gauge P3",
            ),
        ),
        (b"", None),
    ],
)
async def test_the_record_stands_behind_the_event(
    tmp_path: Path, record: bytes, action: Action | None
) -> None:
    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        calibrated(bench, record, POINT)
        await until(lambda: any(item.kind == ACTION for item in bench.sink.of(NODE)))

    bench = await run(tmp_path, test)
    kinds = [item.kind for item in bench.sink.of(NODE) if item.kind in (ACTION, EVENTS)]
    assert kinds == [EVENTS, ACTION]
    (found,) = [item.action for item in bench.sink.of(NODE) if item.kind == ACTION]
    assert found is not None
    if action is None:
        assert found.name == "calibration"
        assert "the node does not show its record" in found.detail
    else:
        assert found == action


async def test_the_event_waits_for_a_record_that_does_not_come(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        calibrated(bench, PH, silent=2)
        await until(lambda: bench.sink.seqs() == [1, 2])
        assert not any(item.kind == EVENTS for item in bench.sink.of(NODE))
        await until(lambda: any(item.kind == ACTION for item in bench.sink.of(NODE)))

    bench = await run(tmp_path, test)
    kinds = [item.kind for item in bench.sink.of(NODE) if item.kind in (ACTION, EVENTS)]
    assert kinds == [EVENTS, ACTION]


async def test_begin_and_end_of_a_calibration_have_no_record(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        calibrated(bench, PH, what=1)
        await until(lambda: any(item.kind == EVENTS for item in bench.sink.of(NODE)))

    bench = await run(tmp_path, test)
    assert not any(item.kind == ACTION for item in bench.sink.of(NODE))
    assert not any(request[1] == 3 for request in bench.slave.requests)
