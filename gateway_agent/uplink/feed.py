"""Give one exporter the records of the outbox in order, and keep its place there.

The place moves when the exporter reports a delivery. What cannot be delivered at all (records from
a boot whose clock nobody has ever vouched for, or that were given up to make room) is passed over
and named as lost; :mod:`gateway_agent.store.exports` has the causes.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct, field

from gateway_agent.cancellation import raise_if_cancelled, whatever_comes
from gateway_agent.clock import GatewayClock
from gateway_agent.commands.command import RunCommand, no_commands
from gateway_agent.status import ExporterStatus
from gateway_agent.store.retention import Keep
from gateway_agent.store.window import Slice
from gateway_agent.store.writer import OutboxWriter
from protocols.export_record import (
    DeviceInfo,
    ExportRecord,
    Portion,
    SentMessage,
    export_record,
    wall_of,
)
from protocols.uplink import CLOCK_NONE, Action, decode_record

from .budget import Budget
from .exporter_config import ExporterConfig
from .shared_reads import MAX_BYTES, SharedReads
from .trace_log import TraceLog

log = logging.getLogger(__name__)

_MOST_PIECES: Final = 8  # of the outbox in one portion for a few devices
_EXPIRY_S: Final = 10.0  # between two looks at what is kept for too long
_CLOCK_S: Final = 1.0  # between two looks whether the clock is known by now


class NoteAction(Protocol):
    """How an action gets into the stream; ``committed`` is called when it is durable."""

    def __call__(
        self, device_id: str, action: Action, committed: Callable[[], None] | None = None
    ) -> None:
        """Record an action."""


def note_nothing(
    device_id: str, action: Action, committed: Callable[[], None] | None = None
) -> None:
    """Record nothing, where there is no stream."""
    if committed is not None:
        committed()


class ExportContext(Struct, frozen=True):
    """What exporters know of their gateway."""

    gateway: str
    clock: GatewayClock
    state_dir: Path
    devices: Mapping[str, DeviceInfo] = field(default_factory=dict)  # by device id
    key: Ed25519PrivateKey | None = None  # the gateway's, to sign what it writes
    note: NoteAction = note_nothing
    command: RunCommand = no_commands  # for a platform that may command


class Feed:
    """The records for one exporter; use it from one task."""

    def __init__(
        self,
        config: ExporterConfig,
        context: ExportContext,
        outbox: OutboxWriter,
        traces: TraceLog,
        now: Callable[[], float],
        keep_bytes: int,
        reads: SharedReads | None = None,
    ) -> None:
        """``now``: seconds of a monotonic clock. ``keep_bytes``: where the file names none.

        ``reads``: what feeds of the same outbox share.
        """
        self.status = ExporterStatus(
            name=config.label,
            type=config.kind,
            where=config.where,
            required=config.required,
        )
        self.is_draining = False  # what there is is sent at once
        self.settled_to = 0  # records up to here are sent, or wait for the end of their period
        self.config = config
        self._context = context
        self._outbox = outbox
        self._traces = traces
        self._reads = reads or SharedReads(outbox, now)
        # What stands in every record of a wanted device: others need not be decoded.
        self._only = [
            f"{device.id}/".encode()
            for device in context.devices.values()
            if device.name in config.only
        ]
        self._now = now
        self._keep = Keep(config.keep_hours * 3_600_000, config.keep_bytes or keep_bytes)
        self._budget = Budget(config.records_per_s, config.bytes_per_s, now)
        self._committed = outbox.listener()
        self._stream = 0
        self._read_to = 0
        self._expire_at = now()
        self._lost = outbox.cursors[config.label].lost
        self._full_since: float | None = None

    @property
    def stream(self) -> int:
        """Return the stream that the place is in."""
        return self._outbox.cursors[self.config.label].stream

    @property
    def delivered_to(self) -> int:
        """Return the newest record that the platform has, with all before it."""
        return self._outbox.cursors[self.config.label].to

    @property
    def latency_ms(self) -> int:
        """Return how long a record may wait for others."""
        return self.config.latency_ms

    @property
    def behind(self) -> int:
        """Return how many records the platform lacks."""
        return max(0, self._outbox.stats.last - self.delivered_to)

    @property
    def is_settled(self) -> bool:
        """Whether nothing more can be delivered before time passes."""
        return self._outbox.stats.last <= max(self.delivered_to, self.settled_to)

    def close(self) -> None:
        """Listen to the outbox no longer."""
        self._outbox.forget(self._committed)

    def wake(self) -> None:
        """Let :meth:`next` look again."""
        self._committed.set()

    def rewind(self) -> None:
        """Begin again after what was delivered."""
        self.settled_to = 0
        cursor = self._outbox.cursors[self.config.label]
        self._stream, self._read_to = cursor.stream, cursor.to

    async def next(self, wait_s: float | None = None) -> Portion | None:
        """Return the records after those of the last call; None if ``wait_s`` pass without one.

        A portion that is not full waits up to ``latency_ms`` for more.
        """
        end = None if wait_s is None else self._now() + wait_s
        while True:
            raise_if_cancelled()
            self._committed.clear()
            await self.expire()
            self._follow()
            waiting = self._outbox.stats.last - self._read_to
            due_s = self._due_s(waiting)
            if due_s <= 0:
                portion = await self._read()
                if portion is not None:
                    self._full_since = None
                    return portion
                due_s = _CLOCK_S  # the clock is not known yet, or the stream has changed
            if end is not None:
                due_s = min(due_s, end - self._now())
                if due_s <= 0:
                    return None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(due_s, _EXPIRY_S)):
                    await self._committed.wait()

    def _due_s(self, waiting: int) -> float:
        """Return how long to wait before ``waiting`` records are read."""
        if not waiting:
            self._full_since = None
            return _EXPIRY_S
        if waiting >= self.config.batch_records or self.is_draining:
            return 0.0
        if self._full_since is None:
            self._full_since = self._now()
        return self._full_since + self.config.latency_ms / 1000 - self._now()

    def _follow(self) -> None:
        """Take note of a new stream, and of records that were given up."""
        cursor = self._outbox.cursors[self.config.label]
        if cursor.stream != self._stream:
            self._stream, self._read_to = cursor.stream, cursor.to
            self.settled_to = 0
        self._read_to = max(self._read_to, cursor.to)
        if cursor.lost > self._lost:
            newest = cursor.losses[-1]
            log.warning(
                "uplink %s: %d records will never be sent; the newest range is %d to %d of stream"
                " %d (%s)",
                *(self.config.label, cursor.lost - self._lost),
                *(newest.first, newest.last, newest.stream, newest.cause),
            )
        self._lost = cursor.lost

    async def _read(self) -> Portion | None:
        """Return the next records; of a few devices they are from as many pieces as it takes."""
        begin, stream, records = self._read_to, self._stream, list[ExportRecord]()
        for _ in range(_MOST_PIECES if self._only else 1):
            piece = await self._reads.after(stream, self._read_to)
            if piece is None or piece.stream != stream:
                break
            found, last = self._records(piece, self.config.batch_records - len(records))
            if last < piece.first and self._read_to == begin:
                await self._undated(piece, piece.first)
                return None
            records += found
            self._read_to = last
            if last < piece.last or last >= self._outbox.stats.last:
                break
        if self._read_to == begin:
            return None
        is_newest = self._read_to == self._outbox.stats.last
        return Portion(stream, begin + 1, self._read_to, tuple(records), is_newest)

    def _records(self, piece: Slice, most: int) -> tuple[list[ExportRecord], int]:
        """Return up to ``most`` records for this exporter and the last that was looked at.

        It ends before the first that has no time.
        """
        found: list[ExportRecord] = []
        for at in self._wanted(piece):
            seq = piece.first + at
            if len(found) == most:
                return found, seq - 1
            decoded = decode_record(piece.records[at].data)
            wall = wall_of(decoded, piece.anchor)
            if wall is None:
                return found, seq - 1
            known = self._context.devices.get(decoded.device_id)
            name = decoded.device_id.removeprefix(f"{self._context.gateway}.")
            device = known or DeviceInfo(decoded.device_id, name, "", "", 0)
            found.append(export_record(seq, decoded, wall, device, piece.anchor.boot_id))
        return found, piece.last

    def _wanted(self, piece: Slice) -> Sequence[int]:
        """Return which records of a piece may be for this exporter."""
        if not self._only:
            return range(len(piece.records))
        found: set[int] = set()
        for name in self._only:
            found.update([at for at, record in enumerate(piece.records) if name in record.data])
        return sorted(found)

    async def _undated(self, piece: Slice, first: int) -> None:
        """Wait for the clock in this boot; what is from an earlier boot will never get a time."""
        if piece.anchor.boot_id == self._context.clock.boot_id:
            self.status.problem = "no clock vouches for a time yet: records wait for one"
            return
        last = first
        for record in piece.records[first + 1 - piece.first :]:
            if decode_record(record.data).stamp.clock_state != CLOCK_NONE:
                break
            last += 1
        await self._outbox.give_up(self.config.label, piece.stream, last, "undated")

    async def history(self, after: int, max_records: int) -> Portion | None:
        """Read again what follows record ``after``, as far as the outbox still has it."""
        piece = await self._outbox.kept_slice(after, max_records, MAX_BYTES)
        if piece is None:
            return None
        records, last = self._records(piece, max_records)
        if not records:
            return None
        is_newest = last == self._outbox.stats.last
        return Portion(piece.stream, piece.first, last, tuple(records), is_newest)

    async def spend(self, size: int, records: int = 0) -> None:
        """Wait until ``size`` bytes with so many records may be sent, and count them."""
        await self._budget.spend(records, size)
        self.status.messages += 1
        self.status.bytes += size

    async def delivered(self, portion: Portion, to: int, sent: Sequence[SentMessage] = ()) -> None:
        """Move the place to ``to``, in ``portion`` or before it; ``sent``: what was sent for that.

        The messages are logged first: what is delivered is traced.
        """
        await self.trace(portion.stream, sent)
        if to > self.delivered_to:
            await self._outbox.advance(self.config.label, portion.stream, to)
        self.status.problem = ""

    async def trace(self, stream: int, messages: Sequence[SentMessage]) -> None:
        """Log what was made of records of a stream and sent, or given up."""
        if messages:
            name, kind = self.status.name, self.status.type
            wall_ms = self._context.clock.wall().wall_ms
            await whatever_comes(
                asyncio.to_thread(self._traces.add, name, kind, stream, messages, wall_ms)
            )

    async def lost(self, portion: Portion, to: int, cause: str) -> None:
        """Move the place to ``to`` without delivery, for one of the causes of a loss."""
        await self._outbox.give_up(self.config.label, portion.stream, to, cause)

    async def refused(self, portion: Portion, to: int) -> None:
        """Move the place to ``to``: the platform takes the records up to there in no form."""
        await self._outbox.give_up(self.config.label, portion.stream, to, "refused")

    async def expire(self) -> None:
        """Give up what is kept for longer than configured; cheap when called often."""
        now = self._now()
        if now >= self._expire_at:
            self._expire_at = now + _EXPIRY_S
            before = self.delivered_to
            await self._outbox.expire(self.config.label, self._keep)
            if self.delivered_to != before:
                self._expire_at = now  # there may be more
