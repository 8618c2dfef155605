"""One RS-485 line over pseudo terminals: half duplex, multi-drop, with seeded faults.

What one endpoint writes every other endpoint hears; nobody hears himself, as with a transceiver
whose receiver is off while it drives. There is no framing here: a *burst* is what one endpoint
writes without a pause of ``BURST_GAP_S``. Bursts are only collected while a fault is armed for
their origin, so that an undisturbed line adds no delay.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Self

from hil.pty import Pty
from protocols.wire.crc import crc16

# Longer than the kernel needs to hand over the pieces of one write, shorter than any t3.5 below
# 9600 baud plus a master's turnaround.
BURST_GAP_S = 0.003
# A stuck transmitter must not fill memory: a burst is passed on at this size.
MAX_BURST = 4096
# Start bit, eight data bits, stop bit.
_BITS_PER_BYTE = 10
# Unit, function, CRC.
_SHORTEST_FRAME = 4


class FaultKind(StrEnum):
    """What happens to one burst."""

    FLIP = "flip"  # one bit inverted: a wrong CRC
    DROP = "drop"  # nobody hears it
    DUPLICATE = "duplicate"  # heard twice
    NOISE = "noise"  # `size` random bytes before it
    CUT = "cut"  # only the first `size` bytes are heard
    DELAY = "delay"  # heard `delay_s` later: a late answer
    FOREIGN = "foreign"  # first byte replaced by `unit`, CRC made good again: another node answers


@dataclass(slots=True)
class Fault:
    """An armed fault: applied to the next ``times`` bursts of ``origin`` (None: of anybody).

    ``times`` None means until :meth:`Rs485Line.disarm`; ``rate`` is the share of bursts it hits,
    drawn from the line's seeded generator. ``applied`` counts.
    """

    kind: FaultKind
    origin: str | None = None
    times: int | None = 1
    rate: float = 1.0
    size: int = 4
    delay_s: float = 0.0
    unit: int = 247
    applied: int = 0

    def fits(self, burst: bytes) -> bool:
        """Whether it would change this burst: a short answer cannot be cut at byte 20."""
        if self.kind is FaultKind.CUT:
            return len(burst) > self.size
        return self.kind is not FaultKind.FOREIGN or len(burst) >= _SHORTEST_FRAME


@dataclass(slots=True)
class Traffic:
    """Bytes of one endpoint: ``sent`` by it, ``heard`` by it, ``lost`` before they reached it."""

    sent: int = 0
    heard: int = 0
    lost: int = 0


@dataclass(slots=True)
class _Endpoint:
    name: str
    pty: Pty
    traffic: Traffic = field(default_factory=Traffic)
    silent: bool = False
    burst: bytearray = field(default_factory=bytearray)
    timer: asyncio.TimerHandle | None = None


class Rs485Line:
    """A line with the named endpoints; open :meth:`path` of each like a serial port.

    ``baud`` paces the bytes (10 bits each, 8N1), None passes them on at once. All faults are drawn
    from ``seed``. Use as ``async with``, in the loop that shall carry the bytes. LookupError for
    an endpoint that is not on the line.
    """

    def __init__(self, endpoints: Sequence[str], *, seed: int = 0, baud: int | None = None) -> None:
        if len(set(endpoints)) != len(endpoints):
            raise ValueError(f"endpoint names must differ, got {list(endpoints)}")
        self._random = random.Random(seed)
        self._baud = baud
        # The kernel's own limit: a master's driver reads whole answers, not bytes as they come.
        self._endpoints = {name: _Endpoint(name, Pty(rx_limit=4095)) for name in endpoints}
        self._faults: list[Fault] = []
        self._free_at = 0.0
        self._delayed: set[asyncio.TimerHandle] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.applied: Counter[FaultKind] = Counter()
        self.noise_bytes = 0

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        for endpoint in self._endpoints.values():
            endpoint.pty.listen(partial(self._written, endpoint))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut the line: every path is closed, delayed bursts are dropped."""
        for handle in self._delayed:
            handle.cancel()
        for endpoint in self._endpoints.values():
            if endpoint.timer is not None:
                endpoint.timer.cancel()
            endpoint.pty.close()

    def _endpoint(self, name: str) -> _Endpoint:
        try:
            return self._endpoints[name]
        except KeyError:
            known = ", ".join(self._endpoints)
            raise LookupError(f"no endpoint {name!r} on this line; it has {known}") from None

    def path(self, name: str) -> str:
        """The terminal to open for this endpoint, 8N1 at any speed."""
        return self._endpoint(name).pty.path

    def traffic(self, name: str) -> Traffic:
        """The byte counters of one endpoint."""
        return self._endpoint(name).traffic

    # Faults

    def inject(self, fault: Fault) -> Fault:
        """Arm a fault; the first armed fault that fits a burst is applied to it, alone."""
        if fault.origin is not None:
            self._endpoint(fault.origin)
        self._faults.append(fault)
        return fault

    def disarm(self, fault: Fault) -> None:
        """Take an armed fault back; nothing happens if it is used up."""
        if fault in self._faults:
            self._faults.remove(fault)

    def silence(self, name: str, silent: bool) -> None:
        """Unplug an endpoint from the line (it hears and says nothing), or plug it in again."""
        endpoint = self._endpoint(name)
        endpoint.silent = silent
        if silent:
            endpoint.pty.flush()

    def flush(self, name: str) -> None:
        """Forget what an endpoint has not read: call it when its node has lost power."""
        self._endpoint(name).pty.flush()

    def noise(self, size: int) -> None:
        """A disturbance that everybody hears: ``size`` random bytes."""
        self.noise_bytes += size
        self._send(None, self._random.randbytes(size))

    # The way of the bytes

    def _fault_for(self, name: str) -> Fault | None:
        return next((f for f in self._faults if f.origin in (None, name)), None)

    def _written(self, origin: _Endpoint, data: bytes) -> None:
        origin.traffic.sent += len(data)
        if origin.silent:
            self._lose(origin, len(data))
            return
        if not origin.burst and self._fault_for(origin.name) is None:
            self._send(origin, data)
            return
        assert self._loop is not None
        origin.burst += data
        if origin.timer is not None:
            origin.timer.cancel()
        if len(origin.burst) >= MAX_BURST:
            self._burst_ends(origin)
        else:
            origin.timer = self._loop.call_later(BURST_GAP_S, self._burst_ends, origin)

    def _burst_ends(self, origin: _Endpoint) -> None:
        burst = bytes(origin.burst)
        origin.burst = bytearray()
        origin.timer = None
        fault = self._fault_for(origin.name)
        if fault is None or not fault.fits(burst) or self._random.random() >= fault.rate:
            self._send(origin, burst)
            return
        fault.applied += 1
        self.applied[fault.kind] += 1
        if fault.times is not None and fault.applied >= fault.times:
            self._faults.remove(fault)
        self._disturb(origin, burst, fault)

    def _disturb(self, origin: _Endpoint, burst: bytes, fault: Fault) -> None:
        match fault.kind:
            case FaultKind.FLIP:
                spoiled = bytearray(burst)
                spoiled[self._random.randrange(len(burst))] ^= 1 << self._random.randrange(8)
                self._send(origin, bytes(spoiled))
            case FaultKind.DROP:
                self._lose(origin, len(burst))
            case FaultKind.DUPLICATE:
                self._send(origin, burst)
                self._send(origin, burst)
            case FaultKind.NOISE:
                self.noise_bytes += fault.size
                self._send(origin, self._random.randbytes(fault.size) + burst)
            case FaultKind.CUT:
                kept = burst[: fault.size]
                self._lose(origin, len(burst) - len(kept))
                self._send(origin, kept)
            case FaultKind.DELAY:
                assert self._loop is not None
                self._delayed.add(self._loop.call_later(fault.delay_s, self._send, origin, burst))
            case FaultKind.FOREIGN:
                body = bytes((fault.unit,)) + burst[1:-2]
                self._send(origin, body + crc16(body).to_bytes(2, "little"))

    def _send(self, origin: _Endpoint | None, data: bytes) -> None:
        if not data:
            return
        if self._baud is None:
            self._hear(origin, data)
            return
        # Half duplex: a burst begins when the one before it has passed.
        assert self._loop is not None
        now = self._loop.time()
        self._free_at = max(now, self._free_at) + len(data) * _BITS_PER_BYTE / self._baud
        self._delayed.add(self._loop.call_at(self._free_at, self._hear, origin, data))

    def _hear(self, origin: _Endpoint | None, data: bytes) -> None:
        now = self._loop.time() if self._loop is not None else 0.0
        self._delayed = {h for h in self._delayed if not h.cancelled() and h.when() > now}
        for endpoint in self._endpoints.values():
            if endpoint is origin:
                continue
            taken = 0 if endpoint.silent else endpoint.pty.write(data)
            endpoint.traffic.heard += taken
            endpoint.traffic.lost += len(data) - taken

    def _lose(self, origin: _Endpoint, size: int) -> None:
        for endpoint in self._endpoints.values():
            if endpoint is not origin:
                endpoint.traffic.lost += size
