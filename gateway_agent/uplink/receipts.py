"""Verify the messages on receipt topics and apply them to the outbox."""

import enum
import logging

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway_agent.counters import Counters
from gateway_agent.store.errors import ReceiptRefused, StoreFull
from gateway_agent.store.writer import OutboxWriter
from protocols.uplink import MAX_RECEIPT_BYTES, open_receipt
from protocols.wire.errors import TOO_LONG, PeerError

from . import topics

log = logging.getLogger(__name__)


class Effect(enum.Enum):
    """What a message on a receipt topic has changed."""

    NOTHING = enum.auto()
    PRUNED = enum.auto()
    NEW_STREAM = enum.auto()  # the collector's records do not fit ours


class ReceiptReader:
    """Verify the collector's receipts for ``gateway`` and apply them to ``outbox``."""

    def __init__(
        self, gateway: str, key: Ed25519PublicKey, outbox: OutboxWriter, counters: Counters
    ) -> None:
        self._gateway = gateway
        self._key = key
        self._outbox = outbox
        self._counters = counters

    async def take(self, topic: str, payload: bytes) -> Effect:
        """Apply one message. A receipt that is wrong, or finds no space, is logged: NOTHING."""
        try:
            return await self._take(topic, payload)
        except PeerError as error:
            self._counters.receipts_rejected += 1
            log.warning("receipt rejected: %s", error)
        except StoreFull as error:
            log.warning("a receipt cannot be applied for want of space: %s", error)
        return Effect.NOTHING

    async def _take(self, topic: str, payload: bytes) -> Effect:
        if len(payload) > MAX_RECEIPT_BYTES:
            limit = f"at most {MAX_RECEIPT_BYTES} bytes"
            raise PeerError(TOO_LONG, "receipt", MAX_RECEIPT_BYTES, limit, len(payload))
        receipt = open_receipt(payload, self._key)
        expected = topics.receipt_topic(receipt.gateway, receipt.stream)
        if receipt.gateway != self._gateway or topic != expected:
            self._counters.receipts_rejected += 1
            log.warning("receipt for %s on %s rejected", receipt.gateway, topic)
            return Effect.NOTHING
        if receipt.stream != self._outbox.stats.stream:
            self._counters.receipts_stale += 1
            return Effect.NOTHING
        try:
            pruned = await self._outbox.apply_receipt(receipt)
        except ReceiptRefused as error:
            self._counters.receipts_forked += 1
            await self._outbox.new_stream("db_truncated", str(error))
            return Effect.NEW_STREAM
        if not pruned.records:
            self._counters.receipts_repeated += 1
            return Effect.NOTHING
        self._counters.receipts += 1
        return Effect.PRUNED
