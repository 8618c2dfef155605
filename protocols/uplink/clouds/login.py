"""Compute client id, user name and password as MQTT clouds check them, from a device's secret.

From the clouds' own pages, not from a standard: "MQTT-TCP connection" of Aliyun, the device
authentication of Huawei IoTDA, "token" of OneNET, "MQTT-based device connection over TCP" of
Tencent. Times are Unix times, None while no clock vouches for one: Aliyun's and Huawei's forms work
without, the two others raise NoTimeForLoginError.
"""

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, TypeAlias
from urllib.parse import quote

Method: TypeAlias = Literal["md5", "sha1", "sha256"]
MIN_LIFETIME_S: Final = 600  # of a token: a renewal is to be a rare thing
TENCENT_APP: Final = "12010126"  # the sdkappid of every device
#: The hour in Huawei's forms that nobody compares with a clock; its key is that text.
_NO_HOUR: Final = "2025010100"


class NoTimeForLoginError(ValueError):
    """The password of this cloud has its end in it, and no clock vouches for a time yet."""


class Credentials(NamedTuple):
    """What a CONNECT has; ``end_ms``: the Unix time from which the password is refused."""

    client_id: str
    username: str
    password: str
    end_ms: int | None = None


def aliyun(
    product_key: str,
    device_name: str,
    secret: str,
    *,
    client_id: str,
    is_secure: bool,
    now_ms: int | None,
    method: Method = "sha256",
) -> Credentials:
    """Return the log-in of Aliyun, which many districts' clouds have copied.

    Signed are names and values in the order of the names; the timestamp may be absent.
    """
    signed = {"clientId": client_id, "deviceName": device_name, "productKey": product_key}
    options = f"securemode={2 if is_secure else 3},signmethod=hmac{method}"
    if now_ms is not None:
        signed["timestamp"] = str(now_ms)
        options += f",timestamp={now_ms}"
    text = "".join(name + value for name, value in sorted(signed.items()))
    password = _mac(secret.encode(), text, method).hex()
    return Credentials(f"{client_id}|{options}|", f"{device_name}&{product_key}", password)


def huawei(device_id: str, secret: str, *, now_ms: int | None) -> Credentials:
    """Return the log-in of Huawei IoTDA: the secret, signed with the hour in UTC as the key.

    The 1 in the client id has the platform compare the hour with its own; without a clock it is 0.
    """
    hour, check = _NO_HOUR, 0
    if now_ms is not None:
        hour, check = datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y%m%d%H"), 1
    password = _mac(hour.encode(), secret, "sha256").hex()
    return Credentials(f"{device_id}_0_{check}_{hour}", device_id, password)


def onenet(
    product_id: str,
    device_name: str,
    key: str,
    *,
    now_ms: int | None,
    lifetime_s: int,
    method: Method = "sha1",
) -> Credentials:
    """Return the log-in of OneNET: a token that ends ``lifetime_s`` from now. ``key``: base64."""
    end_s = _end_s(now_ms, lifetime_s)
    token = onenet_token(f"products/{product_id}/devices/{device_name}", key, end_s, method)
    return Credentials(device_name, product_id, token, 1000 * end_s)


def onenet_token(resource: str, key: str, end_s: int, method: Method) -> str:
    """Return the token of OneNET for a resource: a product, or a device of it."""
    version = "2018-10-31"
    text = "\n".join((str(end_s), method, resource, version))
    sign = base64.b64encode(_mac(_key(key), text, method)).decode()
    parts = {"version": version, "res": resource, "et": str(end_s), "method": method, "sign": sign}
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in parts.items())


def tencent(
    product_id: str,
    device_name: str,
    key: str,
    *,
    connection: str,
    now_ms: int | None,
    lifetime_s: int,
    method: Literal["sha1", "sha256"] = "sha256",
) -> Credentials:
    """Return the log-in of Tencent: the user name has the end, the password signs it.

    ``connection``: a few letters or digits, drawn for each connection. ``key``: base64.
    """
    end_s = _end_s(now_ms, lifetime_s)
    client_id = product_id + device_name
    username = f"{client_id};{TENCENT_APP};{connection};{end_s}"
    password = f"{_mac(_key(key), username, method).hex()};hmac{method}"
    return Credentials(client_id, username, password, 1000 * end_s)


def _end_s(now_ms: int | None, lifetime_s: int) -> int:
    if now_ms is None:
        raise NoTimeForLoginError(
            "the password of this cloud has its end in it, and no clock vouches for a time yet:"
            " expected a synchronised clock (chrony, timesyncd), or a receipt of the collector"
        )
    return now_ms // 1000 + lifetime_s


def _key(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("expected the device's key in base64, as the cloud shows it") from None


def _mac(key: bytes, text: str, method: str) -> bytes:
    return hmac.new(key, text.encode(), getattr(hashlib, method)).digest()
