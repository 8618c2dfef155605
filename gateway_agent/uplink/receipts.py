"""Verify the messages on receipt topics and apply them to the outbox.

A receipt below what was receipted before is an old one, or the collector's database went back (it
was restored from a backup, or lost the end of its log). An old one is retained by the broker, or
was signed before a receipt that was seen since. ANSWERS live ones that were not prove a loss, or
UNTIMED_ANSWERS where the collector's clock was set back, so that its times prove nothing. The
records in between left the outbox and are not in the database: a new stream names them as a gap and
carries over everything that still waits. The first batch of a stream repeats how far the streams
before it were receipted, so a collector that goes back once more, behind a change of the stream,
names what it lacks of them. A receipt whose head is not ours, or that is ahead of us, shows another
history and opens a new stream as well.
"""

import enum
import logging
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway_agent.counters import Counters
from gateway_agent.rare_log import RareLog
from gateway_agent.store.errors import ReceiptRefused, StoreFull
from gateway_agent.store.salvage import MissingRange
from gateway_agent.store.writer import OutboxWriter
from protocols.uplink import MAX_RECEIPT_BYTES, Receipt, open_receipt
from protocols.wire.errors import TOO_LONG, PeerError

from . import topics
from .server_time import ServerTime

log = logging.getLogger(__name__)

ANSWERS: Final = 2  # receipts below ours, each signed later than all before, prove a loss
UNTIMED_ANSWERS: Final = 20  # so do these, each signed later than the one before
MAX_ALARMS: Final = 20  # kept for `status`; the log has all of them


class Effect(enum.Enum):
    """What a message on a receipt topic has changed."""

    NOTHING = enum.auto()
    REPEATED = enum.auto()  # the collector has just said again how far it has come
    PRUNED = enum.auto()
    NEW_STREAM = enum.auto()  # the collector's records do not fit ours


class ReceiptReader:
    """Verify the collector's receipts for ``gateway`` and apply them to ``outbox``.

    ``alarms``: what was found that an operator must learn of, since the start of the process.
    """

    def __init__(
        self,
        gateway: str,
        key: Ed25519PublicKey,
        outbox: OutboxWriter,
        counters: Counters,
        now: Callable[[], float],
        server_time: ServerTime | None = None,
    ) -> None:
        self._gateway = gateway
        self._key = key
        self._outbox = outbox
        self._server_time = server_time
        self._counters = counters
        self.alarms: list[str] = []
        self.problem = ""  # why the newest receipt was rejected; empty if it was not
        self._rejected = RareLog(log, now=now)
        self.newest_ms = 0  # when the newest receipt that fits was signed
        self._lower_ms: list[int] = []  # when receipts in a row that are below ours were signed

    async def take(self, topic: str | None, payload: bytes, live: bool) -> Effect:
        """Apply one message. A receipt that is wrong, or finds no space, is logged: NOTHING.

        ``topic``: where it came; None: not from a broker. ``live``: it was published while we
        listened, so it is not one that the broker retained.
        """
        try:
            return await self._take(topic, payload, live)
        except PeerError as error:
            self._reject(str(error))
        except StoreFull as error:
            log.warning("a receipt cannot be applied for want of space: %s", error)
        return Effect.NOTHING

    async def _take(self, topic: str | None, payload: bytes, live: bool) -> Effect:
        if len(payload) > MAX_RECEIPT_BYTES:
            limit = f"at most {MAX_RECEIPT_BYTES} bytes"
            raise PeerError(TOO_LONG, "receipt", MAX_RECEIPT_BYTES, limit, len(payload))
        receipt = open_receipt(payload, self._key)
        expected = topics.receipt_topic(receipt.gateway, receipt.stream)
        if receipt.gateway != self._gateway or topic not in (None, expected):
            self._reject(f"it is for {receipt.gateway}, and came on the topic {topic}")
            return Effect.NOTHING
        self.problem = ""
        stats = self._outbox.stats
        if receipt.stream != stats.stream:
            self._counters.receipts_stale += 1
            return Effect.NOTHING
        if receipt.contiguous_to < stats.receipted_to:
            return await self._below(receipt, stats.receipted_to, live)
        try:
            pruned = await self._outbox.apply_receipt(receipt)
        except ReceiptRefused as error:
            self._counters.receipts_forked += 1
            await self._begin_stream(str(error), reached=error.to)
            return Effect.NEW_STREAM
        self._lower_ms.clear()
        self.newest_ms = max(self.newest_ms, receipt.server_ms)
        if not pruned.records:
            self._counters.receipts_repeated += 1
            return Effect.REPEATED if live else Effect.NOTHING
        self._counters.receipts += 1
        if self._server_time is not None:
            self._server_time.receipted(receipt)
        return Effect.PRUNED

    def _reject(self, why: str) -> None:
        self._counters.receipts_rejected += 1
        self.problem = why
        self._rejected.warning(
            f"receipt rejected: {why}; is uplink.collector_key the key of this collector?"
        )

    async def _below(self, receipt: Receipt, here: int, live: bool) -> Effect:
        """Handle a receipt below record ``here``, up to which everything was receipted before."""
        if not live or receipt.server_ms <= max(self._lower_ms, default=0):
            self._counters.receipts_stale += 1
            return Effect.NOTHING
        self._counters.receipts_behind += 1
        to = receipt.contiguous_to
        if not self._lower_ms:
            where = to, receipt.stream, here
            log.error("the collector has records to %d of stream %d, it had receipted %d", *where)
        self._lower_ms.append(receipt.server_ms)
        is_timed = self._lower_ms[0] > self.newest_ms
        if len(self._lower_ms) < (ANSWERS if is_timed else UNTIMED_ANSWERS):
            return Effect.NOTHING
        why = f"receipted; then the collector's database went back to record {to}"
        await self._begin_stream(why, MissingRange(to + 1, here, why))
        return Effect.NEW_STREAM

    async def _begin_stream(
        self, why: str, lost: MissingRange | None = None, reached: int = 0
    ) -> None:
        alarm = f"stream {self._outbox.stats.stream}: {why}"
        if lost is not None:
            alarm += f"; records {lost.first} to {lost.last} are missing there"
        if alarm not in self.alarms:
            self.alarms = [*self.alarms, alarm][-MAX_ALARMS:]
        log.error("%s", alarm)
        await self._outbox.new_stream("db_truncated", why, lost, reached)
        self._lower_ms.clear()
        self.newest_ms = 0
