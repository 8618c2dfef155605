"""Compares the buses that run with those that are wanted, so that what is the same goes on.

What people call a device is left out of the comparison: a new title disturbs no poll.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from gateway_agent.config import Bus, LinkBus

from .devices import OpenDevice, OpenLinkNode, OpenNode, OpenProfile
from .poller import BusPoller
from .reader import Reader

REST_S: Final = 60.0  # for a bus to come to the end of its poll: the longest timeout of a device

#: What is wanted, by the name of the bus.
Wanted: TypeAlias = Mapping[str, tuple[Bus, Sequence[OpenDevice]]]


class RestError(Exception):
    """A bus did not come to the end of its poll; nothing was changed."""


def stays(poller: BusPoller, wanted: Wanted) -> bool:
    """Return whether the line of a bus is the same."""
    name = poller.bus.name
    return name in wanted and same_line(poller.bus, wanted[name][0])


def goes_on(poller: BusPoller, wanted: Wanted) -> bool:
    """Return whether a bus is the same, whatever its devices are called."""
    opened = [reader.opened for reader in poller.readers]
    return stays(poller, wanted) and same_devices(opened, wanted[poller.bus.name][1])


async def at_rest(pollers: Sequence[BusPoller]) -> None:
    """Let buses come to the end of their polls."""
    for poller in pollers:
        poller.rest.ask()
        poller.turns.wake()
    try:
        async with asyncio.timeout(REST_S):
            for poller in pollers:
                await poller.rest.reached()
    except TimeoutError:
        names = ", ".join(poller.bus.name for poller in pollers if not poller.rest.is_reached)
        raise RestError(
            f"bus {names}: its poll has not ended for {REST_S:g} s (does the outbox take records?"
            " `tianfu-gateway status` shows it); nothing was changed, try again"
        ) from None


def same_line(old: Bus, new: Bus) -> bool:
    """Return whether two buses differ at most in their devices."""
    return msgspec.structs.replace(old, device=()) == msgspec.structs.replace(new, device=())


def same_port(old: LinkBus, new: LinkBus) -> bool:
    """Return the same for two links."""
    return msgspec.structs.replace(old, device=()) == msgspec.structs.replace(new, device=())


def same_device(
    old: OpenDevice | OpenLinkNode | None, new: OpenDevice | OpenLinkNode | None
) -> bool:
    """Return whether two devices are read in the same way, whatever they are called."""
    if isinstance(old, OpenNode) and isinstance(new, OpenNode):
        return _bare(old.device) == _bare(new.device) and old.key == new.key
    if isinstance(old, OpenProfile) and isinstance(new, OpenProfile):
        return _bare(old.device) == _bare(new.device) and old.profile == new.profile
    if isinstance(old, OpenLinkNode) and isinstance(new, OpenLinkNode):
        return _bare(old.device) == _bare(new.device) and old.key == new.key
    return False


def same_devices(
    old: Sequence[OpenDevice | OpenLinkNode], new: Sequence[OpenDevice | OpenLinkNode]
) -> bool:
    """Return whether two lists have the same devices in the same order."""
    return len(old) == len(new) and all(map(same_device, old, new))


def relabel(readers: Sequence[Reader], opened: Sequence[OpenDevice]) -> None:
    """Give readers of the same devices what these are called now."""
    for reader, device in zip(readers, opened, strict=True):
        reader.opened = device
        reader.device = device.polled if isinstance(device, OpenProfile) else device.device


def _bare(device: msgspec.Struct) -> msgspec.Struct:
    return msgspec.structs.replace(device, title="", place="", note="")
