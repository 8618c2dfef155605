"""Everything that the devices of a bus need from files: register maps, keys and profiles.

``run`` makes readers of them, ``check`` their plan. Nothing on a bus is opened.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from gateway_agent.config import (
    Bus,
    ConfigError,
    Device,
    LinkBus,
    LinkNode,
    NodeDevice,
    Problem,
    ProfileDevice,
)
from gateway_agent.keys import KeyFileError, SharedKey, key_problem, load_node_key
from protocols.modbus_client import Read
from protocols.wire.registers import RegisterMap, map_of_role

from .planner import JoinRules, node_reads
from .profile import Profile, load_profile


class OpenNode(msgspec.Struct, frozen=True):
    """A node, its register map and its key."""

    device: NodeDevice
    map: RegisterMap
    key: SharedKey

    def reads(self, rules: JoinRules) -> tuple[Read, ...]:  # of every device, see below
        """Return the requests of one poll."""
        return node_reads(self.map)

    def read_periods(self, rules: JoinRules) -> tuple[int, ...]:
        """Return the period of each of these requests."""
        return (self.device.period_ms,)


class OpenProfile(msgspec.Struct, frozen=True):
    """A third-party device and its profile."""

    device: ProfileDevice
    profile: Profile

    def reads(self, rules: JoinRules) -> tuple[Read, ...]:
        """Return the requests of one poll; see :func:`gateway_agent.field.planner.coalesce`."""
        return self.profile.reads(rules)

    def read_periods(self, rules: JoinRules) -> tuple[int, ...]:
        """Return the period of each of these requests, which is that of its group of points."""
        return tuple(
            period
            for name, period in self.periods.items()
            for _ in self.profile.reads(rules, (name,))
        )

    @property
    def periods(self) -> dict[str, int]:
        """Return the period of each group of points; see :meth:`.profile.Profile.periods`."""
        return self.profile.periods(self.device.period_ms)

    @property
    def polled(self) -> ProfileDevice:
        """Return the device with the period of its polls: the shortest of its groups."""
        return msgspec.structs.replace(self.device, period_ms=min(self.periods.values()))


class OpenLinkNode(msgspec.Struct, frozen=True):
    """A node on a link, its register map and its key (None: it has none)."""

    device: LinkNode
    map: RegisterMap
    key: SharedKey | None


OpenDevice: TypeAlias = OpenNode | OpenProfile


def open_devices(bus: Bus, known: dict[str, Profile] | None = None) -> list[OpenDevice]:
    """Read the files that the devices of a bus name. ConfigError with every problem of all.

    ``known``: profiles that were read for other devices, by name; what is read is added.
    """
    known = {} if known is None else known
    opened: list[OpenDevice] = []
    problems: list[Problem] = []
    for device in bus.device:
        try:
            opened.append(_open(bus, device, known))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return opened


def open_all(buses: Sequence[Bus]) -> list[list[OpenDevice]]:
    """Read the files of all buses, one list per bus. ConfigError with every problem of all."""
    opened: list[list[OpenDevice]] = []
    problems: list[Problem] = []
    known: dict[str, Profile] = {}
    for bus in buses:
        try:
            opened.append(open_devices(bus, known))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return opened


def _open(bus: Bus, device: Device, known: dict[str, Profile]) -> OpenDevice:
    if isinstance(device, ProfileDevice):
        if device.profile not in known:
            known[device.profile] = load_profile(device.profile)
        profile = known[device.profile]
        for name, words in profile.widths():
            if words > bus.max_words:
                expected = f"at most max_words = {bus.max_words} registers of bus {bus.name}"
                remedy = "raise max_words, or take the point away"
                file = str(profile.files[0])
                raise ConfigError([Problem(file, name, str(words), expected, remedy)])
        return OpenProfile(device, profile)
    return OpenNode(device, map_of_role(device.role), _key_of(device.key, device.uid))


def open_links(links: Sequence[LinkBus]) -> list[list[OpenLinkNode]]:
    """Read the key files of all links, one list per link. ConfigError with every problem of all."""
    opened: list[list[OpenLinkNode]] = []
    problems: list[Problem] = []
    for link in links:
        opened.append([])
        for device in link.device:
            try:
                key = None if device.key is None else _key_of(device.key, device.uid)
            except ConfigError as error:
                problems += error.problems
            else:
                opened[-1].append(OpenLinkNode(device, map_of_role(device.role), key))
    if problems:
        raise ConfigError(problems)
    return opened


def _key_of(file: Path, uid: str) -> SharedKey:
    try:
        return load_node_key(file, bytes.fromhex(uid))
    except KeyFileError as error:
        raise ConfigError([key_problem(file, error)]) from error
