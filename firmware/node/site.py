"""What a node does while a technician is on site (:mod:`protocols.wire.site`).

Imported when a tool first addresses these registers. Nothing of it survives a restart but what was
kept: a node that is cut off in the middle of a visit is back at its settings by itself.
"""

import struct

from micropython import const

from protocols.wire.modbus.pdu import (
    BUSY,
    DEVICE_FAILURE,
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    NO_ANSWER,
)
from protocols.wire.registers import (
    EVENT_CALIBRATION,
    NO_SAMPLE,
    NOT_FITTED,
    OK,
    STATUS_CALIBRATION,
)
from protocols.wire.site import (
    BLINK,
    HOLD,
    KEEP,
    MAX_BLINK_S,
    MAX_HOLD_S,
    MAX_TRIAL_S,
    NO_SETTING,
    RECORD,
    RECORD_POINTS,
    RECORD_WORDS,
    SELECT,
    TRIAL,
    place,
)

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import VisitedNode
    from .reading import Reading

# The answer that accepts a trial is on the line for 73 ms at 1200 baud.
_SWITCH_MS = const(300)
_TOGGLE_MS = const(200)

# Steps of a trial.
_NONE = const(0)
_ACCEPTED = const(1)
_SWITCHED = const(2)

# What an EVENT_CALIBRATION says of its point (low half of its argument).
_ENDED = const(0)
_BEGUN = const(1)
_STORED = const(2)


