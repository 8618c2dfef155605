"""Send records as JSON to a broker."""

from gateway_agent.uplink.feed import ExportContext
from gateway_agent.uplink.mqtt_session import MqttSession
from protocols.uplink import mqtt_json

from .config import JsonUplink


class JsonExporter(MqttSession):
    """Publishes one message for each record."""

    def __init__(self, config: JsonUplink, context: ExportContext) -> None:
        core = mqtt_json.JsonCore(
            context.gateway, dict(context.devices), config.topic, config.format, config.retain
        )
        super().__init__(config, context, core)
