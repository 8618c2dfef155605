"""Collect from the configuration what exporters know of their gateway."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.clock import GatewayClock
from gateway_agent.commands.command import RunCommand
from gateway_agent.config import Device, GatewayConfig, LinkNode, ProfileDevice, role_of
from gateway_agent.field.profile import Profile, load_profile
from gateway_agent.tables import ConfigError
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
    profiles: dict[str, Profile] = {}
    for bus in (*config.bus, *config.link):
        for device in bus.device:
            info = DeviceInfo(
                *(device.device_id(gateway), device.name, bus.name),
                *(role_of(device), device.period_ms),
                *(device.title, device.place, device.note),
                _point_ms(device, profiles),
            )
            devices[info.id] = info
    return ExportContext(gateway, clock, config.gateway.state_dir, devices, key, note, command)


def _point_ms(device: Device | LinkNode, profiles: dict[str, Profile]) -> dict[str, int]:
    """Return the periods of the points in groups of a profile; ``profiles``: those read before."""
    if not isinstance(device, ProfileDevice):
        return {}
    try:
        profile = profiles.get(device.profile) or load_profile(device.profile)
    except ConfigError:
        return {}  # it has no readings either: opening its bus says why
    profiles[device.profile] = profile
    periods = profile.periods(device.period_ms)
    return {
        point.spec.name: periods[point.spec.group] for point in profile.points if point.spec.group
    }
