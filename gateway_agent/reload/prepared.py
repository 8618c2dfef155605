"""A configuration with everything that it names, read and checked before anything is changed."""

from typing import NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway_agent.config import GatewayConfig
from gateway_agent.field.devices import OpenDevice, open_all, open_links
from gateway_agent.field.field_change import same_device
from gateway_agent.keys import check_secret, load_public

from .in_force import ConfigSource
from .plan import ConfigChange, changes


class PreparedConfig(NamedTuple):
    """What the parts of the agent are given. ``opened``: the devices of each bus."""

    source: ConfigSource
    opened: list[list[OpenDevice]]
    collector_key: Ed25519PublicKey | None

    @property
    def config(self) -> GatewayConfig:
        """Return the configuration."""
        return self.source.config


def collector_key_of(config: GatewayConfig) -> Ed25519PublicKey | None:
    """Return what receipts are verified with. KeyFileError: it, or a secret, cannot be used."""
    others = (*config.exporters, *config.notify, *filter(None, (config.otlp,)))
    secrets = [file for other in others for file in other.secret_files]
    for file in (*config.uplink.secret_files, *secrets):
        check_secret(file)
    receipt_key = config.uplink.receipt_key
    return None if receipt_key is None else load_public(receipt_key)


def prepared(source: ConfigSource) -> PreparedConfig:
    """Read every file that a configuration names. ConfigError, KeyFileError: one is unusable."""
    config = source.config
    open_links(config.link)
    return PreparedConfig(source, open_all(config.bus), collector_key_of(config))


def differences(running: PreparedConfig, new: PreparedConfig) -> tuple[ConfigChange, ...]:
    """Return what differs, also in key files and profiles."""
    rows = changes(running.config, new.config)
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
            name = msgspec.json.encode(getattr(own, file), enc_hook=str).decode()
            effect = "the file was edited: this device alone is read in another way"
            rows += (ConfigChange(path=f"{path}.{file}", old=name, new=name, effect=effect),)
    return rows
