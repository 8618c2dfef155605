"""Collect from the configuration what exporters know of their gateway."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.clock import GatewayClock
from gateway_agent.commands.command import RunCommand
from gateway_agent.config import GatewayConfig, role_of
from protocols.export_record import DeviceInfo

from .feed import ExportContext, NoteAction


def context_of(
    config: GatewayConfig,
    clock: GatewayClock,
    key: Ed25519PrivateKey,
    note: NoteAction,
    command: RunCommand,
) -> ExportContext:
    """Return the context of all exporters.

    ``note`` records what their platforms commanded of them, ``command`` has devices commanded.
    """
    gateway = config.gateway.id
    devices = {}
    for bus in (*config.bus, *config.link):
        for device in bus.device:
            info = DeviceInfo(
                *(device.device_id(gateway), device.name, bus.name),
                *(role_of(device), device.period_ms),
                *(device.title, device.place, device.note),
            )
            devices[info.id] = info
    return ExportContext(gateway, clock, config.gateway.state_dir, devices, key, note, command)
