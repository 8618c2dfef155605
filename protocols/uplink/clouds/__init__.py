"""MQTT clouds that a district's devices log in to: what they check, and how they take properties.

A cloud has one device for a gateway. The log-ins are in :mod:`.login`, the messages in
:mod:`.property_post`.
"""

from .login import (
    MIN_LIFETIME_S,
    Credentials,
    NoTimeForLoginError,
    aliyun,
    huawei,
    onenet,
    onenet_token,
    tencent,
)
from .property_post import Cloud, CloudCore, property_name

__all__ = [
    "MIN_LIFETIME_S",
    "Cloud",
    "CloudCore",
    "Credentials",
    "NoTimeForLoginError",
    "aliyun",
    "huawei",
    "onenet",
    "onenet_token",
    "property_name",
    "tencent",
]
