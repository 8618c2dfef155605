"""What must not stop a node: noise on the line, and a program that hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Final

import pytest

from gateway_agent.field.master import Master
from hil.bench import FAST, Bench
from hil.engines.abilities import Capability, HasRepl
from hil.site.heap import Heap, read_heap
from hil.site.polls import PollCounts, Target, poll, poll_many
from hil.testing.fixtures import MakeBench, MakeDeadline

pytestmark = pytest.mark.asyncio
MakeMaster = Callable[..., Master]

#: Twice: a leak grows with each dose, what is allocated once and kept does not.
DOSES: Final = 2
DOSE_BYTES: Final = 32 * 1024
CHUNK: Final = 128
#: A late answer is the fault of a busy host, not of a node.
PATIENT_MS: Final = 1000
#: Between chunks: a line at 115200 baud is no faster.
CHUNK_S: Final = 0.012
#: One sample in an hour: after the first only requests change the heap. On the slowest line this
#: much noise would take more than a minute.
STILL: Final = {**FAST, "sample_period_ds": 36000, "baud_div_100": 1152}


@pytest.mark.timeout(300)
async def test_64_kilobytes_of_noise_neither_hang_nor_reset_nor_leak(
    make_bench: MakeBench, make_master: MakeMaster, deadline: MakeDeadline
) -> None:
    bench = await make_bench(("air",), settings=STILL)
    board = bench.nodes["air"]
    target = Target.of(board.spec)

    async def answers(polls: int) -> None:
        master = make_master(bench, timeout_ms=PATIENT_MS)
        limit = deadline(20, board)
        # Parts that do not answer are waited for in the self-test and the first sample, which hold
        # their own coroutines and leave others behind than a node has that only serves.
        while (sample := await poll(master, target, PollCounts())) is None or not sample.header.seq:
            assert not await limit.expired(), f"no sample within 20 s: {sample}"
        counts = await poll_many(master, [target], polls)
        assert counts.proved == polls, counts
        master.close()

    async def heap() -> Heap:
        await answers(50)
        await read_heap(bench, board)
        return await read_heap(bench, board)

    async def noise() -> None:
        heard = bench.line.traffic("air").heard
        for _ in range(DOSE_BYTES // CHUNK):
            bench.line.noise(CHUNK)
            await asyncio.sleep(CHUNK_S)  # the pace of the line, nothing is waited for
        # A line in the boards' time is as slow as they are.
        await deadline(20, board).until(
            lambda: bench.line.traffic("air").heard - heard >= 0.99 * DOSE_BYTES, "the noise, heard"
        )

    looks = [await heap()]
    for _ in range(DOSES):
        await noise()
        looks.append(await heap())
    used = [look.used for look in looks]
    assert min(later - earlier for earlier, later in pairwise(used)) <= 0, f"heap in use: {used}"
    # It never started anew: its count of answers goes on, and so does its epoch.
    assert looks[-1].polls >= looks[0].polls + DOSES * 52
    master = make_master(bench, timeout_ms=PATIENT_MS)
    sample = await poll(master, target, counts := PollCounts())
    assert sample is not None, counts
    assert sample.header.boot_epoch == board.boot["boot_epoch"]


@pytest.mark.needs(Capability.REPL)
@pytest.mark.timeout(900)
async def test_watchdog_restarts_a_wedged_node(
    node_bench: Bench, make_master: MakeMaster, deadline: MakeDeadline
) -> None:
    board = node_bench.nodes["air"]
    assert isinstance(board, HasRepl)
    await board.repl().interrupt(15)
    board.repl().write(b"while True: pass\r\n\r\n")
    boot = await board.console.wait_json("boot_epoch", 40)
    assert boot["role"] == "air"
    master, target, counts = make_master(node_bench), Target.of(board.spec), PollCounts()
    limit = deadline(20, board)
    while await poll(master, target, counts) is None:
        assert not await limit.expired(), f"no answer after the watchdog's reset: {counts}"
    assert not counts.wrong


@pytest.mark.needs(Capability.REPL, Capability.RESET_CAUSE)
@pytest.mark.timeout(180)
async def test_the_watchdog_is_named_as_the_cause(node_bench: Bench) -> None:
    board = node_bench.nodes["air"]
    assert isinstance(board, HasRepl)
    await board.repl().interrupt(15)
    board.repl().write(b"while True: pass\r\n\r\n")
    boot = await board.console.wait_json("boot_epoch", 40)
    assert boot["reset_cause"] == 2
