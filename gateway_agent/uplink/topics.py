"""Topics are ``tianfu/<gateway>/batch/<stream>`` and ``tianfu/<gateway>/receipt/<stream>``.

With ``[[notify]]`` of type "mqtt" a gateway also announces itself and its alarms, in JSON.

Receipts are retained, so a gateway that comes back gets its last one at once; everything still
works with a broker that forgets them.
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
