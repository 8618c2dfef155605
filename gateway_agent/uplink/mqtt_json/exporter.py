"""Send records as JSON to a broker, or to a cloud that wants properties."""

from gateway_agent.uplink.feed import ExportContext
from gateway_agent.uplink.mqtt_session import MqttSession
from protocols.export_message import MqttCore
from protocols.uplink import clouds, mqtt_json

from .config import JsonUplink


class JsonExporter(MqttSession):
    """Publishes one message for each record."""

    def __init__(self, config: JsonUplink, context: ExportContext) -> None:
        core: MqttCore
        if config.format == "thing":
            assert config.login is not None  # the configuration was checked
            core = clouds.CloudCore(config.login.cloud, config.login.confirmed)
        else:
            core = mqtt_json.JsonCore(
                context.gateway, dict(context.devices), config.topic, config.format, config.retain
            )
        super().__init__(config, context, core, config.login)
