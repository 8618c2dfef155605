"""Three nodes on one line: thousands of polls, clean and disturbed; no wrong value is accepted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from statistics import quantiles
from typing import Final

import pytest

from gateway_agent.field.master import Master
from hil.bench import Bench
from hil.bus.fault import Fault, FaultKind
from hil.engines import fidelity
from hil.errors import HostTooSlow
from hil.site.poll_outcomes import PollOutcomes, watch
from hil.site.polls import PollCounts, Target, damaged_frames, poll, poll_many
from hil.testing.fixtures import MakeBench, MakeDeadline
from hil.testing.session import Session

pytestmark = pytest.mark.asyncio
MakeMaster = Callable[..., Master]

#: Of the host, for all of them; beyond it the host is too slow.
LIMIT_S: Final = 600.0
NOISY_LIMIT_S: Final = 1200.0
#: A late answer is the fault of a busy host, not of a node.
PATIENT_MS: Final = 1000
#: The shortest wait for an answer, and how many polls measure what it takes on this host.
LEAST_MS: Final = 20
CLEAN_LOOK: Final = 90
#: Silence after a disturbance: longer than any pause between a write's pieces.
QUIET_MS: Final = 5
#: Share of all bytes on the line.
BYTE_RATE: Final = 0.01
#: With more polls than this that fail because of the fault before, a node stays deaf too long.
AFTERMATH_SHARE: Final = 0.02
#: Of few polls that share is less than one.
FEW: Final = 3
#: Seen: one in 10,000 on a busy host.
TORN_SHARE: Final = 0.001
BYTE_KINDS: Final = (
    FaultKind.BYTE_FLIP,
    FaultKind.BYTE_DROP,
    FaultKind.BYTE_DUPLICATE,
    FaultKind.BYTE_INSERT,
)


async def ready(bench: Bench, master: Master, deadline: MakeDeadline) -> list[Target]:
    """Return the nodes as targets, once each of them has answered."""
    targets = [Target.of(board.spec) for board in bench.nodes.values()]
    for target in targets:
        limit = deadline(15, bench.nodes[target.name])
        while await poll(master, target, counts := PollCounts()) is None:
            assert not await limit.expired(), f"{target.name} does not answer: {counts}"
    return targets


async def test_three_nodes_share_a_line(
    bench: Bench, make_master: MakeMaster, deadline: MakeDeadline
) -> None:
    master = make_master(bench, timeout_ms=PATIENT_MS)
    targets = await ready(bench, master, deadline)
    counts = await poll_many(master, targets, 3)
    assert (counts.proved, counts.errors) == (3, {})
    assert {sample.map.role for sample in counts.last.values()} == set(bench.nodes)


async def fast_bench(make_bench: MakeBench) -> Bench:
    """Bring up three nodes as shipped on a faster line, where silences are half as long."""
    return await make_bench(settings={"baud_div_100": 1152, "warmup_limit_s": 2})


def most_torn(bench: Bench, polls: int) -> int:
    """Return how many requests may go unanswered because the engine's UART tore them."""
    tears = fidelity.has_symptom(bench.engine.name, "torn-requests")
    return max(1, round(polls * TORN_SHARE)) if tears else 0


def refuse_torn(bench: Bench, outcomes: PollOutcomes, polls: int) -> None:
    """Raise HostTooSlow where the engine's UART may have torn the requests without an answer: a run
    that passes has lost none.
    """
    if 0 < len(outcomes.unexplained) <= most_torn(bench, polls):
        raise HostTooSlow(f"the emulator's UART tore a request: {outcomes.describe()}")


async def patience_ms(bench: Bench, master: Master, targets: list[Target]) -> int:
    """Return how long to wait for an answer: twice what 19 of 20 clean polls took at most."""
    took: list[float] = []
    for number in range(CLEAN_LOOK):
        begun = time.monotonic()
        await poll(master, targets[number % len(targets)], PollCounts())
        took.append(time.monotonic() - begun)
    return max(LEAST_MS, round(2000 * quantiles(took, n=20)[-1]))


