"""The keys of ``[[uplink]]`` with ``type = "homeassistant"``."""

from typing import Annotated

from msgspec import Meta

from gateway_agent.uplink.exporter_config import MqttExporterConfig


class HomeAssistantUplink(
    MqttExporterConfig, frozen=True, kw_only=True, tag_field="type", tag="homeassistant"
):
    """The broker that Home Assistant uses."""

    required: bool = False  # it has no history: what it missed is of no use to it
    prefix: Annotated[
        str,
        Meta(
            pattern=r"^[^#+\x00$][^#+\x00]*\Z",
            max_length=100,
            description="the discovery prefix of Home Assistant",
            examples=["homeassistant"],
        ),
    ] = "homeassistant"
