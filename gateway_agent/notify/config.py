"""The ``[[notify]]`` tables: who gets a notice when an alarm changes its state."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from gateway_agent.alarms.rules import Severity
from gateway_agent.config_types import File, Host, HttpUrl, Name, PemFile, count
from gateway_agent.tables import TableReader

#: The most urgent last.
SEVERITIES: Final[Sequence[Severity]] = ("note", "warning", "urgent")

MailAddress: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[^\s@<>,;:]{1,64}@[^\s@<>,;:]{1,255}\Z",
        description="a mail address",
        examples=["duty@example.net"],
    ),
]


class _Notify(Struct, frozen=True, kw_only=True, tag_field="type"):
    name: Name
    severity: Severity = "note"  # of alarms that it gets, and all that are more urgent
    # Notices that wait while nobody takes them; the oldest give way, and are named as lost.
    queue: Annotated[int, count(1, 1000, 200)] = 200

    @property
    def kind(self) -> str:
        """Return the type, as the file has it."""
        return str(self.__struct_config__.tag)

    def wants(self, severity: Severity) -> bool:
        """Return whether an alarm is urgent enough."""
        return SEVERITIES.index(severity) >= SEVERITIES.index(self.severity)


class MqttNotify(_Notify, frozen=True, kw_only=True, tag="mqtt"):
    """Over the connection of the collector's uplink: see :mod:`.announcer`."""

    @property
    def secret_files(self) -> list[Path]:
        """Return no file: the uplink has them."""
        return []


class WebhookNotify(_Notify, frozen=True, kw_only=True, tag="webhook"):
    """One POST for each notice, signed with a secret that both ends have."""

    url: HttpUrl
    secret_file: File  # "whsec_" and base64, or any text
    ca: PemFile | None = None  # of https; None: those of the system

    @property
    def secret_files(self) -> list[Path]:
        """Return the files named here that not everybody may read."""
        return [self.secret_file]


class MailNotify(_Notify, frozen=True, kw_only=True, tag="mail"):
    """One mail for all notices that wait, the next one ``every_s`` later at the earliest."""

    host: Host
    port: Annotated[int, Meta(ge=1, le=65535, description="a port number from 1 to 65535")] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    ca: PemFile | None = None
    username: str | None = None
    password_file: File | None = None
    sender: MailAddress
    to: Annotated[
        tuple[MailAddress, ...],
        Meta(min_length=1, max_length=20, description="1 to 20 mail addresses"),
    ]
    every_s: Annotated[int, count(1, 86_400, 60)] = 60

    @property
    def secret_files(self) -> list[Path]:
        """Return the files named here that not everybody may read."""
        return [] if self.password_file is None else [self.password_file]


NotifyConfig: TypeAlias = MqttNotify | WebhookNotify | MailNotify


def check_notify(reader: TableReader) -> None:
    """Note what is wrong across the tables."""
    found = list(reader.built_of(MqttNotify, WebhookNotify, MailNotify))
    reader.unique(((f"{at}.name", one.name) for at, one in found), "a name no other notify has")
    for at, _ in list(reader.built_of(MqttNotify))[1:]:
        reader.problem(f"{at}.type", "mqtt", "one notify of this type", "remove it")
    for at, mail in reader.built_of(MailNotify):
        if (mail.username is None) != (mail.password_file is None):
            absent = "username" if mail.username is None else "password_file"
            remedy = "write both or neither"
            reader.problem(f"{at}.{absent}", None, "username and password_file together", remedy)
        if mail.security == "none" and mail.password_file is not None:
            reader.problem(
                f"{at}.security", "none", "starttls or tls, because a password is sent",
                'write security = "starttls"',
            )  # fmt: skip