@pytest.mark.timeout(900)
async def test_thousands_of_polls_of_three_nodes_on_a_clean_line(
    make_bench: MakeBench,
    make_master: MakeMaster,
    deadline: MakeDeadline,
    hil_session: Session,
    request: pytest.FixtureRequest,
) -> None:
    polls = hil_session.polls
    bench = await fast_bench(make_bench)
    master = make_master(bench, timeout_ms=PATIENT_MS)
    targets = await ready(bench, master, deadline)
    master.close()
    before = await asyncio.to_thread(damaged_frames, bench.port, bench.baud, targets)
    master = make_master(bench, timeout_ms=PATIENT_MS)
    outcomes = await watch(bench.line, master, targets, polls, deadline, LIMIT_S)
    master.close()
    heard = await asyncio.to_thread(damaged_frames, bench.port, bench.baud, targets)
    heard.subtract(before)
    summary = f"{outcomes.describe()}; heard damaged {dict(heard)}"
    request.node.user_properties.append(("bus: clean", summary))
    if outcomes.late:
        raise HostTooSlow(f"answers came after {PATIENT_MS} ms: {outcomes.describe()}")
    # Only what the nodes themselves have heard in pieces may be the engine's doing.
    if outcomes.unexplained_by <= heard:
        refuse_torn(bench, outcomes, polls)
    assert outcomes.unexplained == []
    assert outcomes.counts.errors == {}
    assert most_torn(bench, polls) or not any(heard.values())
    assert outcomes.counts.wrong == []
    assert outcomes.baseless == []
    assert outcomes.counts.proved == outcomes.counts.accepted == polls
    assert master.counters.noise_bytes == 0
    assert master.counters.late_replies == 0
    assert master.counters.foreign_answers == 0


@pytest.mark.timeout(1800)
async def test_thousands_of_polls_at_one_percent_byte_faults(
    make_bench: MakeBench,
    make_master: MakeMaster,
    deadline: MakeDeadline,
    hil_session: Session,
    request: pytest.FixtureRequest,
) -> None:
    polls = hil_session.polls
    bench = await fast_bench(make_bench)
    master = make_master(bench, timeout_ms=PATIENT_MS)
    targets = await ready(bench, master, deadline)
    # Half of the polls will wait as long as this for an answer that does not come.
    took = deadline(LIMIT_S, bench.nodes[targets[0].name])
    wait_ms = await patience_ms(bench, master, targets)
    # A silence is one by the nodes' clock, which may be slower than the master's.
    quiet_ms = round(QUIET_MS / min(1.0, max(0.1, took.speed())))
    master.close()
    master = make_master(bench, timeout_ms=wait_ms, quiet_ms=quiet_ms)
    faults = {
        kind: bench.line.inject(Fault(kind, times=None, rate=BYTE_RATE / len(BYTE_KINDS)))
        for kind in BYTE_KINDS
    }
    outcomes = await watch(bench.line, master, targets, polls, deadline, NOISY_LIMIT_S)
    for fault in faults.values():
        bench.line.disarm(fault)
    summary = f"{outcomes.describe()}; waited {wait_ms} ms for an answer, {quiet_ms} ms for silence"
    request.node.user_properties.append(("bus: disturbed", summary))
    counts = outcomes.counts
    # No damaged answer was accepted: what was accepted has the node's own tag, and the
    # trace has the node's whole answer ...
    assert counts.wrong == []
    assert outcomes.baseless == []
    assert counts.proved == counts.accepted > polls // 10
    # ... each poll that failed has a fault between its request and its answer, or, seldom, in the
    # poll before ...
    refuse_torn(bench, outcomes, polls)
    assert outcomes.unexplained == []
    assert (
        counts.accepted + outcomes.hit + outcomes.aftermath + outcomes.late == counts.polls == polls
    )
    assert outcomes.aftermath <= max(FEW, polls * AFTERMATH_SHARE)
    # ... and each fault is counted: in the plan, in the trace, and in the poll that it hit.
    seen = Counter[FaultKind]()
    for (kind, _), count in bench.line.trace.faults.items():
        seen[kind] += count
    for kind, fault in faults.items():
        assert fault.applied > 0
        assert fault.applied == bench.line.applied[kind] == seen[kind]
        assert outcomes.faults[kind] + outcomes.survived[kind] <= fault.applied
    # The nodes have come through it: each answers again on a clean line.
    await ready(bench, master, deadline)


async def test_a_flipped_bit_is_one_error_and_no_value(
    make_bench: MakeBench, make_master: MakeMaster, deadline: MakeDeadline
) -> None:
    bench = await make_bench(("water",))
    master = make_master(bench, timeout_ms=PATIENT_MS)
    (target,) = await ready(bench, master, deadline)
    fault = bench.line.inject(Fault(FaultKind.FLIP, origin="water", times=5))
    counts = await poll_many(master, [target], 20)
    assert fault.applied == 5
    # A flipped address or function makes a frame that is somebody else's, or none.
    assert counts.failed() == 5
    assert set(counts.errors) <= {"crc", "wrong_unit", "bus_timeout"}
    assert counts.proved == 15


async def test_an_unplugged_node_costs_its_own_polls_only(
    bench: Bench, make_master: MakeMaster, deadline: MakeDeadline
) -> None:
    master = make_master(bench, timeout_ms=PATIENT_MS)
    targets = await ready(bench, master, deadline)
    bench.line.silence("water", silent=True)
    counts = await poll_many(master, targets, 30)
    bench.line.silence("water", silent=False)
    assert counts.errors == {"bus_timeout": 10}
    assert counts.proved == 20
    await ready(bench, master, deadline)
