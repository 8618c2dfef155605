"""Explain each poll by what the line's trace shows of the time it took.

A poll can fail for four reasons. (1) A fault of the line hit a byte between the request and the
answer. (2) A fault hit the poll before, and the node took the rest of that poll and this request
for one frame: it did not notice the silence between them. (3) The node's answer was right and came
late: the host paused, and a board that follows its clock paused with it. (4) None of these: nothing
excuses such a poll.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from gateway_agent.field.master import Master
from hil.bus.fault import FaultKind
from hil.bus.line import Rs485Line
from hil.bus.trace import Burst
from hil.engines.deadline import Deadline
from hil.errors import HostTooSlow
from hil.site.polls import PollCounts, Target, poll

#: A node that has not answered by then will not answer, however slow the host is.
ANSWER_S: Final = 5.0
#: The master's cause for an answer that did not come in time.
SILENCE: Final = "bus_timeout"
#: With a larger share of late answers than this, a run shows nothing about the nodes.
LATE_SHARE: Final = 0.02


@dataclass(slots=True)
class PollOutcomes:
    """How many polls ended, each with its cause.

    ``counts.polls`` is the sum of ``counts.accepted``, ``hit``, ``aftermath``, ``late`` and the
    length of ``unexplained``, which ``unexplained_by`` counts by node. ``faults`` are the faults
    within the failed polls by kind, ``survived`` those within accepted ones. ``baseless`` are
    accepted polls without a whole answer of that node in the trace.
    """

    counts: PollCounts = field(default_factory=PollCounts)
    hit: int = 0
    hit_request: int = 0
    aftermath: int = 0
    late: int = 0
    unexplained: list[str] = field(default_factory=list)
    unexplained_by: Counter[str] = field(default_factory=Counter)
    baseless: list[str] = field(default_factory=list)
    faults: Counter[FaultKind] = field(default_factory=Counter)
    survived: Counter[FaultKind] = field(default_factory=Counter)
    seconds: float = 0.0

    def describe(self) -> str:
        """Return everything in one line."""
        rate = self.counts.polls / max(self.seconds, 1e-9)
        causes = (
            f"{self.hit} hit by a fault ({self.hit_request} in the request), {self.aftermath} by "
            f"the rest of the fault before, {self.late} late"
        )
        return (
            f"{self.counts.polls} polls in {self.seconds:.1f} s ({rate:.0f}/s): "
            f"{self.counts.proved} proved, {causes}, {len(self.unexplained)} unexplained; "
            f"errors {dict(self.counts.errors)}; faults in failed polls {_plain(self.faults)}, "
            f"in accepted ones {_plain(self.survived)}"
        )


async def watch(
    line: Rs485Line,
    master: Master,
    targets: Iterable[Target],
    count: int,
    deadline: Callable[[float], Deadline],
    limit_s: float,
    gateway: str = "gateway",
) -> PollOutcomes:
    """Poll the targets in turn, ``count`` times. HostTooSlow after ``limit_s`` of the host."""
    outcomes = PollOutcomes()
    around = list(targets)
    hit_before = False
    begun = time.monotonic()
    for number in range(count):
        target = around[number % len(around)]
        first = line.trace.total
        silences = outcomes.counts.errors[SILENCE]
        sample = await poll(master, target, outcomes.counts)
        since = _since(line, first)
        late = False
        if outcomes.counts.errors[SILENCE] > silences and not _faults(since):
            late = await _comes(line, target, first, deadline(ANSWER_S))
            since = _since(line, first)
        kinds = _faults(since)
        shown = f"poll {number} of {target.name}: {_show(since)}"
        if sample is not None:
            outcomes.survived += kinds
            if not _answered(since, target):
                outcomes.baseless.append(shown)
        elif kinds:
            outcomes.hit += 1
            outcomes.hit_request += any(b.faults for b in since if b.origin == gateway)
            outcomes.faults += kinds
        elif late:
            outcomes.late += 1
        elif hit_before:
            outcomes.aftermath += 1
        else:
            outcomes.unexplained.append(shown)
            outcomes.unexplained_by[target.name] += 1
        hit_before = bool(kinds)
        outcomes.seconds = time.monotonic() - begun
        if outcomes.seconds > limit_s:
            raise HostTooSlow(
                f"{number + 1} of {count} polls took {outcomes.seconds:.0f} s, expected all within "
                f"{limit_s:.0f} s: {outcomes.describe()}: run fewer boards at once"
            )
    _check_host(outcomes, count)
    return outcomes


def _check_host(outcomes: PollOutcomes, count: int) -> None:
    """Raise HostTooSlow if the run shows nothing about the nodes: too many answers were late."""
    if outcomes.late > count * LATE_SHARE:
        raise HostTooSlow(f"too many answers were late: {outcomes.describe()}")
    if outcomes.unexplained and outcomes.late:
        # A host that stops a board stops its clock ticks as well: the node then misses a silence
        # on the line and takes two frames for one.
        raise HostTooSlow(f"the host paused, and answers are missing: {outcomes.describe()}")


async def _comes(line: Rs485Line, target: Target, first: int, limit: Deadline) -> bool:
    """Return True if the answer of a poll that has timed out comes after all, and whole."""
    try:
        await limit.until(
            lambda: _answered(since := _since(line, first), target) or bool(_faults(since)),
            "an end",
        )
    except TimeoutError:
        return False
    return _answered(_since(line, first), target)


def _since(line: Rs485Line, first: int) -> list[Burst]:
    since: list[Burst] = []
    for burst in reversed(line.trace.bursts):
        if burst.number < first:
            break
        since.append(burst)
    return since[::-1]


def _faults(since: Iterable[Burst]) -> Counter[FaultKind]:
    return Counter(mark.kind for burst in since for mark in burst.faults)


def _answered(since: Iterable[Burst], target: Target) -> bool:
    """Return True if the line carried the node's answer whole, whatever stood around it."""
    return any(b.origin == target.name and b.sent and b.sent in b.heard for b in since)


def _show(since: Iterable[Burst]) -> str:
    return "; ".join(f"{burst.origin} {burst.heard.hex()}" for burst in since) or "nothing heard"


def _plain(kinds: Counter[FaultKind]) -> dict[str, int]:
    return {str(kind): count for kind, count in sorted(kinds.items())}
