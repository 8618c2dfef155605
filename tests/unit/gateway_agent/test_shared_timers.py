"""Waits that end in one millisecond have one timer, none ends early, and a bad one ends alone."""

import asyncio

import pytest

from gateway_agent.field.shared_timers import SharedTimers


async def test_waits_of_one_millisecond_share_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    set_for: list[float] = []
    call_at = loop.call_at

    def noted(when: float, *arguments: object) -> asyncio.TimerHandle:
        set_for.append(when)
        return call_at(when, *arguments)  # type: ignore[arg-type] # as the caller has them

    monkeypatch.setattr(loop, "call_at", noted)
    timers, begin = SharedTimers(), loop.time()
    due = (int(begin * 1000) + 20) / 1000
    ended: list[float] = []
    over = asyncio.Event()
    for step in range(100):  # 99 in the millisecond before ``due``, and one in the next
        timers.call_at(due - step * 1e-5, lambda: ended.append(loop.time()))
    timers.call_at(due + 1e-4, over.set)
    await over.wait()
    assert len(ended) == 100
    assert min(ended) >= due
    assert len(set_for) == 2


async def test_a_sleep_is_as_long_as_asked_and_may_be_cancelled() -> None:
    loop, timers = asyncio.get_running_loop(), SharedTimers()
    begin = loop.time()
    gone = asyncio.create_task(timers.sleep(0.01))
    await asyncio.sleep(0)
    gone.cancel()
    await timers.sleep(0.02)
    assert loop.time() - begin >= 0.02
    assert gone.cancelled()


async def test_an_exception_costs_the_others_nothing() -> None:
    loop, timers = asyncio.get_running_loop(), SharedTimers()
    found: list[object] = []
    loop.set_exception_handler(lambda _, context: found.append(context["exception"]))

    def broken() -> None:
        raise OSError("this one")

    over = asyncio.Event()
    when = loop.time()
    timers.call_at(when, broken)
    timers.call_at(when, over.set)
    await asyncio.wait_for(over.wait(), 5)
    assert [str(error) for error in found] == ["this one"]
