"""Be an edge node of Sparkplug B."""

import secrets

from gateway_agent.uplink.feed import ExportContext
from gateway_agent.uplink.mqtt_session import MqttSession
from protocols.uplink import sparkplug

from .config import SparkplugUplink


class SparkplugExporter(MqttSession):
    """Publishes births and data, and answers a rebirth."""

    def __init__(self, config: SparkplugUplink, context: ExportContext) -> None:
        # A will of the process before this one must not name our session.
        begin = secrets.randbelow(256)
        edge = config.edge_node or context.gateway
        core = sparkplug.SparkplugCore(config.group, edge, dict(context.devices), begin)
        super().__init__(config, context, core)
