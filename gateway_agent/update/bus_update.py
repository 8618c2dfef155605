"""The nodes of one bus that are updated together, in the free time of the bus.

A block that two or more nodes miss is sent once, to all (address 0); what only one misses goes to
that one, or to all where the pauses are too short to wait for an answer that does not come. At most
``SHARE`` of the bus's time is taken, and a request begins only if its worst case ends before the
next poll falls due, so that no poll and no alarm waits for it.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway_agent.config import Bus
from protocols.modbus_client import Request, write_request
from protocols.wire.update.window import BLOCK_OFFSET, UPDATE_ADDRESS, pack_block

from .image import SignedImage
from .node_session import LOOK_MS, NodeSession

SHARE: Final = 0.3  # of the bus's time
BROADCAST: Final = 0
TURNAROUND_MS: Final = 100  # after a broadcast (Modbus over Serial Line V1.02, 2.4.1)
PATIENCE_MS: Final = 2_000  # without a pause long enough, after which the usual time must do
HINDERED_MS: Final = 60_000  # without any pause long enough, after which that is a problem
_FRAME_CHARS: Final = 3  # address and CRC around a PDU
_ANSWER_CHARS: Final = 8  # of a write


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. ``node``: whose it is, None of a broadcast; ``block``: what it carries."""

    request: Request
    node: NodeSession | None
    block: int | None = None


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
        needed = self._longest_ms(ask, now_ms)
        if needed > free_ms and ask.block is not None and ask.node is not None:
            # Without an answer there is none to wait for; the bitmap shows what became of it.
            to_all = self._to_all(ask.block)
            if to_all is not None:
                ask, needed = to_all, self.usual_ms(to_all)
        if needed <= free_ms:
            self.hindrance = ""
            return ask, 0
        if now_ms - self._last_ms > HINDERED_MS:
            self.hindrance = (
                f"bus {self._bus.name}: no pause between its polls is {needed:.0f} ms long;"
                " raise period_ms of its devices, or the speed of the line"
            )
        return None, free_ms

    def _longest_ms(self, ask: Ask, now_ms: int) -> float:
        """Return the time that a request keeps the bus if its answer does not come."""
        assert self._last_ms is not None
        if ask.node is None or now_ms - self._last_ms >= PATIENCE_MS:
            return self.usual_ms(ask)
        return self.usual_ms(ask) + self._bus.timeout_ms

    def over(self, ask: Ask, start_ms: int, now_ms: int) -> None:
        """Note how long a request has kept the bus: the update pauses in proportion."""
        took = max(now_ms - start_ms, self.usual_ms(ask))
        self.spent_ms += took
        self._last_ms = now_ms
        self._not_before = start_ms + took / SHARE
        if ask.block is None:
            return
        self.sent += 1
        if ask.node is None:
            for node in self.nodes:
                if node.wants_blocks and ask.block in node.missing:
                    node.block_taken(ask.block, now_ms)

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
        takers = [node for node in self.nodes if node.wants_blocks]
        wanted = set().union(*(node.missing for node in takers))
        if not wanted:
            return None
        later = [number for number in wanted if number > self._at]
        self._at = number = min(later) if later else min(wanted)
        own = [node for node in takers if number in node.missing]
        to_all = self._to_all(number) if len(own) > 1 else None
        return to_all or Ask(self._block(own[0].target.unit, number), own[0], number)

    def _to_all(self, number: int) -> Ask | None:
        """Return the broadcast of a block; None on a bus that has none."""
        if self._bus.has_ids:
            return None
        return Ask(self._block(BROADCAST, number), None, number)

    def _block(self, unit: int, number: int) -> Request:
        block = pack_block(self._session, number, self._image.content)
        words = struct.unpack(f">{len(block) // 2}H", block)
        return write_request(unit, UPDATE_ADDRESS + BLOCK_OFFSET, words)
