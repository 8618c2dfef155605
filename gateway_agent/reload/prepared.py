"""A configuration with everything that it names, read and checked before anything is changed."""

from typing import NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway_agent.commands.orders import Operator, operators_of
from gateway_agent.config import GatewayConfig
from gateway_agent.field.devices import OpenDevice, open_all, open_links
from gateway_agent.field.field_change import same_device
from gateway_agent.keys import check_secret, load_public

from .in_force import ConfigSource
from .plan import ConfigChange, changes, judged


class OthersKeys(NamedTuple):
    """Public keys of others: of the collector, None without receipts, and of operators, by id."""

    collector: Ed25519PublicKey | None
    operators: dict[bytes, Operator]


class PreparedConfig(NamedTuple):
    """What the parts of the agent are given. ``opened``: the devices of each bus."""

    source: ConfigSource
    opened: list[list[OpenDevice]]
    keys: OthersKeys

    @property
    def config(self) -> GatewayConfig:
        """Return the configuration."""
        return self.source.config


def keys_of(config: GatewayConfig) -> OthersKeys:
    """Return what receipts and orders are verified with.

    KeyFileError: a key, or a file that not everybody may read, cannot be used.
    """
    others = (*config.exporters, *config.notify, *filter(None, (config.otlp,)))
    secrets = [file for other in others for file in other.secret_files]
    for file in (*config.uplink.secret_files, *secrets):
        check_secret(file)
    receipt_key = config.uplink.receipt_key
    collector = None if receipt_key is None else load_public(receipt_key)
    return OthersKeys(collector, operators_of(config.orders))


def prepared(source: ConfigSource) -> PreparedConfig:
    """Read every file that a configuration names. ConfigError, KeyFileError: one is unusable."""
    config = source.config
    open_links(config.link)
    return PreparedConfig(source, open_all(config.bus), keys_of(config))


def differences(running: PreparedConfig, new: PreparedConfig) -> tuple[ConfigChange, ...]:
    """Return what differs, also in key files and profiles."""
    is_own_file = new.source.is_own_file
    rows = changes(running.config, new.config, is_own_file)
    return (*rows, *(judged(row, is_own_file) for row in _edited_files(running, new, rows)))


def _edited_files(
    running: PreparedConfig, new: PreparedConfig, rows: tuple[ConfigChange, ...]
) -> list[ConfigChange]:
    """Return the files that were edited where the keys that name them are the same."""
    found = []
    old, config = running.config, new.config
    if old.uplink == config.uplink and running.keys.collector != new.keys.collector:
        found.append(_edited("uplink.collector_key", config.uplink.receipt_key))
    if old.orders == config.orders and running.keys.operators != new.keys.operators:
        found.append(_edited("orders.keys", config.orders and config.orders.keys))
    paths = {row.path.rpartition(".")[0] for row in rows}
    gateway = running.config.gateway.id
    opened = {one.device.device_id(gateway): one for bus in running.opened for one in bus}
    for bus, devices in zip(new.config.bus, new.opened, strict=True):
        for device in devices:
            own = device.device
            before = opened.get(own.device_id(gateway))
            path = f"bus.{bus.name}.device.{own.name}"
            if before is None or path in paths or same_device(before, device):
                continue
            file = "key" if hasattr(own, "key") else "profile"
            effect = "the file was edited: this device alone is read in another way"
            found.append(_edited(f"{path}.{file}", getattr(own, file), effect))
    return found


def _edited(path: str, value: object, effect: str = "") -> ConfigChange:
    name = msgspec.json.encode(value, enc_hook=str).decode()
    return ConfigChange(path=path, old=name, new=name, effect=effect)
