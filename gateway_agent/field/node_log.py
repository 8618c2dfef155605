"""What a node reports about itself, in the operator's log: one line for each change, not each poll.

A point that stops giving values, a setting that was changed, a write that the node refused: all of
it is in the records too, for the platform; the log is for who stands before the gateway.
"""

import logging
from collections.abc import Iterable
from typing import Final

from protocols.uplink import event_name
from protocols.wire.register_names import QUALITY_NAMES
from protocols.wire.registers import (
    EVENT_CONFIG,
    EVENT_CONFIG_NEW,
    EVENT_CONFIG_OLD,
    EVENT_IMAGE_EXPORT,
    EVENT_WRITE_REFUSED,
    NO_SAMPLE,
    NOT_FITTED,
    OK,
    SETTINGS,
    WARMUP,
)
from protocols.wire.sample import Event, Sample

from .bus_log import LineLimit

log = logging.getLogger(__name__)

# Every event of every node, for who looks at the gateway and sets the level to INFO. The stream has
# them, so the journal does not get them.
node_events = logging.getLogger("gateway_agent.node_events")
node_events.propagate = False
node_events.setLevel(logging.WARNING)

_NO_FAULT: Final = (OK, WARMUP, NOT_FITTED, NO_SAMPLE)


class NodeLog:
    """Logs the changes of one node; ``name`` is its name for the operator."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._faults: dict[str, str] = {}  # by point, as the log has them
        self._limit = LineLimit()

    def sample(self, sample: Sample, now_ms: int) -> None:
        """Log which points have stopped giving values since the last line, and which do again.

        A point that flickers waits until there may be a line again, and is then logged as it is.
        """
        faults = {
            point.name: QUALITY_NAMES[quality]
            for point, quality in zip(sample.map.points, sample.quality, strict=True)
            if quality not in _NO_FAULT
        }
        if faults == self._faults or not self._limit.take(now_ms):
            return
        changes = [
            f"{name} gives no value: {quality}"
            for name, quality in faults.items()
            if self._faults.get(name) != quality
        ]
        changes += [f"{name} is well again" for name in self._faults if name not in faults]
        self._faults = faults
        log.warning("%s: %s", self._name, ", ".join(changes))

    def events(self, events: Iterable[Event]) -> None:
        """Log what was done to the node; the events are its own, and its tag has been verified."""
        register = old = None
        for event in events:
            node_events.info("%s: %s %d", self._name, event_name(event.code), event.arg)
            if event.code == EVENT_CONFIG:
                register, old = event.arg, None
            elif event.code == EVENT_CONFIG_OLD:
                old = event.arg
            elif event.code == EVENT_CONFIG_NEW:
                log.warning(
                    "%s: setting %s was changed from %s to %d",
                    self._name,
                    _setting(register),
                    "an unknown value" if old is None else old,
                    event.arg,
                )
                register = old = None
            elif event.code == EVENT_IMAGE_EXPORT:
                log.warning(
                    "%s: the image switch was set to %s",
                    self._name,
                    "on, images may leave the node" if event.arg else "off",
                )
            elif event.code == EVENT_WRITE_REFUSED:
                log.warning(
                    "%s: the node refused %d writes without its key since it started: somebody"
                    " else is on the line, or a tool has the wrong key",
                    self._name,
                    event.arg,
                )


def _setting(register: int | None) -> str:
    if register is None:
        return "of an event that was lost"
    return SETTINGS[register].name if register < len(SETTINGS) else f"register {register}"
