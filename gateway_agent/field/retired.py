"""What is missed of a device that is no longer in the configuration: its slots end, once."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from gateway_agent.clock import GatewayClock, Wall
from gateway_agent.counters import Counters
from gateway_agent.store.mark import Mark, MissedSlots, SlotMark
from protocols.uplink import Record, gap_record

from .reader import stamp
from .slot_account import gap, resume

_RETIRED: Final = "the device is no longer in the configuration"


def retired(
    marks: Mapping[str, Mark], polled: AbstractSet[str], clock: GatewayClock, counters: Counters
) -> Iterator[tuple[list[Record], str, Mark]]:
    """Yield gaps, device id and last mark of each device that is not among the ``polled``."""
    now = stamp(clock, clock.boot_ms())
    wall = Wall(now.wall_ms, now.unc_ms, now.clock_state)
    for name, mark in marks.items():
        slots = mark.slots
        if name in polled or slots is None or not slots.period_ms:
            continue
        going_on = resume(slots, clock.boot_id, slots.period_ms, now.resp_ms, wall)
        records = []
        for missed in (*going_on.missed, MissedSlots("operator", None, None, None)):
            counters.gaps[missed.cause] += 1
            what = gap(missed.cause, None, None, None, _RETIRED, missed)
            records.append(gap_record(name, what, now))
        ended = SlotMark(clock.boot_id, now.resp_ms, 0, now.wall_ms, now.unc_ms)
        yield records, name, mark._replace(slots=ended)
