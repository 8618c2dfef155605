"""Send the batches of an outbox in one connection after the other, without waiting for each.

A batch is read, signed and compressed in the outbox's thread while others are on their way.
:mod:`.flight` decides what is sent when; PUBACKs are taken in the order of the batches.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, NoReturn

import aiomqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.config import MqttUplink
from gateway_agent.counters import Counters
from gateway_agent.store.errors import StoreFull
from gateway_agent.store.window import Slice
from gateway_agent.store.writer import OutboxWriter
from protocols.uplink import build_batch

from . import topics
from .connection import ANSWER_S, NO_PUBACK, Client, MessageRefused, Puback
from .flight import Flight, Pace
from .server_time import ServerTime

log = logging.getLogger(__name__)

KEY_EPOCH: Final = 0  # rises when a gateway's key is changed; no command for that yet
# Leaves room in MAX_BATCH_BYTES for the header when the payload cannot be compressed.
MAX_SLICE_BYTES: Final = 768 * 1024
# A collector that comes back with its broker is subscribed again long before.
ABSENT_S: Final = 30.0


class _Posted(NamedTuple):
    """A batch that was published; ``head``: the chain's after it."""

    topic: str
    stream: int
    head: bytes
    answer: "asyncio.Future[Puback]"


class BatchSender:
    """Run :meth:`run` in each connection; ``flight`` goes on from one to the next."""

    def __init__(
        self,
        config: MqttUplink,
        gateway: str,
        key: Ed25519PrivateKey,
        outbox: OutboxWriter,
        counters: Counters,
        now: Callable[[], float],
        server_time: ServerTime | None,
        on_delivered: Callable[[], None],
    ) -> None:
        """``on_delivered`` is called when the broker's PUBACK counts as delivery."""
        self.is_draining = False  # a batch need not be full
        self._config = config
        self._gateway = gateway
        self._key = key
        self._outbox = outbox
        self._counters = counters
        self._now = now
        self._server_time = server_time
        self._on_delivered = on_delivered
        self._awaits_receipts = config.receipt == "signed"
        self.flight = Flight(
            Pace(
                config.batch_records,
                config.interval_ms / 1000,
                config.window_bytes,
                config.in_flight,
                config.retry_ms / 1000,
                self._awaits_receipts,
            ),
            now(),
        )
        self._hurry = (0, 0)  # stream and record up to which a batch need not be full
        self._posted: deque[_Posted] = deque()  # what the broker has not acknowledged yet
        self._is_absent = False  # the collector, says the log
        self._puback_due = 0.0  # when the next acknowledgement must have come

    def hurry(self) -> None:
        """Send all that is committed now without waiting for a full batch."""
        stats = self._outbox.stats
        self._hurry = stats.stream, stats.last
        self._outbox.committed.set()

    @property
    def _is_hurried(self) -> bool:
        stream, last = self._hurry
        return self.is_draining or (stream == self.flight.stream and self.flight.sent_to < last)

    async def run(self, client: Client, kept: int = 0) -> NoReturn:
        """Send in one connection, from the last receipt on. MqttError ends the connection.

        ``kept``: how many of the messages that the broker takes without a PUBACK are for others.
        """
        flight, outbox = self.flight, self._outbox
        self._posted.clear()
        most = max(1, client.limits.unacknowledged - kept)
        flight.rewind(outbox.stats, self._now(), most)
        while True:
            raise_if_cancelled()
            outbox.committed.clear()
            while self._posted and self._posted[0].answer.done():
                await self._acknowledged(self._posted.popleft())
            flight.follow(outbox.stats, self._now())
            self._name_absence()
            wait_s = flight.wait_s(outbox.stats, self._now(), self._is_hurried)
            if wait_s > 0:
                await self._wait(wait_s)
                continue
            made = await outbox.made(flight.sent_to, flight.most, MAX_SLICE_BYTES, self.build)
            if made is not None and made[0].stream == flight.stream:
                self._publish(client, *made)

    async def _wait(self, wait_s: float) -> None:
        """Wait for a commit, a receipt or a PUBACK."""
        if self._posted:
            wait_s = min(wait_s, self._puback_due - self._now())
            if wait_s <= 0:
                raise aiomqtt.MqttError(NO_PUBACK)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._outbox.committed.wait()

    def _publish(self, client: Client, piece: Slice, data: bytes) -> None:
        flight = self.flight
        topic = topics.batch_topic(self._gateway, piece.stream)
        if len(data) > client.room(topic):
            flight.too_large(len(piece.records))
            if len(piece.records) > 1:
                return
            reason = (
                f"the broker takes packets of up to {client.limits.packet} bytes, a batch of one"
                f" record has {len(data)}: give it a larger limit (mosquitto: max_packet_size)"
            )
            client.refuse(reason)
            raise aiomqtt.MqttError(reason)
        flight.follow(self._outbox.stats, self._now())
        if (piece.stream, piece.first) != (flight.stream, flight.sent_to + 1):
            return  # a receipt that came meanwhile makes another batch the next one
        if not self._posted:
            self._puback_due = self._now() + ANSWER_S
        sent = flight.send(piece, len(data), self._now())
        if self._server_time is not None and not sent.again:
            self._server_time.sending(piece)
        answer = client.post(topic, data)
        answer.add_done_callback(lambda _: self._outbox.committed.set())
        self._posted.append(_Posted(topic, piece.stream, piece.head, answer))

    async def _acknowledged(self, posted: _Posted) -> None:
        """Take note of the broker's answer to the oldest batch that it had not answered."""
        puback = posted.answer.result()
        if puback.refusal:
            raise MessageRefused(f"the broker refused {posted.topic}: {puback.refusal}")
        self._puback_due = self._now() + ANSWER_S
        sent = self.flight.acknowledged(puback.is_heard, self._now())
        self._counters.pubacks += 1
        if sent.again:
            self._counters.batches_resent += 1
        else:
            self._counters.batches_sent += 1
        if not self._awaits_receipts:
            await self._release(posted.stream, sent.last, posted.head)

    def _name_absence(self) -> None:
        """Log that nobody is subscribed once it has lasted: a collector has a broker to find, too.

        Its return is logged only if its absence was.
        """
        topic = topics.batch_topic(self._gateway, self.flight.stream)
        if not self.flight.is_unheard and self._is_absent:
            self._is_absent = False
            log.warning("somebody is subscribed to %s again", topic)
        elif not self._is_absent and self.flight.unheard_s(self._now()) >= ABSENT_S:
            self._is_absent = True
            log.warning(
                "nobody has been subscribed to %s for %.0f s: start the collector, and let its user"
                " read this topic at the broker",
                *(topic, self.flight.unheard_s(self._now())),
            )

    async def _release(self, stream: int, to: int, head: bytes) -> None:
        """Prune what the broker has acknowledged, where the operator takes that for delivered."""
        self._on_delivered()
        try:
            await self._outbox.release(stream, to, head)
        except StoreFull as error:
            # The next release covers these records too.
            log.warning("delivered records cannot be pruned for want of space: %s", error)

    def build(self, piece: Slice) -> bytes:
        """Sign and compress records as a batch."""
        return build_batch(
            gateway=self._gateway,
            key_epoch=KEY_EPOCH,
            stream=piece.stream,
            first=piece.first,
            prev=piece.prev,
            anchor=piece.anchor,
            records=[record.data for record in piece.records],
            key=self._key,
            compress=self._config.compression != "none",
            short=self._config.compression == "short",
            maps=sum(record.maps for record in piece.records),
            head=piece.head,
            earlier=piece.earlier,
            # A collector of ours that has lost its database names what it will never get.
            released=self._outbox.stats.receipted_to if not self._awaits_receipts else 0,
        )
