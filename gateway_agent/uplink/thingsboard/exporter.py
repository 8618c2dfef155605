"""Send records to ThingsBoard as a gateway device of it."""

from gateway_agent.uplink.feed import ExportContext
from gateway_agent.uplink.mqtt_session import MqttSession
from protocols.uplink import thingsboard

from .config import ThingsBoardUplink


class ThingsBoardExporter(MqttSession):
    """Publishes telemetry of all devices, and refuses commands."""

    def __init__(self, config: ThingsBoardUplink, context: ExportContext) -> None:
        core = thingsboard.ThingsBoardCore(context.gateway, dict(context.devices))
        super().__init__(config, context, core)
