"""Half of a node's heap stays free, with every part at work and a picture held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import pytest

from boards.spec import load
from gateway_agent.field.master import Master
from hil.bench import Bench
from hil.engines.abilities import Capability
from hil.engines.registry import EngineKind
from hil.site.heap import Heap, read_heap
from hil.site.link_client import LinkClient
from hil.site.polls import PollCounts, Target, poll, poll_many
from hil.testing.fixtures import MakeBench, MakeDeadline
from hil.testing.session import Session
from protocols.wire.link.messages import PICTURE

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
    heap = await least_heap(bench, role, make_master(bench, timeout_ms=PATIENT_MS), deadline)
    request.node.user_properties.append(
        (f"bus: heap of {role}", f"{heap.used} bytes in use, {heap.free} free")
    )
    assert heap.free >= heap.used
    assert heap.used <= load(hil_session.board or kind.board).memory.heap_in_use[role]


@pytest.mark.needs(Capability.IMAGE)
@pytest.mark.timeout(300)
async def test_a_link_takes_no_more_of_the_heap_than_its_board_says(
    make_bench: MakeBench,
    make_master: Callable[..., Master],
    deadline: MakeDeadline,
    kind: EngineKind,
    hil_session: Session,
    request: pytest.FixtureRequest,
) -> None:
    role = "camera"  # the role with the least heap left
    bench = await make_bench((role,), settings={"link_baud_div_100": 1152, "image_export": 1})
    async with LinkClient(bench, role) as client:
        master = make_master(bench, timeout_ms=PATIENT_MS)
        heap = await least_heap(bench, role, master, deadline)
        assert client.is_open
        assert client.samples
        await client.fetch(PICTURE, 30)
    request.node.user_properties.append(
        (f"bus: heap of {role} with a link", f"{heap.used} bytes in use, {heap.free} free")
    )
    memory = load(hil_session.board or kind.board).memory
    assert memory.heap_of_link is not None
    assert heap.used <= memory.heap_in_use[role] + memory.heap_of_link


async def least_heap(bench: Bench, role: str, master: Master, deadline: MakeDeadline) -> Heap:
    """Return the least that is in use while the node samples and serves, and holds a picture."""
    board = bench.nodes[role]
    target = Target.of(board.spec)
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
    return min(looks)
