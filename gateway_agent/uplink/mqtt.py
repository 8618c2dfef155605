"""The gateway's uplink: batches from the outbox to the broker, receipts from the collector back.

Order is oldest first. Receipts are contiguous, so a newer batch sent before the backlog would free
nothing; live-first needs a second stream and is not done here.

* At most ``in_flight`` batches are without a receipt.
* A PUBACK says that the broker has a batch. Only the collector's signed receipt lets go of records
  (unless the operator chose ``receipt = "puback"`` for a platform that gives none).
* Nothing is remembered across a connection: every new one begins after the last receipt, so a
  broker that comes back empty, or a collector that died before its commit, costs a repetition.
* Without a new receipt for ``retry_ms`` everything unreceipted is sent again; the wait doubles, up
  to eight times, as long as none comes.

Time is the event loop's monotonic clock throughout.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import aiomqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway_agent.config import Uplink as UplinkConfig
from gateway_agent.counters import Counters
from gateway_agent.store.errors import ReceiptRefused, StoreFull
from gateway_agent.store.window import Slice
from gateway_agent.store.writer import OutboxWriter
from protocols.uplink.batch import build_batch
from protocols.uplink.receipt import MAX_RECEIPT_BYTES, open_receipt
from protocols.wire.errors import TOO_LONG, PeerError

from . import topics
from .connection import ANSWER_S, Backoff, Client, make_client

log = logging.getLogger(__name__)

KEY_EPOCH: Final = 0  # rises when a gateway's key is changed; no command for that yet
# Leaves room in MAX_BATCH_BYTES for the header when the payload cannot be compressed.
MAX_SLICE_BYTES: Final = 768 * 1024
MAX_PACKET: Final = 16 * 1024  # from the broker come receipts only
RETRY_FACTOR: Final = 8


class Uplink:
    """Run :meth:`run` in a task; it ends by being cancelled, or with StoreFailed."""

    def __init__(
        self,
        config: UplinkConfig,
        gateway: str,
        key: Ed25519PrivateKey,
        collector_key: Ed25519PublicKey | None,
        outbox: OutboxWriter,
        counters: Counters,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``collector_key`` is None only where the configuration says ``receipt = "puback"``.

        ``clock`` (the loop's time, if None) and ``sleep`` are in seconds.
        """
        self._config = config
        self._gateway = gateway
        self._key = key
        self._collector_key = collector_key
        self._outbox = outbox
        self._counters = counters
        self._now = clock or asyncio.get_running_loop().time
        self._wake = outbox.committed  # set by every commit, and here by every receipt
        self._backoff = Backoff(sleep=sleep)
        self._unreceipted: deque[int] = deque()  # last sequence number of each batch in flight
        self._stream = 0
        self._sent_to = 0  # in this connection
        self._sent_ever = 0  # in this stream
        self._progress_at = 0.0
        self._retry_s = config.retry_ms / 1000
        self._next_at = 0.0
        self._hurry = False
        self.connected = False
        self._too_long = ""  # why this connection was closed by us, if it was
        self.problem = "not connected yet"  # why it is not connected; empty when it is

    async def run(self) -> NoReturn:
        """Connect, send, receive; over and over."""
        while True:
            try:
                await self._session()
            except* (aiomqtt.MqttError, OSError, ValueError) as errors:
                self.problem = self._too_long or _first(errors)
                log.warning(
                    "uplink to %s:%d: %s", self._config.host, self._config.port, self.problem
                )
            self._too_long = ""
            if self.connected:
                self.connected = False
                self._counters.disconnects += 1
            await self._backoff.wait()

    async def drain(self) -> None:
        """Send what is left without waiting for full batches; return when all is receipted."""
        self._hurry = True
        while self._outbox.stats.depth:
            self._wake.set()
            await asyncio.sleep(0.05)

    async def _session(self) -> None:
        name = f"tianfu-{self._gateway}"
        client = make_client(self._config, name, MAX_PACKET, self._refuse)
        async with client:
            if self._collector_key is not None:
                await client.subscribe(topics.all_receipts(self._gateway), qos=1)
            self.connected, self.problem = True, ""
            self._counters.connects += 1
            async with asyncio.TaskGroup() as group:
                group.create_task(self._receive(client, self._collector_key))
                group.create_task(self._send(client))

    def _refuse(self, reason: str) -> None:
        self._counters.packets_refused += 1
        self._too_long = reason

    # --- sending -------------------------------------------------------------------------------

    async def _send(self, client: Client) -> NoReturn:
        self._rewind()
        while True:
            self._wake.clear()
            self._follow()
            wait = self._wait_s()
            if wait > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                continue
            piece = await self._outbox.slice(
                self._sent_to, self._config.batch_records, MAX_SLICE_BYTES
            )
            if piece is not None and piece.stream == self._stream:
                await self._publish(client, piece)

    def _follow(self) -> None:
        """Take note of what receipts, commits and rebuilds have changed, and of silence."""
        stats = self._outbox.stats
        if stats.stream != self._stream:
            self._stream, self._sent_ever = stats.stream, 0
            self._rewind()
        while self._unreceipted and self._unreceipted[0] <= stats.receipted_to:
            self._unreceipted.popleft()
        self._sent_to = max(self._sent_to, stats.receipted_to)
        if self._unreceipted and self._now() - self._progress_at >= self._retry_s:
            longest = RETRY_FACTOR * self._config.retry_ms / 1000
            self._retry_s = min(2 * self._retry_s, longest)
            log.warning("no receipt beyond record %d: sending again", stats.receipted_to)
            self._rewind()

    def _rewind(self) -> None:
        """Begin again after the last receipt."""
        self._unreceipted.clear()
        self._sent_to = self._outbox.stats.receipted_to
        self._progress_at = self._now()

    def _wait_s(self) -> float:
        """Seconds to wait for a wake-up before looking again; 0: send now."""
        now = self._now()
        silence = self._progress_at + self._retry_s - now if self._unreceipted else 3600.0
        pending = self._outbox.stats.last - self._sent_to
        if not pending or len(self._unreceipted) >= self._config.in_flight:
            return max(silence, 0.001)
        if pending >= self._config.batch_records or self._hurry:
            return 0
        return max(0.0, min(self._next_at - now, silence))

    async def _publish(self, client: Client, piece: Slice) -> None:
        data = await asyncio.to_thread(self._build, piece)
        again = piece.first <= self._sent_ever
        if not self._unreceipted:
            self._progress_at = self._now()
        self._next_at = self._now() + self._config.batch_interval_ms / 1000
        await client.send(topics.batch_topic(self._gateway, piece.stream), data)
        self._counters.pubacks += 1
        if again:
            self._counters.batches_resent += 1
        else:
            self._counters.batches_sent += 1
        self._sent_ever = max(self._sent_ever, piece.last)
        if self._collector_key is None:
            await self._outbox.release(piece.stream, piece.last, piece.head)
            self._backoff.reset()
        else:
            self._unreceipted.append(piece.last)
        self._sent_to = piece.last

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

    async def _receive(self, client: Client, key: Ed25519PublicKey | None) -> None:
        async for message in client.messages:
            payload = message.payload
            if key is None or not payload:
                continue  # an empty retained message is one that was cleared
            try:
                await self._take(str(message.topic), payload, key)
            except PeerError as error:
                self._counters.receipts_rejected += 1
                log.warning("receipt rejected: %s", error)
            except StoreFull as error:
                log.warning("a receipt cannot be applied for want of space: %s", error)

    async def _take(self, topic: str, payload: bytes, key: Ed25519PublicKey) -> None:
        if len(payload) > MAX_RECEIPT_BYTES:
            limit = f"at most {MAX_RECEIPT_BYTES} bytes"
            raise PeerError(TOO_LONG, "receipt", MAX_RECEIPT_BYTES, limit, len(payload))
        receipt = open_receipt(payload, key)
        if receipt.gateway != self._gateway or topic != topics.receipt_topic(
            receipt.gateway, receipt.stream
        ):
            self._counters.receipts_rejected += 1
            log.warning("receipt for %s on %s rejected", receipt.gateway, topic)
            return
        if receipt.stream != self._outbox.stats.stream:
            self._counters.receipts_stale += 1
            return
        try:
            pruned = await self._outbox.apply_receipt(receipt)
        except ReceiptRefused as error:
            self._counters.receipts_forked += 1
            await self._outbox.new_stream("db_truncated", str(error))
        else:
            if not pruned.records:
                self._counters.receipts_repeated += 1
                return
            self._counters.receipts += 1
            self._retry_s = self._config.retry_ms / 1000
            self._backoff.reset()
        self._progress_at = self._now()
        self._wake.set()


def _first(errors: BaseExceptionGroup[BaseException]) -> str:
    """The text of the first error that is not a group, made to be of use."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error) or type(error).__name__
    if text == "Operation timed out":  # aiomqtt's words; a refused certificate looks the same
        text = (
            f"no answer within {ANSWER_S:g} s: is a broker there, and does it want TLS, or a"
            " certificate of ours?"
        )
    return text
