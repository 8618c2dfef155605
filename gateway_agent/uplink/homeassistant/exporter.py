"""Show every device in Home Assistant."""

import importlib.metadata

from gateway_agent.uplink.feed import ExportContext
from gateway_agent.uplink.mqtt_session import MqttSession
from protocols.uplink import homeassistant

from .config import HomeAssistantUplink


class HomeAssistantExporter(MqttSession):
    """Announces devices and publishes their states."""

    def __init__(self, config: HomeAssistantUplink, context: ExportContext) -> None:
        version = importlib.metadata.version("tianfu-edge")
        core = homeassistant.HomeAssistantCore(
            context.gateway, dict(context.devices), config.prefix, version
        )
        super().__init__(config, context, core)
