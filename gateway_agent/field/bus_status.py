"""Puts what the planner predicts of a bus beside what was measured in the last minute."""

from gateway_agent.status import BusDeviceStatus, BusStatus

from .planner import BusPlan, JoinRules, plan_bus
from .poller import BusPoller


def bus_status(poller: BusPoller, now_ms: int, with_devices: bool) -> BusStatus:
    """Return one bus as it is now."""
    bus, use, tap = poller.bus, poller.use, poller.tap
    plan, real = plan_of(poller), use.devices(now_ms)
    line_bytes = tap.sent_bytes + tap.received_bytes
    bytes_per_s = use.bytes_per_s(now_ms, line_bytes)
    devices = [
        BusDeviceStatus(
            name=item.device.name,
            poll_ms=round(real.get(item.device.name, (0.0, 0.0))[0], 1),
            predicted_ms=round(item.poll_ms, 1),
            share=round(real.get(item.device.name, (0.0, 0.0))[1], 4),
            predicted_share=round(item.share, 4),
            errors=dict(use.device_errors.get(item.device.name, {})),
        )
        for item in plan.devices
    ]
    return BusStatus(
        name=bus.name,
        share=round(use.share(now_ms), 4),
        predicted_share=round(plan.share, 4),
        cycle_ms=round(sum(device.poll_ms for device in devices), 1),
        predicted_cycle_ms=round(plan.cycle_ms, 1),
        bytes_per_s=round(bytes_per_s, 1),
        line_share=round(bytes_per_s * bus.char_ms / 1000, 4),
        errors=dict(use.errors),
        devices=devices if with_devices else [],
    )


def plan_of(poller: BusPoller) -> BusPlan:
    """Return the plan of a bus; it is made once for each configuration."""
    bus = poller.bus
    if poller.plan is None or poller.plan.bus is not bus:
        rules, opened = JoinRules.of(bus), [reader.opened for reader in poller.readers]
        reads = [one.reads(rules) for one in opened]
        poller.plan = plan_bus(bus, reads, [one.read_periods(rules) for one in opened])
    return poller.plan
