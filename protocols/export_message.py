"""What an exporter over MQTT sends and takes, and what its core has to offer."""

from typing import NamedTuple, Protocol

from .export_record import ExportRecord, Portion


class PlatformMessage(NamedTuple):
    """A message to a platform, made from the records ``seqs``."""

    topic: str
    payload: bytes
    seqs: tuple[int, ...] = ()
    retain: bool = False


class PlatformAnswers:
    """What a platform itself said to messages that the broker has acknowledged."""

    def __init__(self) -> None:
        self.waiting: dict[str, int] = {}  # by the id of a message: the record it was made from
        self.refused: set[int] = set()

    def take(self, identifier: str, *, is_taken: bool) -> None:
        """Note an answer; one to a message that nobody waits for changes nothing."""
        seq = self.waiting.pop(identifier, None)
        if seq is not None and not is_taken:
            self.refused.add(seq)

    def clear(self) -> None:
        """Begin anew with a connection."""
        self.waiting.clear()
        self.refused.clear()


class MqttCore(Protocol):
    """One platform's topics and payloads. Times are Unix ms, None while no clock vouches for one.

    One object lives for all sessions with the broker; :meth:`opened` begins each.
    """

    qos: int  # of what is sent
    answers: PlatformAnswers | None  # of a platform that answers each message itself

    def filters(self) -> list[str]:
        """Return what to subscribe to; with QoS 0 the broker's answer to it stands for PUBACKs."""

    def will(self) -> PlatformMessage | None:
        """Return what the broker publishes if we vanish; called once before each connection."""

    def opened(self, now_ms: int | None) -> list[PlatformMessage]:
        """Return what a session begins with."""

    def messages(self, portion: Portion, now_ms: int | None) -> list[PlatformMessage]:
        """Return the messages for records."""

    def is_stale(self, record: ExportRecord, now_ms: int | None) -> bool:
        """Return whether a record is too old for a platform that only has the present."""

    def received(self, topic: str, payload: bytes) -> list[PlatformMessage]:
        """Return the answers to a message. ValueError: it is none that the platform may send."""

    def due(self, now_ms: int | None) -> list[PlatformMessage]:
        """Return what must be sent without records; asked about once a second."""

    def closing(self) -> list[PlatformMessage]:
        """Return what a session ends with."""


class PlainCore:
    """What most cores have nothing to do for."""

    qos = 1
    answers: PlatformAnswers | None = None

    def filters(self) -> list[str]:
        """Return nothing to subscribe to."""
        return []

    def will(self) -> PlatformMessage | None:
        """Return no will."""
        return None

    def opened(self, now_ms: int | None) -> list[PlatformMessage]:
        """Return nothing to begin with."""
        return []

    def is_stale(self, record: ExportRecord, now_ms: int | None) -> bool:
        """Return False: the platform keeps a history."""
        return False

    def received(self, topic: str, payload: bytes) -> list[PlatformMessage]:
        """Refuse what nobody subscribed to."""
        raise ValueError(f"no message was expected, got one on {topic[:80]!r}")

    def due(self, now_ms: int | None) -> list[PlatformMessage]:
        """Return nothing."""
        return []

    def closing(self) -> list[PlatformMessage]:
        """Return no goodbye."""
        return []
