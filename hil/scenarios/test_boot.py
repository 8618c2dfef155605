"""From power on to the first valid answer, and what survives a power cut."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway_agent.field.master import Master
from hil.bench import Bench
from hil.engines.abilities import Capability, WarmReset
from hil.site.polls import PollCounts, Target, poll
from hil.testing.fixtures import MakeBench, MakeDeadline
from protocols.wire.registers import NO_SAMPLE, OK, WARMUP, map_of_role

pytestmark = pytest.mark.asyncio
MakeMaster = Callable[..., Master]


@pytest.mark.parametrize("role", ["air", "water", "camera"])
async def test_boot_to_first_valid_answer(
    role: str, make_bench: MakeBench, make_master: MakeMaster, deadline: MakeDeadline
) -> None:
    bench = await make_bench((role,))
    board = bench.nodes[role]
    assert board.boot["role"] == role
    assert isinstance(board.boot["mem_alloc"], int)
    master = make_master(bench)
    target, counts = Target.of(board.spec), PollCounts()
    limit = deadline(5, board)
    while await poll(master, target, counts) is None:
        assert not await limit.expired(), f"no valid answer within 5 s of the board: {counts}"
    assert not counts.wrong
    # A sample with a value follows; before it the frame marks that there is none yet.
    limit = deadline(30, board)
    while True:
        sample = await poll(master, target, counts)
        if sample is not None and sample.header.seq >= 2:
            break
        assert not await limit.expired(), f"no second sample within 30 s of the board: {counts}"
        await limit.look()
    assert sample.header.boot_epoch == board.boot["boot_epoch"]
    assert any(code not in (NO_SAMPLE, WARMUP) for code in sample.quality)
    assert not counts.wrong


@pytest.mark.needs(Capability.FLASH_WRITES)
async def test_every_power_cut_is_a_new_boot_epoch(node_bench: Bench) -> None:
    board = node_bench.nodes["air"]
    assert board.boot["boot_epoch"] == 1
    for epoch in range(2, 5):
        assert (await board.power_cycle())["boot_epoch"] == epoch


@pytest.mark.needs(Capability.FLASH_WRITES)
async def test_store_survives_a_reset(node_bench: Bench) -> None:
    board = node_bench.nodes["air"]
    assert board.boot["boot_epoch"] == 1
    reset = board.warm_reset if isinstance(board, WarmReset) else board.power_cycle
    assert (await reset())["boot_epoch"] == 2


async def test_samples_advance_and_their_values_are_those_of_the_parts(
    node_bench: Bench, make_master: MakeMaster, deadline: MakeDeadline
) -> None:
    """Check the serial parts' values where the engine has no I2C, else all."""
    board = node_bench.nodes["air"]
    master, target, counts = make_master(node_bench), Target.of(board.spec), PollCounts()
    wired = Capability.I2C in node_bench.engine.capabilities
    names = [point.name for point in map_of_role("air").points]
    measured = [n for n in names if wired or n not in ("temperature", "humidity")]
    seen: list[int] = []
    good: set[str] = set()
    limit = deadline(60, board)
    while len(seen) < 3 or not good.issuperset(measured):
        assert not await limit.expired(), f"samples {seen}, good values of {sorted(good)}: {counts}"
        sample = await poll(master, target, counts)
        if sample is None or sample.header.seq == 0:
            continue
        if not seen or sample.header.seq > seen[-1]:
            seen.append(sample.header.seq)
        assert sample.header.seq == seen[-1], "a sample's number went back"
        good |= {n for n, quality in zip(names, sample.quality, strict=True) if quality == OK}
        await limit.look()
    assert not counts.wrong


@pytest.mark.needs(Capability.WARM_RESET)
async def test_warm_reset_comes_up_and_serves(
    node_bench: Bench, make_master: MakeMaster, deadline: MakeDeadline
) -> None:
    board = node_bench.nodes["air"]
    assert isinstance(board, WarmReset)
    await board.warm_reset()
    master, target, counts = make_master(node_bench), Target.of(board.spec), PollCounts()
    limit = deadline(10, board)
    while await poll(master, target, counts) is None:
        assert not await limit.expired(), f"no answer after the reset: {counts}"
    assert not counts.wrong
