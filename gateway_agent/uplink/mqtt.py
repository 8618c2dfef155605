"""Send batches from the outbox to an MQTT broker and receive the collector's receipts.

A PUBACK shows only that the broker has a batch. Records leave the outbox when the collector's
signed receipt covers them (unless the operator chose ``receipt = "puback"`` for a platform that
gives none). :mod:`.flight` decides what is sent when, :mod:`.receipts` applies receipts.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, NoReturn

import aiomqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway_agent.cancellation import raise_if_cancelled, until_first_ends
from gateway_agent.config import MqttUplink
from gateway_agent.counters import Counters
from gateway_agent.store.errors import StoreFull
from gateway_agent.store.window import Slice
from gateway_agent.store.writer import OutboxWriter
from protocols.uplink import build_batch, printable

from . import topics
from .connection import ANSWER_S, Backoff, Client, make_client
from .flight import Flight, Pace
from .receipts import Effect, ReceiptReader
from .server_time import LearningClock, ServerTime

log = logging.getLogger(__name__)

KEY_EPOCH: Final = 0  # rises when a gateway's key is changed; no command for that yet
# Leaves room in MAX_BATCH_BYTES for the header when the payload cannot be compressed.
MAX_SLICE_BYTES: Final = 768 * 1024
SHORT_S: Final = 5.0  # a connection that ends before may have been taken over by a rival
RIVAL_SIGNS: Final = 3  # so many of them in a row
RIVALRY_S: Final = (10.0, 300.0)  # first and longest wait then, so that both have their turns
MAX_PACKET: Final = 16 * 1024  # from the broker come receipts only


class UplinkKeys(NamedTuple):
    """``own`` signs batches; ``collector`` verifies receipts, None where a PUBACK is enough."""

    own: Ed25519PrivateKey
    collector: Ed25519PublicKey | None


class Uplink:
    """Run :meth:`run` in a task; it ends by being cancelled, or with StoreFailed."""

    def __init__(
        self,
        config: MqttUplink,
        gateway: str,
        keys: UplinkKeys,
        outbox: OutboxWriter,
        counters: Counters,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wall: LearningClock | None = None,
    ) -> None:
        """Prepare only. ``clock`` (the loop's time, if None) and ``sleep`` are in seconds.

        ``wall`` learns wall time from receipts.
        """
        self.connected = False
        self.problem = "not connected yet"  # why it is not connected; empty when it is
        self._config = config
        self._gateway = gateway
        self._key = keys.own
        self._outbox = outbox
        self._counters = counters
        self._now = clock or asyncio.get_running_loop().time
        self._backoff = Backoff(sleep=sleep)
        self._rivalry = Backoff(*RIVALRY_S, sleep=sleep)
        self._connected_at = 0.0
        self._short = 0  # connections in a row that ended soon
        self._receipts: ReceiptReader | None = None
        self._server_time: ServerTime | None = None
        if keys.collector is not None:
            if wall is not None:
                stats = outbox.stats
                self._server_time = ServerTime(wall, stats.stream, stats.last)
            self._receipts = ReceiptReader(
                gateway, keys.collector, outbox, counters, self._now, self._server_time
            )
        pace = Pace(
            config.batch_records,
            config.batch_interval_ms / 1000,
            config.in_flight,
            config.retry_ms / 1000,
        )
        self._flight = Flight(pace, self._now())
        self._draining = False
        self._refusal = ""  # why this connection was closed by us, if it was
        self._failed = False  # since the newest connection, or since the start

    @property
    def alarms(self) -> list[str]:
        """Return what receipts have shown that an operator must learn of."""
        return [] if self._receipts is None else self._receipts.alarms

    @property
    def receipt_problem(self) -> str:
        """Return why the newest receipt was rejected; empty if it was not."""
        return "" if self._receipts is None else self._receipts.problem

    def waiting_s(self) -> float:
        """Return for how many seconds a receipt has been due; 0: none is."""
        return self._flight.waiting_s(self._outbox.stats, self._now())

    async def run(self) -> NoReturn:
        """Connect, send, receive; over and over."""
        while True:
            try:
                await self._session()
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                self.problem = self._refusal or _text(error)
                self._note_short()
                self._failed = True
                log.warning("uplink to %s: %s", self._config.where, self.problem)
            raise_if_cancelled()
            self._refusal = ""
            if self.connected:
                self.connected = False
                self._counters.disconnects += 1
            await (self._backoff if self._short < RIVAL_SIGNS else self._rivalry).wait()

    def _note_short(self) -> None:
        """Count connections in a row that ended soon: a rival with our name looks like that.

        MQTT 5 has a reason for it, but not every broker gives it.
        """
        if self.connected and self._now() - self._connected_at < SHORT_S and not self._refusal:
            self._short += 1
        elif self.connected:
            self._short = 0
            self._rivalry.reset()
        if self._short >= RIVAL_SIGNS:
            self.problem += (
                f"; {self._short} connections in a row ended within {SHORT_S:g} s: expected one"
                f" gateway with the id {self._gateway}. A copied disk makes two: give each its own"
                " gateway.id and key"
            )

    async def drain(self) -> None:
        """Send what is left without waiting for full batches; return when all is receipted."""
        self._draining = True
        while self._outbox.stats.depth:
            self._outbox.committed.set()
            await asyncio.sleep(0.05)

    async def _session(self) -> None:
        name = f"tianfu-{self._gateway}"
        client = make_client(self._config, name, MAX_PACKET, self._note_refusal)
        async with client:
            if self._receipts is not None:
                await client.listen(topics.all_receipts(self._gateway))
            raise_if_cancelled()
            self.connected, self.problem = True, ""
            if self._failed:  # else a journal of failures has no end
                self._failed = False
                log.warning("uplink to %s works again", self._config.where)
            self._connected_at = self._now()
            self._counters.connects += 1
            await until_first_ends(self._receive(client), self._send(client))

    def _note_refusal(self, reason: str) -> None:
        self._counters.packets_refused += 1
        self._refusal = reason

    # --- sending -------------------------------------------------------------------------------

    async def _send(self, client: Client) -> NoReturn:
        flight, outbox = self._flight, self._outbox
        flight.rewind(outbox.stats, self._now())
        while True:
            raise_if_cancelled()
            outbox.committed.clear()
            flight.follow(outbox.stats, self._now())
            wait_s = flight.wait_s(outbox.stats, self._now(), self._draining)
            if wait_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await outbox.committed.wait()
                continue
            piece = await outbox.slice(flight.sent_to, flight.most, MAX_SLICE_BYTES)
            if piece is not None and piece.stream == flight.stream:
                await self._publish(client, piece)

    async def _publish(self, client: Client, piece: Slice) -> None:
        data = await asyncio.to_thread(self._build, piece)
        topic = topics.batch_topic(self._gateway, piece.stream)
        if len(data) > client.room(topic):
            self._flight.refused(piece)
            if len(piece.records) > 1:
                return
            self._refusal = (
                f"the broker takes packets of up to {client.largest} bytes, a batch of one record"
                f" has {len(data)}: give it a larger limit (mosquitto: max_packet_size)"
            )
            raise aiomqtt.MqttError(self._refusal)
        again = self._flight.begin(piece, self._now())
        if self._server_time is not None and not again:
            self._server_time.sending(piece)
        try:
            await client.send(topic, data)
        except BaseException:  # a lost connection cancels this task
            # MQTT 5 has a word for it; a broker of 3.1.1 just closes when a packet is too long.
            if self._config.version != "5":
                self._flight.refused(piece)
            raise
        self._counters.pubacks += 1
        if again:
            self._counters.batches_resent += 1
        else:
            self._counters.batches_sent += 1
        self._flight.sent(piece, awaits_receipt=self._receipts is not None)
        if self._receipts is None:
            await self._release(piece)

    async def _release(self, piece: Slice) -> None:
        """Prune what the broker has acknowledged, where the operator takes that for delivered."""
        self._backoff.reset()
        try:
            await self._outbox.release(piece.stream, piece.last, piece.head)
        except StoreFull as error:
            # The next release covers these records too.
            log.warning("delivered records cannot be pruned for want of space: %s", error)

    def _build(self, piece: Slice) -> bytes:
        return build_batch(
            gateway=self._gateway,
            key_epoch=KEY_EPOCH,
            stream=piece.stream,
            first=piece.first,
            prev=piece.prev,
            anchor=piece.anchor,
            records=[record.data for record in piece.records],
            key=self._key,
            compress=self._config.compression == "zstd",
            maps=sum(record.maps for record in piece.records),
            head=piece.head,
        )

    # --- receipts ------------------------------------------------------------------------------

    async def _receive(self, client: Client) -> None:
        async for message in client.messages:
            raise_if_cancelled()
            payload = message.payload
            if self._receipts is None or not payload:
                continue  # an empty retained message is one that was cleared
            effect = await self._receipts.take(str(message.topic), payload, not message.retain)
            if effect is Effect.NOTHING:
                continue
            if effect is Effect.PRUNED:
                self._flight.receipted(self._now())
                self._backoff.reset()
            else:
                self._flight.restarted(self._now())
            self._outbox.committed.set()  # room in flight, or another stream: look again


def _text(error: Exception) -> str:
    """Return the text of an error, with a remedy where it has none."""
    text = str(error) or type(error).__name__
    if text == "Operation timed out":  # aiomqtt's words; a refused certificate looks the same
        text = (
            f"no answer within {ANSWER_S:g} s: is a broker there, and does it want TLS, or a"
            " certificate of ours?"
        )
    return printable(text)
