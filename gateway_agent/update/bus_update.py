"""The nodes of one bus that are updated together, in the free time of the bus.

A block that two or more nodes miss is sent once, to all (address 0); what only one misses goes to
that one, or to all where the pauses are too short to wait for an answer that does not come. At most
``SHARE`` of the bus's time is taken. A request begins only if it can end before the next poll falls
due, and its answer is not waited for any longer, so that no poll and no alarm waits for it. On a
line that damages long requests blocks go in pieces, to all several times.
"""

import struct
from collections import deque
from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from gateway_agent.config import Bus
from protocols.modbus_client import Request, write_request
from protocols.wire.update.window import (
    BLOCK_OFFSET,
    PART_BYTES,
    PARTS,
    UPDATE_ADDRESS,
    pack_block,
    part_count,
)

from .image import SignedImage
from .node_session import LOOK_MS, NodeSession
from .write_length import WriteLength

SHARE: Final = 0.3  # of the bus's time
BROADCAST: Final = 0
TURNAROUND_MS: Final = 100  # after a broadcast (Modbus over Serial Line V1.02, 2.4.1)
PATIENCE_MS: Final = 2_000  # without a pause for the whole timeout, after which less must do
LEAST_WAIT_MS: Final = 100  # beyond the usual time of an answer
MARGIN_MS: Final = 5  # before the next poll, for what the process itself takes
HINDERED_MS: Final = 60_000  # without any pause long enough, after which that is a problem
_FRAME_CHARS: Final = 3  # address and CRC around a PDU
_ANSWER_CHARS: Final = 8  # of a write


class Ask(Struct, frozen=True):
    """One request. ``node``: whose it is, None of a broadcast; ``block``: what it carries.

    ``within_ms``: when it ends at the latest. ``is_last``: no more of the block follows.
    """

    request: Request
    node: NodeSession | None
    block: int | None = None
    is_last: bool = True
    within_ms: int = 0


def _shortest(bus: Bus) -> int:
    """Return how many quarters of a block are worth a request: the pause behind it costs as well.

    On a fast line that pause takes longer than a whole block, which then is sent again instead.
    """
    quarters = 1
    while quarters < PARTS and quarters * PART_BYTES * bus.char_ms < TURNAROUND_MS / 2:
        quarters *= 2
    return quarters


