"""Puts the predicted cost of each bus beside what it costs and what its devices have done."""

from gateway_agent.config import GatewayConfig
from gateway_agent.field.devices import open_devices
from gateway_agent.field.planner import BusPlan, JoinRules, plan_bus
from gateway_agent.status import BusDeviceStatus, BusStatus, DeviceStatus, Status
from gateway_agent.tables import ConfigError

from .shapes import Buses, BusReport, DeviceCost


def plans_of(config: GatewayConfig) -> list[BusPlan]:
    """Return the plan of each bus that is polled. Reads files: call it in a thread."""
    plans = []
    for bus in config.bus:
        try:
            opened, rules = open_devices(bus), JoinRules.of(bus)
        except ConfigError:  # a file that the agent has read has gone since
            continue
        reads = [item.reads(rules) for item in opened]
        plans.append(plan_bus(bus, reads, [item.read_periods(rules) for item in opened]))
    return plans


def buses_of(
    plans: list[BusPlan], config: GatewayConfig, status: Status, used: list[BusStatus]
) -> Buses:
    """Return every bus with its devices, the most costly first; links have nothing to plan."""
    devices = {device.name: device for device in status.nodes}
    measured = {bus.name: bus for bus in used}
    reports = [_polled(plan, devices, measured.get(plan.bus.name)) for plan in plans]
    reports += [
        BusReport(
            name=link.name,
            type="link",
            where=link.where,
            cycle_ms=0.0,
            share=0.0,
            cycle_now_ms=0.0,
            share_now=0.0,
            bytes_per_s=0.0,
            causes={},
            warnings=[],
            devices=[
                _cost(node.name, node.period_ms, devices.get(node.name)) for node in link.device
            ],
        )
        for link in config.link
    ]
    return Buses(buses=reports, errors=dict(status.counters.poll_errors))


def _polled(plan: BusPlan, devices: dict[str, DeviceStatus], used: BusStatus | None) -> BusReport:
    costs = {} if used is None else {device.name: device for device in used.devices}
    found = [
        _cost(
            item.device.name,
            item.device.period_ms,
            devices.get(item.device.name),
            item.poll_ms,
            item.share,
            costs.get(item.device.name),
        )
        for item in plan.devices
    ]
    return BusReport(
        name=plan.bus.name,
        type=plan.bus.type,
        where=plan.bus.where,
        cycle_ms=round(plan.cycle_ms, 1),
        share=round(plan.share, 4),
        cycle_now_ms=0.0 if used is None else round(used.cycle_ms, 1),
        share_now=0.0 if used is None else round(used.share, 4),
        bytes_per_s=0.0 if used is None else round(used.bytes_per_s, 1),
        causes={} if used is None else used.errors,
        warnings=list(plan.warnings),
        devices=sorted(found, key=lambda cost: -cost.share_now),
    )


def _cost(
    name: str,
    period_ms: int,
    device: DeviceStatus | None,
    poll_ms: float = 0.0,
    share: float = 0.0,
    used: BusDeviceStatus | None = None,
) -> DeviceCost:
    return DeviceCost(
        name=name,
        state="new" if device is None else device.state,
        period_ms=period_ms,
        poll_ms=round(poll_ms, 1),
        share=round(share, 4),
        poll_now_ms=0.0 if used is None else round(used.poll_ms, 1),
        share_now=0.0 if used is None else round(used.share, 4),
        causes={} if used is None else used.errors,
        polls=0 if device is None else device.polls,
        errors=0 if device is None else device.errors,
        skipped=0 if device is None else device.skipped,
    )
