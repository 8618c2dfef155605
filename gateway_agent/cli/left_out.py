"""What ``check`` shows of uplinks: the points that a platform does not get, and why."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console

from gateway_agent.config import role_of
from gateway_agent.field.devices import OpenDevice, OpenLinkNode, OpenProfile
from gateway_agent.uplink.exporter_config import SiteDevice

_SHOWN: Final = 20  # lines for each uplink


def site_device(device: OpenDevice | OpenLinkNode) -> SiteDevice:
    """Return what a device measures, with its units; texts are in no record."""
    if isinstance(device, OpenProfile):
        specs = (point.spec for point in device.profile.points if not point.is_text)
        points = tuple((spec.name, spec.unit) for spec in specs)
    else:
        points = tuple((point.name, point.unit) for point in device.map.points)
    return SiteDevice(device.device.name, role_of(device.device), points)


def show_left_out(console: Console, left_out: Mapping[str, Sequence[str]]) -> None:
    """Print a line for each point that an uplink leaves out, up to a number of them."""
    for name, lines in left_out.items():
        for line in lines[:_SHOWN]:
            console.print(f"uplink {name}: {line}", style="yellow", markup=False)
        if len(lines) > _SHOWN:
            console.print(f"uplink {name}: {len(lines) - _SHOWN} more, see --json")
