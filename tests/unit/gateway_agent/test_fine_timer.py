"""The fine timer: it calls once, not before its time, and not when it was put off."""

import asyncio
import ctypes
import time

import pytest

from gateway_agent import fine_timer as module
from gateway_agent.fine_timer import FineTimer


async def test_it_calls_once_and_not_early() -> None:
    loop = asyncio.get_running_loop()
    called: list[float] = []
    done = asyncio.Event()

    def on_time() -> None:
        called.append(time.monotonic())
        done.set()

    timer = FineTimer(loop, on_time)
    began = time.monotonic()
    timer.start(2_000_000)
    async with asyncio.timeout(5):
        await done.wait()
    timer.close()
    assert len(called) == 1
    assert called[0] - began >= 0.002


async def test_a_call_that_is_due_in_this_turn_can_still_be_put_off() -> None:
    loop = asyncio.get_running_loop()
    called: list[None] = []
    timer = FineTimer(loop, lambda: called.append(None))
    timer.start(1)
    end = time.monotonic() + 0.002
    while time.monotonic() < end:  # the loop must not see it yet
        pass
    loop.call_soon(timer.start, 60_000_000_000)
    for _ in range(5):
        await asyncio.sleep(0)
    timer.close()
    assert called == []


def test_a_kernel_without_timers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoTimers:
        @staticmethod
        def timerfd_create(clock: int, flags: int) -> int:
            ctypes.set_errno(24)
            return -1

    monkeypatch.setattr(module, "_LIBC", NoTimers)
    loop = asyncio.new_event_loop()
    with pytest.raises(OSError, match="timerfd_create: Too many open files"):
        FineTimer(loop, lambda: None)
    loop.close()
