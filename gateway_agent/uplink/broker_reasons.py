"""What a broker means when it ends a connection, for a person, and how long to stay away then.

MQTT 5 has a reason code, and may have a text, in CONNACK and DISCONNECT (MQTT 5.0, 2.4, 3.2.2.2 and
3.14.2.1). MQTT 3.1.1 has codes in CONNACK only; paho translates them to those of MQTT 5.
"""

from typing import Final, NamedTuple

from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from protocols.text_of_others import printable

from .backoff import AWAY, REFUSED, TAKEN_OVER, Pause

TOO_LARGE: Final = 0x95
SESSION_TAKEN_OVER: Final = 0x8E
NO_SUBSCRIBERS: Final = 0x10  # of a PUBACK: the broker took a message that nobody waits for
_LONGEST_TEXT: Final = 200  # characters of the broker's own words


class Ending(NamedTuple):
    """Why a connection ended, or was not made. ``code`` is the broker's reason, None without one.

    ``is_known``: somebody gave the reason, the broker or our own check.
    """

    text: str
    pause: Pause
    code: int | None = None
    is_known: bool = True


_MEANINGS: Final = {
    0x00: ("the broker closed the connection and gave no reason", AWAY),
    0x81: ("the broker cannot read what we sent", REFUSED),
    0x82: ("the broker says that we break the protocol", REFUSED),
    0x83: ("the broker does not accept what we sent, for a reason of its own", REFUSED),
    0x84: ('the broker does not speak this version of MQTT: set version = "3.1.1"', REFUSED),
    0x85: ("the broker does not accept the client id {identifier}", REFUSED),
    0x86: (
        "the broker does not accept user name or password: see username, password_file",
        REFUSED,
    ),
    0x87: (
        "the broker does not allow this client: see its user, its certificate, the ACL",
        REFUSED,
    ),
    0x88: ("the broker is not available", AWAY),
    0x89: ("the broker is busy", REFUSED),
    0x8A: ("the broker has banned the client {identifier}: ask who runs it", REFUSED),
    0x8B: ("the broker shuts down", AWAY),
    0x8C: ("the broker does not accept the way we authenticate", REFUSED),
    0x8D: ("the broker heard nothing of us for too long", AWAY),
    0x8E: ("another client uses the id {identifier}: {twins}?", TAKEN_OVER),
    0x90: ("the broker does not accept our topic", REFUSED),
    0x93: ("the broker got more messages at once than it takes", REFUSED),
    0x95: ("the broker got a packet that is larger than it takes", AWAY),
    0x96: ("the broker got messages faster than it takes", REFUSED),
    0x97: ("the broker has no room left for this client: a quota is exceeded", REFUSED),
    0x98: ("the broker's operator closed the connection", REFUSED),
    0x9A: ("the broker takes no retained messages", REFUSED),
    0x9B: ("the broker does not take this quality of service", REFUSED),
    0x9C: ("the broker asks to use another server{reference}: change host", REFUSED),
    0x9D: ("the broker has moved{reference}: change host", REFUSED),
    0x9F: ("the broker got connections faster than it takes", REFUSED),
    0xA0: ("the broker ends each connection after a time", AWAY),
}


def ending_of(
    reason: ReasonCode, properties: Properties | None, identifier: str, twins: str
) -> Ending:
    """Return what CONNACK or DISCONNECT says.

    ``identifier`` is our client id; ``twins`` asks for what two clients with one id would mean.
    """
    server = getattr(properties, "ServerReference", "")
    reference = f" ({printable(server[:_LONGEST_TEXT])})" if server else ""
    unknown = (f"the broker gives the reason {reason.value:#04x}, {reason}", REFUSED)
    meaning, pause = _MEANINGS.get(reason.value, unknown)
    text = meaning.format(identifier=identifier, twins=twins, reference=reference)
    words = getattr(properties, "ReasonString", "")
    if words:
        text += f' (in its words: "{printable(words[:_LONGEST_TEXT])}")'
    return Ending(text, pause, reason.value)
