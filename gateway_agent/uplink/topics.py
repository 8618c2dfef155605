"""Topics are ``tianfu/<gateway>/batch/<stream>`` and ``tianfu/<gateway>/receipt/<stream>``.

With ``[[notify]]`` of type "mqtt" a gateway also announces itself and its alarms, in JSON.

Receipts are retained, so a gateway that comes back gets its last one at once; everything still
works with a broker that forgets them.

Orders of operators come on ``tianfu/<gateway>/order/<key id>``, the gateway's replies to them go to
``tianfu/<gateway>/reply/<key id>``; the key id is that of the operator, in hex.
"""

from typing import Final, NamedTuple

from protocols.identity import is_identifier
from protocols.uplink import MAX_NUMBER

ALL_BATCHES: Final = "tianfu/+/batch/+"


class Topic(NamedTuple):
    """A topic taken apart; ``kind`` is ``batch`` or ``receipt``."""

    gateway: str
    kind: str
    stream: int


def batch_topic(gateway: str, stream: int) -> str:
    """Return the topic on which a gateway publishes the batches of a stream."""
    return f"tianfu/{gateway}/batch/{stream}"


def receipt_topic(gateway: str, stream: int) -> str:
    """Return the topic on which the collector answers."""
    return f"tianfu/{gateway}/receipt/{stream}"


def all_receipts(gateway: str) -> str:
    """Return the filter that a gateway subscribes to."""
    return f"tianfu/{gateway}/receipt/+"


def status_topic(gateway: str) -> str:
    """Return the topic of whether a gateway is there, retained; its last will goes there too."""
    return f"tianfu/{gateway}/status"


def alarm_topic(gateway: str, alarm: str) -> str:
    """Return the topic of an alarm's state, retained."""
    return f"tianfu/{gateway}/alarm/{alarm}"


def alarm_change_topic(gateway: str) -> str:
    """Return the topic of every change of an alarm, not retained."""
    return f"tianfu/{gateway}/alarm-change"


def order_topic(gateway: str, kid: bytes) -> str:
    """Return the topic on which an operator publishes orders for a gateway."""
    return f"tianfu/{gateway}/order/{kid.hex()}"


def all_orders(gateway: str) -> str:
    """Return the filter that a gateway subscribes to for orders."""
    return f"tianfu/{gateway}/order/+"


def is_order(topic: str) -> bool:
    """Return whether this is a topic of orders."""
    return topic.split("/")[2:3] == ["order"]


def reply_topic(gateway: str, kid: bytes) -> str:
    """Return the topic on which a gateway replies to the orders of a key."""
    return f"tianfu/{gateway}/reply/{kid.hex()}"


def parse(topic: str) -> Topic | None:
    """Take a topic apart; None if it is none of ours."""
    parts = topic.split("/")
    if len(parts) != 4 or parts[0] != "tianfu" or parts[2] not in ("batch", "receipt"):
        return None
    gateway, kind, stream = parts[1:]
    if not is_identifier(gateway) or not stream.isdecimal() or len(stream) > 19:
        return None
    number = int(stream)
    return Topic(gateway, kind, number) if number <= MAX_NUMBER else None
