"""The keys that a collector's configuration names, loaded, and who may bring what."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway_agent.keys import load_node_key, load_public
from protocols.uplink import key_id
from protocols.wire.hmac import HmacSha256

from .config import CollectorConfig


def keys_of_gateways(config: CollectorConfig) -> dict[str, dict[bytes, Ed25519PublicKey]]:
    """Load the public keys of each gateway, by gateway and key id. KeyFileError."""
    return {
        gateway.id: {key_id(key): key for key in map(load_public, gateway.keys)}
        for gateway in config.gateway
    }


def keys_of_nodes(config: CollectorConfig) -> dict[tuple[bytes, int], HmacSha256]:
    """Load the keys of the nodes, by unique id and key id. KeyFileError."""
    nodes = {}
    for node in config.node:
        uid = bytes.fromhex(node.uid)
        number, secret = load_node_key(node.key, uid)
        nodes[uid, number] = HmacSha256(secret)
    return nodes


def allowed_of(config: CollectorConfig) -> dict[str, tuple[str, ...]]:
    """Return, by device, the gateways that may bring it."""
    return {device.id: device.gateways for device in config.device}
