"""The keys of ``[[uplink]]`` with ``type = "mqtt-json"``."""

from typing import Annotated, Literal

from msgspec import Meta

from gateway_agent.uplink.exporter_config import MqttExporterConfig


class JsonUplink(MqttExporterConfig, frozen=True, kw_only=True, tag_field="type", tag="mqtt-json"):
    """One message for each record, on a topic made from a template."""

    topic: Annotated[
        str,
        Meta(
            pattern=r"^(?!\$)([^#+{}\x00]|\{(gateway|device|role|bus)\})+\Z",
            max_length=200,
            description="a topic with {gateway}, {device}, {role} and {bus} in it",
            examples=["site/{gateway}/{device}"],
        ),
    ] = "tianfu/{gateway}/json/{device}"
    format: Literal["json", "senml"] = "json"
    retain: bool = False  # the broker keeps the newest message of each topic
