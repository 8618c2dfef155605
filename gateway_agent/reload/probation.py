"""Decides whether a new configuration has proved itself, from what flowed before and flows now.

Only what worked before can fall silent: a device that has not answered for days does not undo a
change, and neither does one that the change removes.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway_agent.progress import Delivery, DeviceFlow, Flow

COLLECTOR: Final = "the uplink to the collector"
_POLLS: Final = 2  # periods in which a device has to answer once


class Worked(NamedTuple):
    """What delivered and answered before a change: uplinks, and the bus of each device by name."""

    uplinks: frozenset[str]
    devices: Mapping[str, str]


def what_works(flow: Flow) -> Worked:
    """Return what delivers and answers now."""
    return Worked(
        frozenset(name for name, item in _uplinks(flow).items() if item.connected),
        {
            device.name: device.bus
            for device in flow.devices
            if not (device.is_new or device.problem or device.is_quarantined)
        },
    )


class Probation:
    """The time after a change in which it may be undone. Times are of the boot clock in ms."""

    def __init__(
        self, worked: Worked, flow: Flow, share: float, buses: frozenset[str], now_ms: int, ms: int
    ) -> None:
        """``flow``: just after the change. ``buses``: that it has changed. ``ms``: how long."""
        self.worked = worked
        self.until_ms = now_ms + ms
        self._share = share
        self.buses = buses
        self._start_ms = now_ms
        self._to = {name: item.to for name, item in _uplinks(flow).items()}

    def is_over(self, now_ms: int) -> bool:
        """Return whether its time has passed."""
        return now_ms >= self.until_ms

    def fault(self, flow: Flow, now_ms: int) -> str:
        """Return why the change has to be undone, as a sentence; empty if nothing shows that.

        Before the end only devices count that are given up: they were asked three times.
        """
        elapsed_ms, is_end = now_ms - self._start_ms, self.is_over(now_ms)
        silent = [
            device
            for device in flow.devices
            if device.name in self.worked.devices
            and _is_silent(device, elapsed_ms)
            and (is_end or device.is_quarantined)
        ]
        return self._silent_devices(flow, silent) or (self._silent_uplink(flow) if is_end else "")

    def _silent_devices(self, flow: Flow, silent: list[DeviceFlow]) -> str:
        """Judge all devices together, and those of each bus that was changed."""
        before = Counter(
            device.bus for device in flow.devices if device.name in self.worked.devices
        )
        lost = Counter(device.bus for device in silent)
        groups = [(f" on bus {bus}", before[bus], lost[bus]) for bus in sorted(self.buses)]
        groups.append(("", before.total(), lost.total()))
        for where, count, gone in groups:
            if gone > self._share * count:
                names = ", ".join(
                    f"{item.name} ({item.problem or 'silent'})" for item in silent[:3]
                )
                return (
                    f"{gone} of {count} devices{where} that answered before are silent: {names}"
                    + (", ..." if len(silent) > 3 else "")
                )
        return ""

    def _silent_uplink(self, flow: Flow) -> str:
        for name, item in _uplinks(flow).items():
            if name not in self.worked.uplinks:
                continue
            if not item.connected:
                return f"{name} is not connected any more: {item.problem or 'no reason is known'}"
            is_due = item.slack_ms < self.until_ms - self._start_ms
            if item.behind and is_due and item.to <= self._to.get(name, -1):
                return f"{name} has delivered nothing since: {item.problem or 'no reason is known'}"
        return ""


def _is_silent(device: DeviceFlow, elapsed_ms: int) -> bool:
    if device.age_ms < elapsed_ms:
        return False  # it has answered since
    return bool(device.problem) or device.is_quarantined or elapsed_ms > _POLLS * device.period_ms


def _uplinks(flow: Flow) -> dict[str, Delivery]:
    """Return the uplinks by a name that does not change with the address of the collector."""
    return {COLLECTOR if index == 0 else f"uplink {item.name}": item
            for index, item in enumerate(flow.deliveries)}  # fmt: skip