class Visit:
    """The state of one visit; ``turn`` is called about every 100 ms."""

    def __init__(self, node: "VisitedNode") -> None:
        self._node = node
        self._uid = node.bank.guard.uid
        self._step = _NONE
        self._trial = [0, 0]  # unit id, speed / 100
        self._switch_ms = 0
        self._back_ms = 0
        self._kept = 0
        self._blink_ms = 0  # until when; 0: it does not blink
        self._toggle_ms = 0
        self._lit = False
        self._mask = 0
        self._hold_ms = 0

    # --- registers ----------------------------------------------------------------------------

    def read(self, address: int, count: int, out: bytearray, at: int) -> int:
        """Copy the beginning of the block at ``address``; 0 or an exception code."""
        block = self._block(address)
        if 2 * count > len(block):
            return ILLEGAL_ADDRESS
        out[at : at + 2 * count] = block[: 2 * count]
        return 0

    def _block(self, address: int) -> bytes:
        node = self._node
        if address == SELECT:
            return self._uid + struct.pack(">H", node.rtu.unit_id) + node.bank.guard.shown
        if address == TRIAL:
            now = node.uptime.ms()
            return struct.pack(
                ">HHHHHHH",
                self._trial[0],
                self._trial[1],
                min(0xFFFF, self._back_ms - now) if self._step else 0,
                max(0, self._blink_ms - now + 999) // 1000,
                self._mask,
                max(0, self._hold_ms - now + 999) // 1000 if self._mask else 0,
                self._kept,
            )
        point = address - RECORD
        if 0 <= point < RECORD_POINTS:
            return node.config.store.read("cal%d" % point) or bytes(2 * RECORD_WORDS)
        return b""

    def selects(self, values: "list[int]") -> int:
        """Return 0 if the window of a SELECT holds this node, else an exception code."""
        if len(values) != 3:
            return ILLEGAL_VALUE
        return 0 if values[1] <= place(values[0], self._uid) <= values[2] else NO_ANSWER

    def is_meant(self, data: bytearray, at: int) -> bool:
        """Return whether the unique id at ``data[at:]`` is the node's."""
        return data[at : at + len(self._uid)] == self._uid

    def write(self, address: int, values: "list[int]", allowed: bool) -> int:
        """Do what a write asks for; 0 or an exception code. ``allowed``: it is authentic."""
        point = address - RECORD
        record = 0 <= point < len(self._node.sample_frame.map.points)
        wanted = {SELECT: 3, TRIAL: 3, KEEP: 1, BLINK: 1, HOLD: 2}.get(address, 0)
        if record:
            wanted = RECORD_WORDS
        if not wanted:
            return ILLEGAL_ADDRESS
        if len(values) != wanted:
            return ILLEGAL_VALUE
        if address == SELECT:
            return self.selects(values)
        if not allowed:
            self._node.bank.guard.refuse()
            return ILLEGAL_FUNCTION
        now = self._node.uptime.ms()
        if record:
            return self._record(point, values)
        if address == TRIAL:
            return self._begin(values, now)
        if address == KEEP:
            return self._keep()
        if address == BLINK:
            return self._blink(values[0], now)
        return self._hold(values[0], values[1], now)

    # --- time ---------------------------------------------------------------------------------

    def turn(self, now: int) -> None:
        """Do what is due."""
        if self._step == _ACCEPTED and now >= self._switch_ms:
            self._step = _SWITCHED
            self._serve(self._trial[0], self._trial[1])
        if self._step and now >= self._back_ms:
            self._step = _NONE
            self._serve(self._node.config.value(0), self._node.config.value(1))
        if self._blink_ms and now >= self._toggle_ms:
            self._toggle_ms = now + _TOGGLE_MS
            self._light(not self._lit)
            if now >= self._blink_ms:
                self._blink(0, now)
        if self._mask and now >= self._hold_ms:
            self._hold(0, 0, now)

    def mark(self, reading: "Reading") -> None:
        """Take the values of points that are being calibrated: they are not of the site."""
        for index in range(len(reading.quality)):
            if self._mask & 1 << index and reading.quality[index] != NOT_FITTED:
                if reading.quality[index] == OK:
                    reading.valid -= 1
                reading.quality[index] = NO_SAMPLE
                reading.raw[index] = 0

    def status(self) -> int:
        """Return STATUS_CALIBRATION while a point is being calibrated."""
        return STATUS_CALIBRATION if self._mask else 0

    # --- a trial of address and speed -----------------------------------------------------------

    def _begin(self, values: "list[int]", now: int) -> int:
        if self._step:
            return BUSY
        if self._node.config.check(0, values[:2]) or not 2 <= values[2] <= MAX_TRIAL_S:
            return ILLEGAL_VALUE
        self._trial = values[:2]
        self._step = _ACCEPTED
        self._switch_ms = now + _SWITCH_MS
        self._back_ms = self._switch_ms + 1000 * values[2]
        return 0

    def _keep(self) -> int:
        if self._step != _SWITCHED:
            return ILLEGAL_VALUE
        config = self._node.config
        before = [config.value(0), config.value(1)]
        config.set_many(0, self._trial)
        if not config.stored:  # a restart would undo it, so it is undone now, and seen
            config.set_many(0, before)
            return DEVICE_FAILURE
        self._step = _NONE
        self._kept = 1
        return 0

    def _serve(self, unit: int, baud_div_100: int) -> None:
        node = self._node
        node.rtu.tune(unit, 100 * baud_div_100)
        node.bank.guard.unit = unit
        node.line.speed(100 * baud_div_100)

    # --- the light, the hold, the record ---------------------------------------------------------

    def _blink(self, seconds: int, now: int) -> int:
        if seconds > MAX_BLINK_S:
            return ILLEGAL_VALUE
        if seconds or self._blink_ms:
            print('{"blink": %d}' % seconds)
        self._blink_ms = now + 1000 * seconds if seconds else 0
        self._toggle_ms = now
        if not seconds:
            self._light(False)
        return 0

    def _light(self, on: bool) -> None:
        self._lit = on
        self._node.board.light(on)

    def _hold(self, mask: int, seconds: int, now: int) -> int:
        if seconds > MAX_HOLD_S or mask >> len(self._node.sample_frame.map.points):
            return ILLEGAL_VALUE
        if not seconds:
            mask = 0
        for index in range(16):
            bit = 1 << index
            if (mask ^ self._mask) & bit:
                self._event(index, _BEGUN if mask & bit else _ENDED)
        self._mask = mask
        self._hold_ms = now + 1000 * seconds
        return 0

    def _record(self, point: int, values: "list[int]") -> int:
        node = self._node
        first = values[0]
        if first != NO_SETTING and node.config.check(first, values[2:6]):
            return ILLEGAL_VALUE
        content = struct.pack(">%dH" % RECORD_WORDS, *values)
        # The record first: if the power fails now, its coefficients differ from those in force.
        if not node.config.store.write("cal%d" % point, content):
            return DEVICE_FAILURE
        if first != NO_SETTING:
            node.config.set_many(first, values[2:6])
        self._event(point, _STORED)
        return 0

    def _event(self, point: int, what: int) -> None:
        self._node.events.push(EVENT_CALIBRATION, point << 8 | what, self._node.uptime.ms())
