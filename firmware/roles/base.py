"""What every role does alike: sample its parts side by side, raise events, note its status.

A role never raises into the node: whatever a part or its driver does ends as a quality code.
"""

import asyncio
from array import array

from micropython import const

from firmware.node.reading import Reading
from firmware.node.schedule import Uptime
from firmware.sensors.absent import AbsentBus
from firmware.sensors.part import Part
from protocols.wire.registers import (
    CHECKSUM,
    EVENT_SENSOR,
    FAULT,
    NO_SAMPLE,
    NOT_FITTED,
    OK,
    RANGE,
    STATUS_SENSOR_FAULT,
    STATUS_WARMUP,
    TIMEOUT,
    WARMUP,
    RegisterMap,
    setting_address,
)

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Coroutine

    from firmware.node.ports import Picture
    from firmware.sensors.ports import Adc, Config, Events, I2c, OneWire, PartsBoard, Uart

# A flickering point raises at most this many events at once, then one per refill time: the event
# queue is short and what else happens must keep its place in it.
_BURST = const(4)
_REFILL_MS = const(30_000)
_FAULTS = (TIMEOUT, CHECKSUM, RANGE, FAULT)
_NO_WORD = (TIMEOUT, CHECKSUM, NOT_FITTED, NO_SAMPLE)  # the part gave nothing, or nothing whole


def is_fault(code: int) -> bool:
    """Return True for the qualities of a fault (not: warming up, absent by design)."""
    return code in _FAULTS


class Role:
    """The points of ``map`` in order; ``_fit(part, first)`` puts a part in front of its points."""

    def __init__(
        self, map: RegisterMap, board: "PartsBoard", config: "Config", events: "Events"
    ) -> None:
        self.map = map
        self.reading = Reading(map)
        self.raw = array("H", bytes(2 * len(map.points)))  # registers from RAW_ADDRESS on
        self.image: Picture | None = None  # of a role that takes pictures
        self._board = board
        self._config = config
        self._events = events
        self._fitted = setting_address("fitted")
        self._limit = setting_address("warmup_limit_s")
        self._parts: list[tuple[Part, int]] = []
        count = len(map.points)
        self._reported = bytearray(count)  # the fault in the point's last event, OK: none
        self._tokens = bytearray(count)
        for index in range(count):
            self._tokens[index] = _BURST
        self._uptime = Uptime(board)
        self._last = 0
        self._status = 0

    # --- what the node calls ------------------------------------------------------------------

    async def sample(self) -> None:
        """Read every fitted part into ``reading``, which is graded afterwards. Never raises.

        Parts are read side by side, each within its own deadline, so it takes as long as the
        slowest part and no longer when one is dead.
        """
        await self._side_by_side([self._read(part, first) for part, first in self._parts])
        for part, first in self._parts:
            for index in range(len(part.codes)):
                code = part.codes[index]
                self.reading.quality[first + index] = code
                self.reading.raw[first + index] = part.values[index]
                self.raw[first + index] = 0 if code in _NO_WORD else part.raw(index) & 0xFFFF

    def graded(self) -> None:
        """Draw status and events from the reading, which has been graded."""
        status = 0
        now = self._uptime.ms()
        self._refill(now)
        quality = self.reading.quality
        for index in range(len(quality)):
            code = quality[index]
            if code == WARMUP:
                status |= STATUS_WARMUP
            fault = code if is_fault(code) else OK
            if fault:
                status |= STATUS_SENSOR_FAULT
            if fault != self._reported[index] and code != NO_SAMPLE and self._tokens[index]:
                self._tokens[index] -= 1
                self._reported[index] = fault
                self._events.push(EVENT_SENSOR, index << 8 | code, now)
        self._status = status

    async def run(self) -> None:
        """Serve the parts that speak unasked, for ever. Never raises."""
        # A task that has ended stays in the list of what is waited for, with all it holds.
        services = [part for part, _ in self._parts if type(part).run is not Part.run]
        await self._side_by_side([self._serve(part) for part in services])

    def status(self) -> int:
        """Return STATUS_WARMUP and STATUS_SENSOR_FAULT as of the last sample."""
        return self._status

    async def selftest(self) -> int:
        """Read every fitted part once; bit i set: part i (in the role's order) did not answer well.

        Warming up and out of range count as answers. Takes at most 3 s.
        """
        await self._side_by_side([self._read(part, first) for part, first in self._parts])
        failed = 0
        for index in range(len(self._parts)):
            part, first = self._parts[index]
            code = part.codes[0]
            if self.fitted(first, len(part.codes)) and code not in (OK, WARMUP, RANGE):
                failed |= 1 << index
        return failed

    # --- for the roles ------------------------------------------------------------------------

    def _fit(self, part: "Part", first: int) -> None:
        self._parts.append((part, first))

    def _uart(self, part: str) -> "Uart":
        """Open the part's UART, or one that fails: a board without it still has its other parts."""
        try:
            return self._board.uart(part)
        except Exception:  # noqa: BLE001 - whatever a board raises for a port it does not have
            return AbsentBus()

    def _i2c(self) -> "I2c":
        try:
            return self._board.i2c()
        except Exception:  # noqa: BLE001 - as above
            return AbsentBus()

    def _onewire(self) -> "OneWire":
        try:
            return self._board.onewire()
        except Exception:  # noqa: BLE001 - as above
            return AbsentBus()

    def _adc(self, channel: str) -> "Adc":
        try:
            return self._board.adc(channel)
        except Exception:  # noqa: BLE001 - as above
            return AbsentBus()

    def fitted(self, first: int, count: int = 1) -> bool:
        """Return True if any of ``count`` points from ``first`` on is configured as fitted."""
        return bool(self._config.value(self._fitted) & ((1 << count) - 1) << first)

    def limit_s(self) -> int:
        """Return the configured upper bound on warm-up times in s."""
        return self._config.value(self._limit)

    def _refill(self, now: int) -> None:
        """Refill the event allowance; a change that had none raises its event later."""
        if now - self._last >= _REFILL_MS:
            self._last = now
            for index in range(len(self._tokens)):
                if self._tokens[index] < _BURST:
                    self._tokens[index] += 1

    async def _read(self, part: "Part", first: int) -> None:
        if not self.fitted(first, len(part.codes)):
            part.all(NOT_FITTED)
            return
        try:
            await part.read(self.limit_s())
        except OSError:
            part.all(TIMEOUT)
        except Exception:  # noqa: BLE001 - a driver's bug must not stop the other parts
            part.all(FAULT)

    async def _serve(self, part: "Part") -> None:
        try:
            await part.run()
        except Exception:  # noqa: BLE001 - without its service the part's readings are faults
            part.all(FAULT)

    async def _side_by_side(self, work: "list[Coroutine[object, object, None]]") -> None:
        if work:
            await asyncio.gather(*work)
