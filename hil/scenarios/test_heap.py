"""Half of a node's heap stays free, with every part at work and a picture held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import pytest

from boards.spec import load
from gateway_agent.field.master import Master
from hil.engines.abilities import Capability
from hil.engines.registry import EngineKind
from hil.site.heap import Heap, read_heap
from hil.site.polls import PollCounts, Target, poll, poll_many
from hil.testing.fixtures import MakeBench, MakeDeadline
from hil.testing.session import Session

pytestmark = pytest.mark.asyncio

#: A late answer is the fault of a busy host, not of a node.
PATIENT_MS: Final = 1000
#: A camera takes no picture in its first seconds.
SAMPLES: Final = 6
POLLS: Final = 60
#: Looks over more than a sample: one under way holds its own coroutines.
LOOKS: Final = 12
LOOK_S: Final = 0.15


@pytest.mark.needs(Capability.IMAGE)
@pytest.mark.parametrize("role", ["air", "water", "camera"])
@pytest.mark.timeout(300)
async def test_half_of_the_heap_stays_free(
    role: str,
    make_bench: MakeBench,
    make_master: Callable[..., Master],
    deadline: MakeDeadline,
    kind: EngineKind,
    hil_session: Session,
    request: pytest.FixtureRequest,
) -> None:
    bench = await make_bench((role,))
    board = bench.nodes[role]
    master, target = make_master(bench, timeout_ms=PATIENT_MS), Target.of(board.spec)
    limit = deadline(40, board)
    while (sample := await poll(master, target, PollCounts())) is None or (
        sample.header.seq < SAMPLES or (role == "camera" and not sample.raw[0])
    ):
        assert not await limit.expired(), f"no picture, or fewer than {SAMPLES} samples: {sample}"
    await poll_many(master, [target], POLLS)
    master.close()
    looks: list[Heap] = []
    for _ in range(LOOKS):
        looks.append(await read_heap(bench, board))
        await asyncio.sleep(LOOK_S)
    heap = min(looks)
    request.node.user_properties.append(
        (f"bus: heap of {role}", f"{heap.used} bytes in use, {heap.free} free")
    )
    assert heap.free >= heap.used
    assert heap.used <= load(hil_session.board or kind.board).memory.heap_in_use[role]
