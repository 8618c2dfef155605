"""The keys of ``[[uplink]]`` with ``type = "hj212"``."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta, field

from gateway_agent.config_types import File, count
from gateway_agent.table_types import FILE_SUFFIX
from gateway_agent.uplink.exporter_config import ExporterConfig, SiteDevice, TableFault
from gateway_agent.uplink.units import is_gas_convertible


class Hj212Uplink(ExporterConfig, frozen=True, kw_only=True, tag_field="type", tag="hj212"):
    """A platform that speaks HJ 212, and the site under one MN there."""

    host: Annotated[str, Meta(min_length=1, max_length=255, examples=["platform.example.cn"])]
    port: Annotated[int, count(1, 65535, 7212)]
    mn: Annotated[str, Meta(pattern="^[^;=&\\s]{1,24}\\Z", examples=["010000A8900016F000169DC0"])]
    profile: Annotated[
        str, Meta(min_length=1, examples=["hj212-2017"], extra={FILE_SUFFIX: ".toml"})
    ] = "hj212-2017"
    st: Annotated[str, Meta(pattern="^[0-9A-Za-z]{0,2}\\Z", examples=["22"])] = ""  # the profile's
    pw: Annotated[str, Meta(pattern="^[0-9A-Za-z]{1,6}\\Z", examples=["123456"])] = "123456"
    key_file: File | None = None  # SM4 key, 32 hexadecimal digits
    # Names of devices; all if empty. Two devices must not give the same code.
    nodes: tuple[str, ...] = ()
    points: dict[str, str] = field(
        default_factory=dict
    )  # "DEVICE/POINT" = code, for points of other devices
    minutes: Annotated[int, count(1, 30, 10)] = 10  # of minute data, until the platform sets it
    late_s: Annotated[int, count(0, 86_400, 60)] = 60  # how long a period stays open for slow ones
    allow_control: bool = False  # whether the platform may change settings

    @property
    def where(self) -> str:
        """Return the platform."""
        return f"{self.host}:{self.port}"

    @property
    def only(self) -> frozenset[str]:
        """Return the devices of this MN; empty: all of them."""
        return frozenset(self.nodes)

    @property
    def secret_files(self) -> list[Path]:
        """Return the key."""
        return [] if self.key_file is None else [self.key_file]

    def faults(self) -> Iterator[TableFault]:
        """Yield what this platform's profile, the table of codes or the standard does not have."""
        # The codec is read when a file has such a platform; other uplinks need none of it.
        from protocols.uplink.hj212 import MIN_INTERVALS_MIN

        from .profile import Hj212ProfileError, load_hj212_profile

        try:
            profile = load_hj212_profile(self.profile)
        except Hj212ProfileError as error:
            yield TableFault("profile", self.profile, "a profile of HJ 212", str(error))
        else:
            if not profile.gives_out(self.mn):
                remedy = "write the MN as the platform gave it, or another profile"
                yield TableFault("mn", self.mn, f"an MN of {self.profile}: {profile.mn}", remedy)
            if profile.is_encrypted != (self.key_file is not None):
                expected = "an SM4 key's file" if profile.is_encrypted else "no key"
                remedy = f"the encryption of {self.profile} is {profile.encryption}"
                yield TableFault("key_file", self.key_file, expected, remedy)
        if self.minutes not in MIN_INTERVALS_MIN:
            known = ", ".join(map(str, MIN_INTERVALS_MIN))
            yield TableFault("minutes", self.minutes, "a part of an hour", f"one of {known}")
        yield from self._faults_of_points()

    def faults_of(self, roles: Mapping[str, str]) -> Iterator[TableFault]:
        """Yield devices that are not there, and codes that two points would give."""
        from .codes import shared_codes

        for name in self.nodes:
            if name not in roles:
                remedy = f"one of {', '.join(roles)}"
                yield TableFault("nodes", name, "names of devices of this gateway", remedy)
        for code, first, second in shared_codes(roles, self.nodes, self.points):
            if first in self.points and second in self.points:
                continue  # named already
            remedy = "name in nodes the devices of this MN, one for each code"
            yield TableFault("nodes", f"{first}, {second}", f"one point for {code}", remedy)

    def left_out(self, devices: Sequence[SiteDevice]) -> Iterator[str]:
        """Yield the points without a code, those whose unit is not the code's, and dead names."""
        from .codes import WITHOUT_CODE, code_of
        from .profile import load_hj212_profile

        profile = load_hj212_profile(self.profile)
        places = {f"{one.name}/{point}" for one in devices for point, _ in one.points}
        for place in self.points:
            if place not in places:
                yield f'points has "{place}", which no device measures'
        for device in devices:
            if self.nodes and device.name not in self.nodes:
                continue
            for point, unit in device.points:
                place = f"{device.name}/{point}"
                code = code_of(self.points, device.name, device.role, point)
                if code is None:
                    why = WITHOUT_CODE.get((device.role, point), 'give it one with points = {"…"}')
                    yield f"{place} has no code: {why}"
                    continue
                wanted = profile.code(code.code)
                if not is_gas_convertible(unit or code.unit, wanted.unit, wanted.molar_mass):
                    shown = unit or "no unit"
                    yield f"{place} is in {shown}, which never becomes {wanted.unit} of {code.code}"

    def _faults_of_points(self) -> Iterator[TableFault]:
        from .codes import CODES

        owners: dict[str, str] = {}
        for place, code in self.points.items():
            key = f'points."{place}"'
            device, slash, point = place.partition("/")
            if not (device and slash and point):
                remedy = 'write "DEVICE/POINT" = "CODE"'
                yield TableFault(key, code, "a device and a point before the code", remedy)
            if code not in CODES:
                expected = "a code of the table of pollutants"
                yield TableFault(key, code, expected, f"one of {', '.join(CODES)}")
            elif not self.nodes or device in self.nodes:
                other = owners.setdefault(code, place)
                if other != place:
                    remedy = f"{other} has it already: name one of the devices in nodes"
                    yield TableFault(key, code, "a code for one point only", remedy)
