"""The keys of ``[[uplink]]`` with ``type = "sparkplug"``."""

from typing import Annotated, TypeAlias

from msgspec import Meta

from gateway_agent.uplink.exporter_config import MqttExporterConfig

_Level: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[^#+/\x00]{1,64}\Z",
        description="a level of a topic: up to 64 characters without / + #",
        examples=["site-12"],
    ),
]


class SparkplugUplink(
    MqttExporterConfig, frozen=True, kw_only=True, tag_field="type", tag="sparkplug"
):
    """An edge node of a group; its devices are ours."""

    group: _Level
    edge_node: _Level | None = None  # the gateway's id
