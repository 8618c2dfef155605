"""The configuration of a gateway that polls and delivers nothing, shared by tests of buses."""

from pathlib import Path

from gateway_agent.config import Bus, GatewayConfig, GatewayIdentity, MqttUplink, OutboxConfig


def config_of(folder: Path, *buses: Bus) -> GatewayConfig:
    """Return a gateway ``g`` with these buses; it commits at once."""
    return GatewayConfig(
        gateway=GatewayIdentity(id="g", state_dir=folder, key=folder / "g.key"),
        uplink=MqttUplink(host="h"),
        outbox=OutboxConfig(commit_ms=0),
        bus=buses,
    )
