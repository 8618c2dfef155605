"""The pause between an answer and the next request, in simulated time: t3.5, and nothing more."""

import asyncio
import contextlib
import os
import tty
from collections.abc import Awaitable, Callable, Iterable

import pytest

from gateway_agent.config import SerialBus
from gateway_agent.counters import Counters
from gateway_agent.field import line_silence, serial_line
from gateway_agent.field.line_silence import LEAD_S
from gateway_agent.field.master import Master

from .line_help import TEN
from .line_time import SimulatedLine, SimulatedLoop, SimulatedTimer
from .slave import until

T35_S = {9600: 0.003646, 19200: 0.001823, 115200: 0.00175}  # 8N1; V1.02, section 2.5.1.1
TURNAROUND_S = 0.005
STEPS_S = 0.00002  # what reading the clock takes in all
POLLS = 20

Test = Callable[[Master, SimulatedLoop], Awaitable[None]]


def on_line(
    monkeypatch: pytest.MonkeyPatch,
    test: Test,
    baudrate: int,
    latency_s: float = 0.0,
    *,
    read_s: float = 0.0,
    stray: Iterable[float] = (),
) -> SimulatedLine:
    """Run a test with a master on a simulated line; return the line."""
    lines: list[SimulatedLine] = []

    def open_line(bus: SerialBus, link: asyncio.Protocol) -> SimulatedLine:
        lines.append(SimulatedLine(link, bus.baudrate, TURNAROUND_S, stray))
        lines[-1].read_s = read_s
        return lines[-1]

    async def run() -> None:
        bus = SerialBus(name="b", port="/dev/null", baudrate=baudrate, device=())
        master = Master(bus, Counters())
        try:
            await test(master, loop)
        finally:
            master.close()

    monkeypatch.setattr(serial_line, "SerialLine", open_line)
    monkeypatch.setattr(line_silence, "FineTimer", SimulatedTimer)
    loop = SimulatedLoop(latency_s)
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
    (line,) = lines
    return line


def polling(handling_s: float = 0.0) -> Test:
    """Poll again and again; what is done with an answer takes ``handling_s``."""

    async def test(master: Master, loop: SimulatedLoop) -> None:
        for _ in range(POLLS):
            await master.read(TEN)
            loop.work(handling_s)

    return test


def share(line: SimulatedLine, t35_s: float) -> float:
    """The polls made, of those that were possible with pauses of exactly t3.5."""
    possible_s = sum(line.busy_s[:-1]) + len(line.pauses) * t35_s
    return possible_s / (line.sent_at[-1] - line.sent_at[0])


@pytest.mark.parametrize("baudrate", T35_S)
@pytest.mark.parametrize("latency_s", [0.0, LEAD_S / 2, LEAD_S - STEPS_S])
@pytest.mark.parametrize("handling", [0.0, 0.5, 0.9])
def test_a_request_leaves_at_t35_however_long_the_answer_was_handled(
    monkeypatch: pytest.MonkeyPatch, baudrate: int, latency_s: float, handling: float
) -> None:
    t35_s = T35_S[baudrate]
    line = on_line(monkeypatch, polling(handling * t35_s), baudrate, latency_s)
    assert len(line.pauses) == POLLS - 1
    assert min(line.pauses) >= t35_s
    assert max(line.pauses) <= t35_s + STEPS_S
    assert share(line, t35_s) >= 0.99


@pytest.mark.parametrize("baudrate", T35_S)
def test_a_late_wake_up_costs_what_it_is_late_and_no_more(
    monkeypatch: pytest.MonkeyPatch, baudrate: int
) -> None:
    late_s = 0.0003
    line = on_line(monkeypatch, polling(), baudrate, LEAD_S + late_s)
    assert min(line.pauses) >= T35_S[baudrate] + late_s
    assert max(line.pauses) <= T35_S[baudrate] + late_s + STEPS_S


