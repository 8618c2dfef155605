"""The keys of ``[[uplink]]`` with ``type = "thingsboard"``."""

from gateway_agent.uplink.exporter_config import MqttExporterConfig


class ThingsBoardUplink(
    MqttExporterConfig, frozen=True, kw_only=True, tag_field="type", tag="thingsboard"
):
    """A gateway device of ThingsBoard; ``broker.username`` is its access token."""

    # Whether RPCs of the platform may change settings and points of devices.
    allow_control: bool = False
