"""What an exporter gave up that is no record: periods, pictures, values; named, counted, bounded.

Records that a platform never gets are named by the outbox (:mod:`gateway_agent.store.exports`).
What an exporter makes of records has a book here, which it keeps in its own file, in the commit
that gives something up: a process that is killed names each of them once.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from gateway_agent.status import GapStatus

#: Why something was given up.
AGE: Final = "age"  # older than keep_hours
INCOMPLETE: Final = "incomplete"  # a part of it is missing
UNIT: Final = "unit"  # its unit cannot become that of the platform's code
DAMAGE: Final = "damage"  # of the exporter's own file: what it had is not known any more
UNWRITABLE: Final = "unwritable"  # the platform's format has no way to say it

MAX_GAPS: Final = 16  # by kind and cause; beyond that the two oldest become one


class GapBook:
    """The gaps of one exporter, the oldest first; their counts are of all times."""

    def __init__(self, text: str = "[]") -> None:
        """``text``: of :meth:`text`; ValueError if it is none."""
        self.gaps = msgspec.json.decode(text, type=list[GapStatus])

    def text(self) -> str:
        """Return the book as its exporter keeps it."""
        return msgspec.json.encode(self.gaps).decode()

    def add(self, gap: GapStatus, joins_ms: int = 0) -> None:
        """Name one more; it joins the newest of its kind and cause from which it is so near."""
        alike = [at for at, one in enumerate(self.gaps) if _kind(one) == _kind(gap)]
        if alike:
            newest = self.gaps[alike[-1]]
            if newest.first_ms - joins_ms <= gap.first_ms <= newest.last_ms + joins_ms:
                self.gaps[alike[-1]] = _joined((newest, gap))
                return
        self.gaps.append(gap)
        if len(alike) == MAX_GAPS:
            oldest = self.gaps.pop(alike[0])
            second = alike[1] - 1
            self.gaps[second] = _joined((oldest, self.gaps[second]))


def by_kind(gaps: Iterable[GapStatus]) -> list[GapStatus]:
    """Return one gap for each kind and cause."""
    found: dict[tuple[str, str], list[GapStatus]] = {}
    for gap in gaps:
        found.setdefault(_kind(gap), []).append(gap)
    return [_joined(alike) for alike in found.values()]


def _joined(several: Sequence[GapStatus]) -> GapStatus:
    return GapStatus(
        kind=several[0].kind,
        first_ms=min(one.first_ms for one in several),
        last_ms=max(one.last_ms for one in several),
        count=sum(one.count for one in several),
        cause=several[0].cause,
    )


def _kind(gap: GapStatus) -> tuple[str, str]:
    return gap.kind, gap.cause
