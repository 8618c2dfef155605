"""Compares devices without what people call them, so that a new title disturbs no poll."""

from collections.abc import Sequence

import msgspec

from gateway_agent.config import Bus, LinkBus

from .devices import OpenDevice, OpenLinkNode, OpenNode, OpenProfile
from .reader import Reader


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
        reader.device = device.polled if isinstance(device, OpenProfile) else device.device


def _bare(device: msgspec.Struct) -> msgspec.Struct:
    return msgspec.structs.replace(device, title="", place="", note="")