class BusUpdate:
    """Decides what is sent next and when; no I/O. Times are CLOCK_BOOTTIME in ms."""

    def __init__(
        self, bus: Bus, image: SignedImage, session: int, nodes: Iterable[NodeSession]
    ) -> None:
        self.nodes = tuple(nodes)
        self.spent_ms = 0.0  # of the bus
        self.hindrance = ""  # why nothing can be sent; empty if it can
        self.sent = 0  # blocks, to one or to all
        self._bus = bus
        self._image = image
        self._session = session
        self._turn = 0
        self._at = -1  # the block sent last
        self._to_come: deque[Ask] = deque()  # of a block that is sent to all
        self._length = WriteLength(_shortest(bus))
        for node in self.nodes:
            node.length = self._length
        self._not_before = 0.0
        self._last_ms: int | None = None

    @property
    def is_over(self) -> bool:
        """Return whether nothing more will be asked."""
        return all(node.is_over for node in self.nodes)

    def next(self, now_ms: int, free_ms: int) -> tuple[Ask | None, int]:
        """Return what to send now, if it fits into ``free_ms``; else for how long to wait."""
        if self._last_ms is None:
            self._last_ms = now_ms
        if now_ms < self._not_before:
            return None, max(1, round(self._not_before - now_ms))
        ask = self._choose(now_ms)
        if ask is None:
            waits = [node.wait_ms(now_ms) for node in self.nodes if not node.is_over]
            return None, max(1, min(waits, default=LOOK_MS))
        free = free_ms - MARGIN_MS
        needed = self._least_ms(ask, now_ms)
        is_line = not self._bus.has_ids
        if needed > free and ask.block is not None and ask.node is not None and is_line:
            # Without an answer there is none to wait for; the bitmap shows what became of it.
            ask = self._to_all(ask.block)
            needed = self.usual_ms(ask)
        if needed <= free:
            self.hindrance = ""
            if self._to_come and ask is self._to_come[0]:
                self._to_come.popleft()
            return replace(ask, within_ms=free), 0
        if now_ms - self._last_ms > HINDERED_MS:
            self.hindrance = (
                f"bus {self._bus.name}: no pause between its polls is {needed:.0f} ms long;"
                " raise period_ms of its devices, or the speed of the line"
            )
        return None, free_ms

    def _least_ms(self, ask: Ask, now_ms: int) -> float:
        """Return the time that a request must have, with what is waited for its answer."""
        assert self._last_ms is not None
        if ask.node is None:
            return self.usual_ms(ask)
        timeout_ms = self._bus.timeout_ms
        is_late = now_ms - self._last_ms >= PATIENCE_MS
        return self.usual_ms(ask) + (min(timeout_ms, LEAST_WAIT_MS) if is_late else timeout_ms)

    def over(self, ask: Ask, start_ms: int, now_ms: int) -> None:
        """Note how long a request has kept the bus: the update pauses in proportion."""
        took = max(now_ms - start_ms, self.usual_ms(ask))
        self.spent_ms += took
        self._last_ms = now_ms
        self._not_before = start_ms + took / SHARE
        if ask.block is None:
            return
        self.sent += 1
        if ask.node is None and ask.is_last:
            for node in self.nodes:
                if node.wants_blocks and ask.block in node.missing:
                    node.block_sent(ask.block)

    def usual_ms(self, ask: Ask) -> float:
        """Return the time that a request keeps the bus if all goes well."""
        bus = self._bus
        chars = len(ask.request.pdu) + _FRAME_CHARS
        if ask.node is None:
            return chars * bus.char_ms + bus.silence_ms + TURNAROUND_MS
        read = ask.request.read
        chars += _ANSWER_CHARS if read is None else read.data_bytes + 5
        return chars * bus.char_ms + 2 * bus.silence_ms + bus.turnaround_ms

    def away(self, device_id: str, now_ms: int) -> str:
        """Return why a node is not asked now; empty if it can be."""
        for node in self.nodes:
            if node.target.device_id == device_id and now_ms < node.away_until:
                return f"the node is {node.phase} for an update"
        return ""

    def polled(self, device_id: str) -> None:
        """Note a sample with a good tag."""
        for node in self.nodes:
            if node.target.device_id == device_id:
                node.polled()

    def _choose(self, now_ms: int) -> Ask | None:
        for step in range(len(self.nodes)):
            node = self.nodes[(self._turn + step) % len(self.nodes)]
            request = node.next(now_ms)
            if request is not None:
                self._turn = (self._turn + step + 1) % len(self.nodes)
                return Ask(request, node)
        if any(node.holds_others for node in self.nodes):
            return None
        if self._to_come:
            return self._to_come[0]
        takers = [node for node in self.nodes if node.wants_blocks]
        for node in takers:
            if node.open_block is not None:
                return self._to_one(node, node.open_block)
        wanted = set().union(*(node.missing for node in takers))
        if not wanted:
            return None
        later = [number for number in wanted if number > self._at]
        self._at = number = min(later) if later else min(wanted)
        own = [node for node in takers if number in node.missing]
        if len(own) > 1 and not self._bus.has_ids:
            return self._to_all(number)
        return self._to_one(own[0], number)

    def _to_all(self, number: int) -> Ask:
        """Return the broadcast of a block, or of its first piece; the others follow."""
        step = self._length.quarters
        firsts = range(0, part_count(number, self._image.manifest.size), step)
        pieces = [*reversed(firsts)] * self._length.repeats
        for at, first in enumerate(pieces, 1):
            request = self._block(BROADCAST, number, first, step)
            self._to_come.append(Ask(request, None, number, at == len(pieces)))
        return self._to_come[0]

    def _to_one(self, node: NodeSession, number: int) -> Ask:
        return Ask(self._block(node.target.unit, number, *node.piece(number)), node, number)

    def _block(self, unit: int, number: int, first: int, count: int) -> Request:
        block = pack_block(self._session, number, self._image.content, first, count)
        words = struct.unpack(f">{len(block) // 2}H", block)
        return write_request(unit, UPDATE_ADDRESS + BLOCK_OFFSET, words)
