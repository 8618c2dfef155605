"""The keys of ``[[uplink]]`` with ``type = "mqtt-json"``."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from gateway_agent.uplink.cloud_login import AnyCloudAccount, HuaweiAccount
from gateway_agent.uplink.exporter_config import MqttExporterConfig, TableFault
from protocols.uplink import clouds


class JsonUplink(MqttExporterConfig, frozen=True, kw_only=True, tag_field="type", tag="mqtt-json"):
    """One message for each record, on a topic made from a template.

    With ``[uplink.login]`` the gateway is a device of a cloud; ``format = "thing"`` posts
    properties as that cloud takes them, on its own topic.
    """

    topic: Annotated[
        str,
        Meta(
            pattern=r"^(?!\$)([^#+{}\x00]|\{(gateway|device|role|bus)\})+\Z",
            max_length=200,
            description="a topic with {gateway}, {device}, {role} and {bus} in it",
            examples=["site/{gateway}/{device}"],
        ),
    ] = "tianfu/{gateway}/json/{device}"
    format: Literal["json", "senml", "thing"] = "json"
    retain: bool = False  # the broker keeps the newest message of each topic
    login: AnyCloudAccount | None = None

    @property
    def secret_files(self) -> list[Path]:
        """Return the files named here that not everybody may read."""
        own = [] if self.login is None else [self.login.secret_file]
        return [*super().secret_files, *own]

    def faults_of(self, roles: Mapping[str, str]) -> Iterator[TableFault]:
        """Yield devices whose points would be the same properties of a cloud."""
        if self.format != "thing" or isinstance(self.login, HuaweiAccount):
            return
        names: dict[str, str] = {}
        for device in roles:
            other = names.setdefault(clouds.property_name(device, ""), device)
            if other != device:
                remedy = "rename one of them"
                yield TableFault(
                    "format",
                    f"{other}, {device}",
                    "names of devices that differ in letters or digits",
                    remedy,
                )

    def faults(self) -> Iterator[TableFault]:
        """Yield what a cloud does not take."""
        if self.login is None:
            if self.format == "thing":
                remedy = "add an [uplink.login] table, or write json or senml"
                yield TableFault("format", self.format, "a cloud to post to", remedy)
            return
        for key, value in (
            ("client_id", self.client_id),
            ("broker.username", self.broker.username),
            ("broker.password_file", self.broker.password_file),
        ):
            if value is not None:
                expected = "none, because the log-in makes it"
                yield TableFault(key, value, expected, f"remove {key.rpartition('.')[2]}")
        if self.retain:
            yield TableFault("retain", True, "false: these clouds keep no message", "remove retain")
