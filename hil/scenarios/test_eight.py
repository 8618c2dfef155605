"""Eight nodes on one line, as many as a site's longest bus has: every answer is proved.

It measures, too: how fast virtual time passes idle and under polls, and what the cores do then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest

from gateway_agent.field.master import Master
from hil.bench import FAST, Bench, Place
from hil.engines.abilities import CountsInstructions, HasClock
from hil.engines.base import Board
from hil.engines.deadline import Deadline
from hil.site.polls import PollCounts, Target, poll, poll_many
from hil.testing.fixtures import MakeBench, MakeDeadline

pytestmark = pytest.mark.asyncio

POLLS: Final = 300
ROLES: Final = ("air", "water", "camera", "air", "water", "camera", "air", "water")
PLACES: Final = tuple(Place(f"{role}{unit}", role, unit) for unit, role in enumerate(ROLES, 1))
#: At 9600 baud the line itself would take most of the time.
SETTINGS: Final = {**FAST, "baud_div_100": 1152}
#: A late answer is the fault of a busy host, not of a node.
PATIENT_MS: Final = 3000
#: Of virtual time, without a poll.
IDLE_S: Final = 2.0


@dataclass(slots=True)
class Stretch:
    """What passed since :meth:`begin`: of the boards' time, of the host's, and instructions."""

    boards: list[Board]
    limit: Deadline
    instructions: int

    @classmethod
    async def begin(cls, bench: Bench, deadline: MakeDeadline) -> Stretch:
        boards = list(bench.nodes.values())
        return cls(boards, deadline(3600, boards[0]), await executed(boards))

    async def describe(self) -> str:
        """Return the figures in words."""
        host_s, passed_s = self.limit.host_s(), self.limit.elapsed_s()
        if not isinstance(self.boards[0], HasClock):
            return f"{host_s:.1f} s"
        millions = (await executed(self.boards) - self.instructions) / 1e6
        return (
            f"{passed_s / host_s:.2f} s of the boards for one of the host ({host_s:.1f} s), "
            f"{millions / len(self.boards) / passed_s:.1f} million instructions a second and node"
        )


async def executed(boards: list[Board]) -> int:
    """Return the instructions of all boards that count them."""
    counting = [board for board in boards if isinstance(board, CountsInstructions)]
    return sum([await board.executed_instructions() for board in counting])


@pytest.mark.timeout(300)
async def test_eight_nodes_on_one_line(
    make_bench: MakeBench,
    make_master: Callable[..., Master],
    deadline: MakeDeadline,
    request: pytest.FixtureRequest,
) -> None:
    bench = await make_bench(places=PLACES, settings=SETTINGS)
    master = make_master(bench, timeout_ms=PATIENT_MS)
    targets = [Target.of(board.spec) for board in bench.nodes.values()]
    for target in targets:
        limit = deadline(15, bench.nodes[target.name])
        while await poll(master, target, counts := PollCounts()) is None:
            assert not await limit.expired(), f"{target.name} does not answer: {counts}"

    figures = ""
    if isinstance(bench.nodes[targets[0].name], HasClock):
        idle = await Stretch.begin(bench, deadline)
        while idle.limit.elapsed_s() < IDLE_S:
            await idle.limit.look()
        figures = f"idle {await idle.describe()}; "

    polled = await Stretch.begin(bench, deadline)
    counts = await poll_many(master, targets, POLLS)
    figures += f"polled {await polled.describe()}"
    request.node.user_properties.append(
        ("bus: eight nodes", f"{counts.proved} of {POLLS} polls proved; {figures}")
    )
    assert (counts.proved, counts.wrong, dict(counts.errors)) == (POLLS, [], {})
    assert {sample.map.role for sample in counts.last.values()} == set(ROLES)
    assert sorted(counts.last) == sorted(bench.names)
