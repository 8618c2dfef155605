"""The table ``[uplink.login]``: who a gateway is in an MQTT cloud, and how long its password holds.

The secret is read from its file for each connection, and never leaves this process: passwords are
signatures made with it. A password that ends is renewed before that, counted by the boot clock.
"""

import secrets
import string
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

from msgspec import Meta, Struct

from gateway_agent.clock import GatewayClock, drift_ms
from gateway_agent.config_types import File
from gateway_agent.keys import KeyFileError, check_secret
from gateway_agent.table_types import REMEDY
from protocols.uplink import clouds

_MAX_SECRET_BYTES: Final = 1024
_DRAWN: Final = string.ascii_uppercase + string.digits

_Identity: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_@.:\-]{1,256}\Z",
        description="letters, digits and - _ @ . :, as the cloud shows it",
        examples=["gw1"],
    ),
]
_SecretFile: TypeAlias = Annotated[
    File,
    Meta(
        description="the file that has the device's secret",
        extra={REMEDY: "write the secret of the device into a file with mode 0600, and name that"},
    ),
]
_Lifetime: TypeAlias = Annotated[
    int,
    Meta(
        ge=clouds.MIN_LIFETIME_S,
        le=31_536_000,
        description=f"seconds from {clouds.MIN_LIFETIME_S} to 31536000",
        examples=[86_400],
    ),
]


class SignedIn(NamedTuple):
    """The log-in of one connection; ``renew_at_ms``: the boot time at which to make another."""

    client_id: str
    username: str
    password: str
    renew_at_ms: int | None


class CloudAccount(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """The keys that the device of every cloud has; :data:`AnyCloudAccount` is one of a cloud."""

    secret_file: _SecretFile
    confirmed: bool = True  # the cloud's answer to a post is the delivery; false: the PUBACK


class AliyunAccount(CloudAccount, frozen=True, kw_only=True, tag="aliyun"):
    """A device of Aliyun's IoT platform, or of one that checks log-ins as that does."""

    product_key: _Identity
    device_name: _Identity
    method: Literal["md5", "sha1", "sha256"] = "sha256"

    @property
    def cloud(self) -> clouds.Cloud:
        """Return the topics of the device's properties."""
        post = f"/sys/{self.product_key}/{self.device_name}/thing/event/property/post"
        return clouds.Cloud("aliyun", post, f"{post}_reply")

    def credentials(self, secret: str, now_ms: int | None, is_secure: bool) -> clouds.Credentials:
        """Return what to log in with at ``now_ms``; it does not end."""
        return clouds.aliyun(
            self.product_key,
            self.device_name,
            secret,
            client_id=f"{self.product_key}.{self.device_name}"[:64],
            is_secure=is_secure,
            now_ms=now_ms,
            method=self.method,
        )


class HuaweiAccount(CloudAccount, frozen=True, kw_only=True, tag="huawei"):
    """A device of Huawei IoTDA."""

    device_id: _Identity

    @property
    def cloud(self) -> clouds.Cloud:
        """Return the topic of the device's properties; posts are not answered."""
        return clouds.Cloud("huawei", f"$oc/devices/{self.device_id}/sys/properties/report")

    def credentials(self, secret: str, now_ms: int | None, is_secure: bool) -> clouds.Credentials:
        """Return what to log in with, now: the hour is checked when a connection begins only."""
        return clouds.huawei(self.device_id, secret, now_ms=now_ms)


class OneNetAccount(CloudAccount, frozen=True, kw_only=True, tag="onenet"):
    """A device of OneNET."""

    product_id: _Identity
    device_name: _Identity
    method: Literal["md5", "sha1", "sha256"] = "sha1"
    lifetime_s: _Lifetime = 86_400

    @property
    def cloud(self) -> clouds.Cloud:
        """Return the topics of the device's properties."""
        post = f"$sys/{self.product_id}/{self.device_name}/thing/property/post"
        return clouds.Cloud("onenet", post, f"{post}/reply")

    def credentials(self, secret: str, now_ms: int | None, is_secure: bool) -> clouds.Credentials:
        """Return a token that ends after ``lifetime_s``."""
        return clouds.onenet(
            self.product_id,
            self.device_name,
            secret,
            now_ms=now_ms,
            lifetime_s=self.lifetime_s,
            method=self.method,
        )


class TencentAccount(CloudAccount, frozen=True, kw_only=True, tag="tencent"):
    """A device of Tencent's IoT platforms."""

    product_id: _Identity
    device_name: _Identity
    method: Literal["sha1", "sha256"] = "sha256"
    lifetime_s: _Lifetime = 86_400

    @property
    def cloud(self) -> clouds.Cloud:
        """Return the topics of the device's properties."""
        thing = f"property/{self.product_id}/{self.device_name}"
        return clouds.Cloud("tencent", f"$thing/up/{thing}", f"$thing/down/{thing}")

    def credentials(self, secret: str, now_ms: int | None, is_secure: bool) -> clouds.Credentials:
        """Return a password that ends after ``lifetime_s``."""
        return clouds.tencent(
            self.product_id,
            self.device_name,
            secret,
            connection="".join(secrets.choice(_DRAWN) for _ in range(5)),
            now_ms=now_ms,
            lifetime_s=self.lifetime_s,
            method=self.method,
        )


AnyCloudAccount: TypeAlias = AliyunAccount | HuaweiAccount | OneNetAccount | TencentAccount


def sign_in(account: AnyCloudAccount, clock: GatewayClock, is_secure: bool) -> SignedIn:
    """Return the log-in of a connection that begins now. OSError, ValueError: the secret.

    Raises NoTimeForLoginError while the clock is not good enough for a password that ends.
    """
    boot_ms, wall = clock.boot_ms(), clock.wall()
    secret = _secret_in(account.secret_file)
    client_id, username, password, end_ms = account.credentials(secret, wall.wall_ms, is_secure)
    if end_ms is None or wall.wall_ms is None:
        return SignedIn(client_id, username, password, None)
    left_ms = end_ms - wall.wall_ms
    left_ms -= left_ms // 10 + wall.unc_ms + drift_ms(left_ms)
    if left_ms <= 0:
        raise clouds.NoTimeForLoginError(
            f"the clock is known to {wall.unc_ms / 1000:g} s only, the password of this cloud"
            f" would hold for {(end_ms - wall.wall_ms) / 1000:g} s: expected a better clock,"
            " or a longer lifetime_s"
        )
    return SignedIn(client_id, username, password, boot_ms + left_ms)


def _secret_in(path: Path) -> str:
    """Return the secret in a file that not everybody may read. OSError, ValueError."""
    try:
        check_secret(path)
    except KeyFileError as error:  # its mode was changed since the start
        raise ValueError(str(error)) from error
    with path.open("rb") as file:
        data = file.read(_MAX_SECRET_BYTES + 1)
    text = data.decode("utf-8-sig").strip()
    if not text or len(data) > _MAX_SECRET_BYTES:
        raise ValueError(f"{path}: expected the secret of a device, got {len(data)} bytes")
    return text
