"""Each failed poll gets its own cause: on a real line, with a node that follows its script."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from gateway_agent.field.master import Master
from hil.bus import Fault, FaultKind, Rs485Line
from hil.engines.base import NodeSpec
from hil.engines.deadline import Deadline
from hil.errors import HostTooSlow
from hil.site.poll_outcomes import PollOutcomes, watch
from hil.site.polls import Target, make_master
from hil.wires.pty import Pty

SPEC = NodeSpec("air", "air", "5a" * 12, {"unit_id": 7})
TIMEOUT_MS = 40
#: No frame at all: ``watch`` looks at the origin, not at the content.
ANSWER = bytes.fromhex("0904020064f8db")


class Node:
    """A wire that takes requests; ``answer`` is called with the number of each, from 0."""

    overrun = 0

    def __init__(self) -> None:
        self.requests = 0
        self.answer: Callable[[int], None] = lambda number: None
        self._send: Callable[[bytes], None] = lambda data: None

    def listen(self, on_data: Callable[[bytes], None]) -> None:
        self._send = on_data

    def write(self, data: bytes) -> int:
        self.answer(self.requests)
        self.requests += 1
        return len(data)

    def reply(self, after_s: float) -> None:
        asyncio.get_running_loop().call_later(after_s, self._send, ANSWER)

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Site:
    line: Rs485Line
    master: Master
    node: Node

    async def watch(self, polls: int) -> PollOutcomes:
        return await watch(
            self.line,
            self.master,
            [Target.of(SPEC)],
            polls,
            lambda limit_s: Deadline(min(limit_s, 1.0), time.monotonic),
            limit_s=30,
        )


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    node = Node()
    async with Rs485Line({"gateway": Pty(4095), "air": node}) as line:
        master = make_master(line.path("gateway"), timeout_ms=TIMEOUT_MS, quiet_ms=5)
        yield Site(line, master, node)
        master.close()


async def test_a_silent_node_on_a_clean_line_is_unexplained() -> None:
    async with site() as here:
        seen = await here.watch(2)
        assert (seen.hit, seen.aftermath, seen.late) == (0, 0, 0)
        assert len(seen.unexplained) == 2
        assert seen.counts.polls == 2
        assert "poll 1 of air" in seen.unexplained[1]


async def test_a_fault_explains_its_own_poll_and_the_next_one() -> None:
    async with site() as here:
        fault = here.line.inject(Fault(FaultKind.FLIP, origin="gateway", times=1))
        seen = await here.watch(3)
        assert fault.applied == 1
        assert (seen.hit, seen.hit_request, seen.aftermath, seen.late) == (1, 1, 1, 0)
        assert len(seen.unexplained) == 1
        assert seen.faults == {FaultKind.FLIP: 1}
        assert seen.baseless == []


async def test_an_answer_that_comes_late_is_late() -> None:
    async with site() as here:
        here.node.answer = lambda number: here.node.reply(5 * TIMEOUT_MS / 1000)
        with pytest.raises(HostTooSlow, match="1 late, 0 unexplained"):
            await here.watch(1)


async def test_an_answer_that_comes_late_and_damaged_is_hit() -> None:
    async with site() as here:
        here.node.answer = lambda number: here.node.reply(5 * TIMEOUT_MS / 1000)
        here.line.inject(Fault(FaultKind.FLIP, origin="air", times=1))
        seen = await here.watch(1)
        assert (seen.hit, seen.hit_request, seen.late, seen.unexplained) == (1, 0, 0, [])


async def test_a_wrong_answer_in_time_is_not_late() -> None:
    async with site() as here:
        here.node.answer = lambda number: here.node.reply(0)
        seen = await here.watch(2)
        assert (seen.late, seen.aftermath) == (0, 0)
        assert len(seen.unexplained) == 2
        assert ANSWER.hex() in seen.unexplained[0]
        assert seen.counts.errors == {"crc": 2}
