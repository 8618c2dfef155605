"""The keys of ``[[uplink]]`` with ``type = "csv"``."""

from typing import Annotated

from msgspec import Meta

from gateway_agent.config_types import Directory
from gateway_agent.uplink.exporter_config import ExporterConfig


class CsvUplink(ExporterConfig, frozen=True, kw_only=True, tag_field="type", tag="csv"):
    """Files of one day each in a folder; the gateway makes it."""

    folder: Annotated[Directory, Meta(examples=["export"])]

    @property
    def where(self) -> str:
        """Return the folder."""
        return str(self.folder)
