"""The keys of ``[[uplink]]`` with ``type = "influxdb"``."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from gateway_agent.config_types import File, HttpUrl, PemFile
from gateway_agent.uplink.exporter_config import ExporterConfig


class InfluxUplink(ExporterConfig, frozen=True, kw_only=True, tag_field="type", tag="influxdb"):
    """Where lines are written to."""

    # The whole address of the write: /api/v2/write?org=...&bucket=..., or /write?db=... (1.x).
    # The precision is added.
    url: HttpUrl
    token_file: File | None = None  # None: no Authorization
    ca: PemFile | None = None  # of https; None: those of the system
    measurement: Annotated[
        str,
        Meta(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}\Z", description="a name of a measurement"),
    ] = "tianfu"

    @property
    def where(self) -> str:
        """Return the address without what follows its path."""
        return self.url.partition("?")[0]

    @property
    def secret_files(self) -> list[Path]:
        """Return the token's file, which not everybody may read."""
        return [] if self.token_file is None else [self.token_file]
