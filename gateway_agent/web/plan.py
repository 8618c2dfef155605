"""Puts the predicted cost of each bus beside what its devices have done."""

from gateway_agent.config import GatewayConfig
from gateway_agent.field.devices import open_devices
from gateway_agent.field.planner import BusPlan, JoinRules, plan_bus
from gateway_agent.status import DeviceStatus, Status
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


def buses_of(plans: list[BusPlan], config: GatewayConfig, status: Status) -> Buses:
    """Return every bus with its devices; links have nothing to plan."""
    devices = {device.name: device for device in status.nodes}
    reports = [
        BusReport(
            name=plan.bus.name,
            type=plan.bus.type,
            where=plan.bus.where,
            cycle_ms=round(plan.cycle_ms, 1),
            share=round(plan.share, 4),
            warnings=list(plan.warnings),
            devices=[
                _cost(
                    devices.get(item.device.name),
                    item.device.name,
                    item.device.period_ms,
                    item.poll_ms,
                    item.share,
                )
                for item in plan.devices
            ],
        )
        for plan in plans
    ]
    reports += [
        BusReport(
            name=link.name,
            type="link",
            where=link.where,
            cycle_ms=0.0,
            share=0.0,
            warnings=[],
            devices=[
                _cost(devices.get(node.name), node.name, node.period_ms, 0.0, 0.0)
                for node in link.device
            ],
        )
        for link in config.link
    ]
    return Buses(buses=reports, errors=dict(status.counters.poll_errors))


def _cost(
    device: DeviceStatus | None, name: str, period_ms: int, poll_ms: float, share: float
) -> DeviceCost:
    return DeviceCost(
        name=name,
        state="new" if device is None else device.state,
        period_ms=period_ms,
        poll_ms=round(poll_ms, 1),
        share=round(share, 4),
        polls=0 if device is None else device.polls,
        errors=0 if device is None else device.errors,
        skipped=0 if device is None else device.skipped,
    )
