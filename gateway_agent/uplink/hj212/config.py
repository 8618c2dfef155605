"""The keys of ``[[uplink]]`` with ``type = "hj212"``."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, field

from gateway_agent.config_types import File, count
from gateway_agent.uplink.exporter_config import ExporterConfig


class Hj212Uplink(ExporterConfig, frozen=True, kw_only=True, tag_field="type", tag="hj212"):
    """A platform that speaks HJ 212, and the site under one MN there."""

    host: Annotated[str, Meta(min_length=1, max_length=255, examples=["platform.example.cn"])]
    port: Annotated[int, count(1, 65535, 7212)]
    mn: Annotated[str, Meta(pattern="^[^;=&\\s]{1,24}$", examples=["010000A8900016F000169DC0"])]
    profile: Annotated[str, Meta(min_length=1, examples=["hj212-2017"])] = "hj212-2017"
    st: Annotated[str, Meta(pattern="^[0-9A-Za-z]{0,2}$", examples=["22"])] = ""  # the profile's
    pw: Annotated[str, Meta(pattern="^[0-9A-Za-z]{0,6}$", examples=["123456"])] = "123456"
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
    def secret_files(self) -> list[Path]:
        """Return the key."""
        return [] if self.key_file is None else [self.key_file]
