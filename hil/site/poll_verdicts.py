"""Each poll against what the line's trace says happened while it was under way.

A poll may fail for four reasons that are told apart here: a fault of the line hit a byte between
the request and the answer; one hit the poll before, and the node took what that left behind and
this request for one frame (it happens where the silence between the two passed the node by); the
node's answer was right and came late, which is the host's doing where a board follows its clock; or
none of these, which nothing excuses.
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
from hil.site.polls import Tally, Target, poll

#: A node that has answered nothing by then has no answer, however slow the host is.
ANSWER_S: Final = 5.0
#: What a master calls it when no answer came in time.
SILENCE: Final = "bus_timeout"
#: More late answers than this share of the polls, and the run says nothing about the nodes.
LATE_SHARE: Final = 0.02


@dataclass(slots=True)
class Verdicts:
    """What came of many polls, each with its cause.

    ``tally.polls`` is the sum of ``tally.accepted``, ``hit``, ``aftermath``, ``late`` and the
    length of ``unexplained``, which ``unexplained_by`` counts by node. ``faults`` are the faults
    within the failed polls by kind, ``survived`` those within accepted ones. ``baseless`` are
    accepted polls without a whole answer of that node in the trace.
    """

    tally: Tally = field(default_factory=Tally)
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
        """In one line."""
        rate = self.tally.polls / max(self.seconds, 1e-9)
        causes = (
            f"{self.hit} hit by a fault ({self.hit_request} in the request), {self.aftermath} by "
            f"what the fault before left behind, {self.late} late"
        )
        return (
            f"{self.tally.polls} polls in {self.seconds:.1f} s ({rate:.0f}/s): "
            f"{self.tally.proved} proved, {causes}, {len(self.unexplained)} unexplained; "
            f"errors {dict(self.tally.errors)}; faults in failed polls {_plain(self.faults)}, "
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
) -> Verdicts:
    """``count`` polls over the targets in turn. HostTooSlow after ``limit_s`` of the host."""
    told = Verdicts()
    around = list(targets)
    hit_before = False
    begun = time.monotonic()
    for number in range(count):
        target = around[number % len(around)]
        first = line.trace.total
        silences = told.tally.errors[SILENCE]
        sample = await poll(master, target, told.tally)
        since = _since(line, first)
        late = False
        if told.tally.errors[SILENCE] > silences and not _marks(since):
            late = await _comes(line, target, first, deadline(ANSWER_S))
            since = _since(line, first)
        kinds = _marks(since)
        if sample is not None:
            told.survived += kinds
            if not _answered(since, target):
                told.baseless.append(f"poll {number} of {target.name}: {_show(since)}")
        elif kinds:
            told.hit += 1
            told.hit_request += any(burst.marks for burst in since if burst.origin == gateway)
            told.faults += kinds
        elif late:
            told.late += 1
        elif hit_before:
            told.aftermath += 1
        else:
            told.unexplained.append(f"poll {number} of {target.name}: {_show(since)}")
            told.unexplained_by[target.name] += 1
        hit_before = bool(kinds)
        told.seconds = time.monotonic() - begun
        if told.seconds > limit_s:
            raise HostTooSlow(
                f"{number + 1} of {count} polls took {told.seconds:.0f} s, expected all within "
                f"{limit_s:.0f} s: {told.describe()}: run fewer boards at once"
            )
    if told.late > count * LATE_SHARE:
        raise HostTooSlow(f"too many answers were late: {told.describe()}")
    if told.unexplained and told.late:
        # A host that lets a board stand still takes its clock ticks as well: a silence on the line
        # is then none for the node, which takes two frames for one. Says nothing about the node.
        raise HostTooSlow(f"the host paused, and answers are missing: {told.describe()}")
    return told


async def _comes(line: Rs485Line, target: Target, first: int, limit: Deadline) -> bool:
    """Whether the answer of a poll that nobody answered in time comes after all, and whole."""
    try:
        await limit.until(
            lambda: _answered(since := _since(line, first), target) or bool(_marks(since)), "an end"
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


def _marks(since: Iterable[Burst]) -> Counter[FaultKind]:
    return Counter(mark.kind for burst in since for mark in burst.marks)


def _answered(since: Iterable[Burst], target: Target) -> bool:
    """Whether the node's answer was heard whole, whatever stood around it."""
    return any(b.origin == target.name and b.sent and b.sent in b.heard for b in since)


def _show(since: Iterable[Burst]) -> str:
    return "; ".join(f"{burst.origin} {burst.heard.hex()}" for burst in since) or "nothing heard"


def _plain(kinds: Counter[FaultKind]) -> dict[str, int]:
    return {str(kind): count for kind, count in sorted(kinds.items())}