@pytest.mark.parametrize("baudrate", T35_S)
def test_an_answer_that_is_handled_for_longer_than_t35_delays_by_that_alone(
    monkeypatch: pytest.MonkeyPatch, baudrate: int
) -> None:
    handling_s = 2 * T35_S[baudrate]
    line = on_line(monkeypatch, polling(handling_s), baudrate, LEAD_S / 2)
    assert min(line.pauses) >= handling_s
    assert max(line.pauses) <= handling_s + STEPS_S


def test_the_silence_counts_from_the_moment_an_answer_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its last byte may have come as late as that."""
    line = on_line(monkeypatch, polling(), 19200, read_s=0.004)
    assert min(line.pauses) >= T35_S[19200] + 0.004
    assert max(line.pauses) <= T35_S[19200] + 0.004 + STEPS_S


def test_a_byte_that_comes_during_the_silence_begins_a_longer_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = on_line(monkeypatch, polling(), 19200, stray=(0.001,))
    quiet_s = SerialBus(name="b", port="x", device=()).quiet_ms / 1000
    assert min(line.pauses) >= quiet_s
    assert max(line.pauses) <= quiet_s + STEPS_S


def test_a_line_that_never_falls_silent_is_used_after_two_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(master: Master, loop: SimulatedLoop) -> None:
        for _ in range(2):
            await master.read(TEN)
        assert loop.fine, "it babbles still"

    line = on_line(monkeypatch, test, 19200, stray=[0.001 * count for count in range(1, 4000)])
    between_s = line.sent_at[1] - line.sent_at[0] - line.busy_s[0]
    assert 2.0 <= between_s <= 2.002


def test_a_pause_that_a_device_needs_is_kept_as_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(master: Master, loop: SimulatedLoop) -> None:
        bus = SerialBus(name="b", port="x", baudrate=19200, request_gap_ms=20, device=())
        spaced = Master(bus, Counters())
        for _ in range(POLLS):
            await spaced.read(TEN)
        spaced.close()

    line = on_line(monkeypatch, test, 19200, LEAD_S / 2)
    assert min(line.pauses) >= 0.02
    assert max(line.pauses) <= 0.02 + 2 * STEPS_S


async def test_closing_ends_the_wait() -> None:
    bus = SerialBus(name="b", port="x", baudrate=300, device=())
    silence = line_silence.LineSilence(bus)
    silence.restart()
    task = asyncio.ensure_future(silence.until(asyncio.get_running_loop().time() + 3600))
    await asyncio.sleep(0)
    silence.close()
    async with asyncio.timeout(5):
        await task


async def test_without_a_descriptor_the_loop_s_timer_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(24, "timerfd_create: Too many open files")

    monkeypatch.setattr(line_silence, "FineTimer", none)
    silence = line_silence.LineSilence(SerialBus(name="b", port="x", device=()))
    began = asyncio.get_running_loop().time()
    silence.restart()
    async with asyncio.timeout(5):
        await silence.fall()
    silence.hold()
    assert asyncio.get_running_loop().time() - began >= T35_S[9600]


async def test_what_a_port_does_not_take_at_once_is_written_later() -> None:
    far, near = os.openpty()
    tty.setraw(far)
    tty.setraw(near)
    os.set_blocking(far, False)
    bus = SerialBus(name="b", port=os.ttyname(near), device=())
    line = serial_line.SerialLine(bus, asyncio.Protocol())
    requests = [bytes((count % 256,)) * 8 for count in range(4000)]
    try:
        for request in requests:
            line.write(request)
        assert line.intern_write_buffer, "the test needs a port that is full"
        came = bytearray()

        def all_came() -> bool:
            with contextlib.suppress(BlockingIOError):
                came.extend(os.read(far, 65536))
            return len(came) >= 8 * len(requests)

        await until(all_came)
        assert came == b"".join(requests)
    finally:
        line.close()
        os.close(far)
        os.close(near)
