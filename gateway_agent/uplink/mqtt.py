"""Send batches from the outbox to an MQTT broker and receive the collector's receipts.

A PUBACK shows only that the broker has a batch. Records leave the outbox when the collector's
signed receipt covers them (unless the operator chose ``receipt = "puback"`` for a platform that
gives none). :mod:`.sender` sends batches, :mod:`.receipts` applies receipts.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, NoReturn, Protocol

import aiomqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway_agent.cancellation import raise_if_cancelled, until_first_ends, whatever_comes
from gateway_agent.commands.orders import OrderInbox
from gateway_agent.config import MqttUplink
from gateway_agent.counters import Counters
from gateway_agent.journal import about
from gateway_agent.rare_log import ChangeLog
from gateway_agent.store.window import Slice
from gateway_agent.store.writer import OutboxWriter

from . import topics
from .backoff import AWAY, RIVALRY, Backoff, Pause
from .broker_reasons import TOO_LARGE, Ending
from .connection import Client, Who, make_client, unexplained
from .receipts import Effect, ReceiptReader
from .sender import MAX_SLICE_BYTES, BatchSender
from .server_time import LearningClock, ServerTime

log = logging.getLogger(__name__)

SHORT_S: Final = 5.0  # a connection that ends before may have been taken over by a rival
RIVAL_SIGNS: Final = 3  # so many of them in a row
MAX_PACKET: Final = 16 * 1024  # from the broker come receipts only
CARRIED_RECORDS: Final = 500  # of a batch in a file
_EFFECTS: Final = {
    Effect.NOTHING: "nothing new",
    Effect.REPEATED: "nothing new",
    Effect.PRUNED: "applied",
    Effect.NEW_STREAM: "the collector has another history: a new stream begins",
}


class UplinkKeys(NamedTuple):
    """``own`` signs batches; ``collector`` verifies receipts, None where a PUBACK is enough."""

    own: Ed25519PrivateKey
    collector: Ed25519PublicKey | None


class Announcing(Protocol):
    """What goes over the same connection beside the batches, and before them."""

    def will(self) -> aiomqtt.Will:
        """Return what the broker publishes when it loses us."""

    async def run(self, client: Client) -> None:
        """Announce in one connection until cancelled."""

    async def goodbye(self, client: Client) -> None:
        """Announce that we stop."""


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
        announcer: Announcing | None = None,
        orders: OrderInbox | None = None,
    ) -> None:
        """Prepare only. ``clock`` (the loop's time, if None) and ``sleep`` are in seconds.

        ``wall`` learns wall time from receipts. ``orders``: gets those of operators; None: nobody.
        """
        self._orders = orders
        self.connected = False
        self.problem = "not connected yet"  # why it is not connected; empty when it is
        self._config = config
        self._announcer = announcer
        self._gateway = gateway
        self._outbox = outbox
        self._counters = counters
        self._now = clock or asyncio.get_running_loop().time
        twins = "are two gateways configured with one id"
        self._who = Who(f"tianfu-{gateway}", twins)
        self._backoff = Backoff(sleep)
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
        self._sender = BatchSender(
            config,
            gateway,
            keys.own,
            outbox,
            counters,
            self._now,
            self._server_time,
            self._backoff.reset,
        )
        self._flight = self._sender.flight
        self._failed = False  # since the newest connection, or since the start
        self._log = ChangeLog(log, extra=about(uplink="collector"))

    @property
    def alarms(self) -> list[str]:
        """Return what receipts have shown that an operator must learn of."""
        return [] if self._receipts is None else self._receipts.alarms

    @property
    def receipt_problem(self) -> str:
        """Return why the newest receipt was rejected; empty if it was not."""
        return "" if self._receipts is None else self._receipts.problem

    @property
    def receipt_ms(self) -> int:
        """Return the collector's time of the newest receipt; 0: none since the start."""
        return 0 if self._receipts is None else self._receipts.newest_ms

    @property
    def is_unheard(self) -> bool:
        """Return whether the broker has said that nobody is subscribed to our batches."""
        return self._flight.is_unheard

    def waiting_s(self) -> float:
        """Return for how many seconds a receipt has been due; 0: none is."""
        return self._flight.waiting_s(self._outbox.stats, self._now())

    async def run(self) -> NoReturn:
        """Connect, send, receive; over and over."""
        while True:
            pause, client = AWAY, None
            try:
                will = None if self._announcer is None else self._announcer.will()
                client = make_client(self._config, self._who, MAX_PACKET, self._note_refusal, will)
                await self._session(client)
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                ending = unexplained(error) if client is None else client.ending(error)
                self._note_size(ending)
                pause = self._note_end(ending)
                self._log.warning(f"uplink to {self._config.where}: {self.problem}")
            raise_if_cancelled()
            if self.connected:
                self.connected = False
                self._counters.disconnects += 1
            await self._backoff.wait(pause)

    def _note_size(self, ending: Ending) -> None:
        """Send less at once where the connection ended, it seems, because a batch was too long.

        MQTT 5 has a reason for that, too; a broker of 3.1.1 just closes the connection.
        """
        records = self._flight.ended()
        is_silent = self._config.version != "5" and not ending.is_known
        if records and (ending.code == TOO_LARGE or is_silent):
            self._flight.too_large(records)

    def _note_end(self, ending: Ending) -> Pause:
        """Take note of the end of a connection; return how long to stay away.

        Connections in a row that end soon without a reason look like a rival with our name. MQTT 5
        has a reason for that, but not every broker gives it.
        """
        self.problem, self._failed = ending.text, True
        if self.connected and not ending.is_known and self._now() - self._connected_at < SHORT_S:
            self._short += 1
        elif self.connected:
            self._short = 0
        if self._short < RIVAL_SIGNS:
            return ending.pause
        self.problem += (
            f"; {self._short} connections in a row ended within {SHORT_S:g} s: expected one"
            f" gateway with the id {self._gateway}. A copied disk makes two: give each its own"
            " gateway.id and key"
        )
        return RIVALRY

    def hurry(self) -> None:
        """Send all that is committed now without waiting for a full batch."""
        self._sender.hurry()

    async def drain(self) -> None:
        """Send what is left without waiting for full batches; return when all is receipted."""
        self._sender.is_draining = True
        while self._outbox.stats.depth:
            self._outbox.committed.set()
            await asyncio.sleep(0.05)

    async def _session(self, client: Client) -> None:
        async with client:
            if self._receipts is None and not client.limits.qos:
                reason = (
                    'receipt = "puback" needs the PUBACK of QoS 1, which this broker does not take:'
                    ' use another broker, or a collector and receipt = "signed"'
                )
                client.refuse(reason)
                raise aiomqtt.MqttError(reason)
            if self._receipts is not None:
                await client.listen(topics.all_receipts(self._gateway))
            await self._listen_for_orders(client)
            raise_if_cancelled()
            self.connected, self.problem = True, ""
            if self._failed:  # else a journal of failures has no end
                self._failed = False
                self._log.warning(f"uplink to {self._config.where} works again")
            self._connected_at = self._now()
            self._counters.connects += 1
            # An announcement need not wait for the PUBACK of a batch.
            kept = 0 if self._announcer is None else 1
            works = [self._receive(client), self._sender.run(client, kept)]
            if self._orders is not None:
                works.append(self._reply(client, self._orders))
            announcer = self._announcer
            if announcer is None:
                await until_first_ends(*works)
                return
            try:
                await until_first_ends(*works, announcer.run(client))
            except asyncio.CancelledError:
                await whatever_comes(announcer.goodbye(client))
                raise

    async def _listen_for_orders(self, client: Client) -> None:
        """Subscribe to orders; a broker that does not allow it stops no reading."""
        if self._orders is None or not self._orders.is_open:
            return
        try:
            await client.listen(topics.all_orders(self._gateway))
        except aiomqtt.MqttError as error:
            log.error("no orders come: %s", error)

    async def _reply(self, client: Client, orders: OrderInbox) -> NoReturn:
        """Send replies to orders; one that gets lost comes again with the order."""
        while True:
            raise_if_cancelled()
            reply = await orders.replies.get()
            client.post(topics.reply_topic(self._gateway, reply.kid), reply.data)

    def _note_refusal(self, _: str) -> None:
        self._counters.packets_refused += 1

    # --- receipts ------------------------------------------------------------------------------

    async def _receive(self, client: Client) -> None:
        async for message in client.messages:
            raise_if_cancelled()
            client.taken(message)
            payload = message.payload
            if self._orders is not None and topics.is_order(str(message.topic)):
                self._orders.take(payload)
            elif payload:  # an empty retained message is one that was cleared
                await self._take(str(message.topic), payload, not message.retain)

    async def _take(self, topic: str | None, payload: bytes, live: bool) -> Effect:
        if self._receipts is None:
            return Effect.NOTHING
        effect = await self._receipts.take(topic, payload, live)
        now, stats = self._now(), self._outbox.stats
        if effect is Effect.NOTHING:
            return effect
        if effect is Effect.PRUNED:
            self._flight.receipted(stats.receipted_to, now)
            self._backoff.reset()
        elif effect is Effect.REPEATED:
            self._flight.repeated(stats.receipted_to, now)
        else:
            self._flight.restarted(now)
        self._outbox.committed.set()  # room in flight, or another stream: look again
        return effect

    # --- what is carried by hand ---------------------------------------------------------------

    async def batch_after(self, after: int) -> tuple[Slice, bytes] | None:
        """Return the batch that follows record ``after``, or what is receipted; None: none does."""
        return await self._outbox.made(after, CARRIED_RECORDS, MAX_SLICE_BYTES, self._sender.build)

    async def carried_receipt(self, payload: bytes) -> str:
        """Apply a receipt that came in a file; return what became of it, for people."""
        effect = await self._take(None, payload, False)
        if effect is Effect.NOTHING and self.receipt_problem:
            return f"rejected: {self.receipt_problem}"
        return _EFFECTS[effect]
