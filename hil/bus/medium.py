"""The pair of wires, without I/O: which endpoint drives it when, and what the others receive.

Bytes and times (ns of any monotonic clock) go in, received bytes come out through ``deliver``. The
caller asks :meth:`Medium.due` when to call :meth:`Medium.advance`. With a ``byte_ns`` of 0 bytes
take no time: they pass at once and cannot collide.

An endpoint drives the line as soon as it sends, even while another one drives it. Endpoints whose
own driver is off receive the wired-AND of bytes that overlap, decoded at the end of the clash as a
UART does (:mod:`hil.bus.uart`). The bytes of a swapped endpoint take the same way.

Bytes for an endpoint whose own time is virtual have to be on their way before they pass: they are
announced when they begin, each with the time at which it will have passed, and what turns out
otherwise is retracted (:class:`Announcer`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from hil.bus import uart
from hil.bus.armed import ArmedFaults
from hil.bus.clash import Clash, Endpoint, Run, Wave, listen
from hil.bus.disturb import Piece, apply, spoil
from hil.bus.fault import STATE_KINDS, Fault, FaultApplied, FaultKind
from hil.bus.trace import NOISE, BurstRecorder, Trace
from protocols.wire.modbus.timing import t15_us, t35_us

# Longer than the kernel needs to hand over the pieces of one write, shorter than any t3.5 below
# 9600 baud plus a master's turnaround.
BURST_GAP_NS: Final = 3_000_000
# A stuck transmitter must not fill memory: a burst is passed on at this size.
MAX_BURST: Final = 4096
_UNPACED_BAUD: Final = 9600  # a line without pace takes the pauses of this speed


class Announcer(Protocol):
    """What carries bytes to endpoints ahead of the time at which they pass."""

    def announce(self, name: str, data: bytes, times: Sequence[int]) -> None:
        """Send an endpoint bytes that will have passed at these times, one for each."""

    def retract(self, name: str, after: int) -> None:
        """Take back what is announced to pass after that time."""


class Medium:
    """``deliver(name, data)`` hands bytes to an endpoint and returns how many it could take.

    With ``announcer`` it is called when they have passed all the same, to count them. A write that
    is ``apart`` begins after a silence of ``silence_ns``. ``lags`` is what is added in the trace to
    the times of an origin. LookupError for a name that is not on the line.
    """

    def __init__(
        self,
        names: Sequence[str],
        deliver: Callable[[str, bytes], int],
        trace: Trace,
        *,
        seed: int = 0,
        byte_ns: int = 0,
        grain_ns: int = 0,
        announcer: Announcer | None = None,
        silence_ns: int = 0,
        lags: Mapping[str, int] | None = None,
    ) -> None:
        self.endpoints = {name: Endpoint(name) for name in names}
        self.trace = trace
        self.faults = ArmedFaults(random.Random(seed))
        self.framing_errors = 0
        self._deliver = deliver
        self._byte_ns = byte_ns
        self._grain = max(1, -(-grain_ns // byte_ns)) if byte_ns else 1
        baud = round(uart.BITS_PER_BYTE * 1e9 / byte_ns) if byte_ns else _UNPACED_BAUD
        t15_ns = 1000 * t15_us(baud, uart.BITS_PER_BYTE)
        t35_ns = 1000 * t35_us(baud, uart.BITS_PER_BYTE)
        gap_ns = max(BURST_GAP_NS, t35_ns if byte_ns else 0)
        self._recorder = BurstRecorder(trace, byte_ns, gap_ns, MAX_BURST, lags or {})
        self._announcer = announcer
        self._silence_ns = silence_ns
        self._now = 0
        self._busy_until = 0
        self._split_ns = (t15_ns + t35_ns) // 2
        self._runs: list[Run] = []
        self._later: list[tuple[int, Endpoint, Piece]] = []
        self._source = Endpoint(NOISE)
        self._analog = False  # an endpoint is swapped: every byte is decoded

    def endpoint(self, name: str) -> Endpoint:
        """Return one endpoint. LookupError if it is not on this line."""
        try:
            return self.endpoints[name]
        except KeyError:
            known = ", ".join(self.endpoints)
            raise LookupError(f"no endpoint {name!r} on this line; it has {known}") from None

    # --- what happens to it -------------------------------------------------------------------

    def write(self, name: str, data: bytes, now: int, *, apart: bool = False) -> None:
        """Send bytes from an endpoint; ``apart`` from what was on the line before."""
        self.advance(now)
        origin = self.endpoints[name]
        origin.traffic.sent += len(data)
        origin.apart |= apart
        if not origin.burst and not self.faults.hit_bursts_of(name):
            self._send(origin, Piece(data, data), now)
            return
        origin.burst += data
        origin.burst_due = now + BURST_GAP_NS
        if len(origin.burst) >= MAX_BURST:
            self._burst_ends(origin, now)

    def noise(self, size: int, now: int) -> None:
        """Disturb the line with ``size`` random bytes that come from no endpoint."""
        self.advance(now)
        self._send(self._source, Piece(b"", self.faults.random.randbytes(size)), now)

    def arm(self, fault: Fault, now: int) -> None:
        """Arm a fault; one of an endpoint's state begins at once if it has no ``after``."""
        if fault.origin is not None:
            self.endpoint(fault.origin)
        self.faults.add(fault)
        if fault.kind in STATE_KINDS and not fault.after:
            self._begin(fault, now)

    def disarm(self, fault: Fault) -> None:
        """Disarm a fault, and end the state it holds."""
        self.faults.remove(fault)
        if fault.kind in STATE_KINDS and fault.applied:
            self._set(fault, on=False)

    def plug(self, name: str, plugged: bool) -> None:
        """Put an endpoint on the line, or take it off."""
        self.endpoint(name).plugged = plugged
        self._announce_anew(self._now)

    def _begin(self, fault: Fault, now: int) -> None:
        self.faults.begin(fault, now)
        self._set(fault, on=True)
        if fault.kind is FaultKind.STUCK and fault.level == 0:
            # The edge looks like a start bit and no stop bit comes: a break.
            stuck = self.endpoint(fault.origin or "")
            record = self._recorder.burst(stuck.name, now)
            self._recorder.received(record, b"\0", now)
            for listener in self.endpoints.values():
                if listener is not stuck and listener.plugged:
                    self.framing_errors += 1
                    self._announce(listener, b"\0", [now + self._byte_ns])
                    self._give(listener, b"\0")

    def _set(self, fault: Fault, *, on: bool) -> None:
        endpoint = self.endpoint(fault.origin or "")
        match fault.kind:
            case FaultKind.STUCK:
                endpoint.stuck = fault.level if on else None
            case FaultKind.SWAP:
                endpoint.swapped = on
                self._analog = any(e.swapped for e in self.endpoints.values())
            case _:
                endpoint.plugged = not on
        self._announce_anew(self._now)

    # --- time ---------------------------------------------------------------------------------

    def due(self) -> int | None:
        """Return when :meth:`advance` has something to do next; None: not without new bytes."""
        times = [e.burst_due for e in self.endpoints.values() if e.burst]
        times += [at for at, *_ in self._later]
        times += [at for at, _ in self.faults.ends]
        for run in self._runs:
            if run.clash is not None:
                times.append(run.clash.end)
            elif self._announcer is not None and not run.announced:
                times.append(run.start)
            else:
                times.append(min(run.end, run.start + (run.done + self._grain) * run.byte_ns))
        return min(times, default=None)

    def advance(self, now: int) -> None:
        """Let everything happen that is due by ``now``."""
        while (due := self.due()) is not None and due <= now:
            self._now = max(self._now, due)
            for fault in self.faults.ended(due):
                self._set(fault, on=False)
            for endpoint in self.endpoints.values():
                if endpoint.burst and endpoint.burst_due <= due:
                    self._burst_ends(endpoint, endpoint.burst_due)
            for entry in [entry for entry in self._later if entry[0] <= due]:
                self._later.remove(entry)
                self._send(entry[1], entry[2], entry[0])
            for run in list(self._runs):
                if run.clash is None:
                    if run.start <= due:
                        self._announce_run(run)
                    self._pass(run, now)
                elif run in self._runs and run.clash.end <= due:
                    self._decode(run.clash)
        self._now = max(self._now, now)

    # --- from an endpoint to the line ---------------------------------------------------------

    def _burst_ends(self, origin: Endpoint, now: int) -> None:
        burst = bytes(origin.burst)
        origin.burst = bytearray()
        for fault in self.faults.states_after(origin.name):
            self._begin(fault, now)
        chosen = self.faults.choose(origin.name, burst)
        if chosen is None:
            self._send(origin, Piece(burst, burst), now)
            return
        for piece in apply(chosen, origin.name, burst, self.faults.random, self._split_ns):
            if piece.after_ns:
                self._later.append((now + piece.after_ns, origin, piece))
            else:
                self._send(origin, piece, now)

    def _silenced(self, origin: Endpoint) -> FaultApplied | None:
        """Return the fault that keeps this endpoint's bytes off the line, if there is one."""
        if not origin.plugged:
            return FaultApplied(FaultKind.UNPLUG, origin.name, -1, "not on the line")
        for other in self.endpoints.values():
            if other.stuck is not None and other.plugged:
                return FaultApplied(FaultKind.STUCK, other.name, -1, f"line held at {other.stuck}")
        return None

    def _send(self, origin: Endpoint, piece: Piece, now: int) -> None:
        start = max(now, origin.busy_until)
        if origin.apart and self._busy_until:
            start = max(start, self._busy_until + self._silence_ns)
        origin.apart = False
        bytewise = self.faults.hit_bytes_of(origin.name)
        if bytewise and origin is not self._source:
            piece = spoil(piece, origin.name, bytewise, self.faults.random)
        record = self._recorder.burst(origin.name, start)
        record.sent += piece.sent
        self.trace.note(record, piece.faults)
        silenced = self._silenced(origin)
        if silenced is not None:
            self.trace.note(record, (silenced,))
        if silenced is not None or not piece.data:
            self._lose(origin, max(len(piece.sent), len(piece.data)))
            return
        self._lose(origin, len(piece.sent) - len(piece.data))
        cuts = sorted(piece.pauses)
        for begin, end in zip([0, *cuts], [*cuts, len(piece.data)], strict=True):
            start += piece.pauses.get(begin, 0)
            run = Run(origin, piece.data[begin:end], start, self._byte_ns, record)
            start = run.end
            self._drive(run, now)
        origin.busy_until = start
        self._busy_until = max(self._busy_until, start)

    def _drive(self, run: Run, now: int) -> None:
        if not run.data:
            return
        met = [
            other
            for other in self._runs
            if other.origin is not run.origin and other.start < run.end and run.start < other.end
        ]
        if met or self._analog:
            clash = Clash([])
            for other in met:
                self._pass(other, run.start)
                for joined in other.clash.runs if other.clash else [other]:
                    if joined.clash is not clash:
                        joined.clash = clash
                        clash.runs.append(joined)
            run.clash = clash
            clash.runs.append(run)
            if met:
                self.trace.collisions += 1
                for each in clash.runs:
                    each.record.collided = True
        self._runs.append(run)
        if run.clash is not None:
            self._announce_anew(run.start)
            return
        if run.start <= now:
            self._announce_run(run)
        if run.end <= now:
            self._pass(run, now)

    # --- from the line to the endpoints -------------------------------------------------------

    def _pass(self, run: Run, now: int) -> None:
        """Deliver those bytes of a run without a clash that have ended by ``now``."""
        if run.clash is not None or now < run.start:
            return
        count = len(run.data)
        if now < run.end:
            count = max(run.done, (now - run.start) // run.byte_ns)
        data = run.data[run.done : count]
        if data:
            at = run.reached
            run.done = count
            silenced = self._silenced(run.origin)
            if silenced is None:
                self._recorder.received(run.record, data, at)
                for listener in self.endpoints.values():
                    if listener is not run.origin:
                        self._give(listener, data)
            else:
                self.trace.note(run.record, (silenced,))
                self._lose(run.origin, len(data))
        self._recorder.ended(run.record, run.reached)
        if run.done == len(run.data) and run in self._runs:
            self._runs.remove(run)

    def _give(self, listener: Endpoint, data: bytes) -> None:
        taken = self._deliver(listener.name, data) if listener.plugged else 0
        listener.traffic.heard += taken
        listener.traffic.lost += len(data) - taken

    def _lose(self, origin: Endpoint, size: int) -> None:
        for endpoint in self.endpoints.values():
            if endpoint is not origin:
                endpoint.traffic.lost += max(0, size)

    # --- ahead of time ------------------------------------------------------------------------

    def _announce(self, listener: Endpoint, data: bytes, times: Sequence[int]) -> None:
        if self._announcer is not None and listener.plugged and data:
            self._announcer.announce(listener.name, data, times)

    def _announce_run(self, run: Run, after: int = -1) -> None:
        """Announce the bytes of a run without a clash that pass after that time, once."""
        if self._announcer is None or run.announced:
            return
        run.announced = True
        if self._silenced(run.origin) is not None:
            return
        first = max(run.done, (after - run.start) // run.byte_ns if run.byte_ns else 0)
        times = [run.start + (i + 1) * run.byte_ns for i in range(first, len(run.data))]
        for listener in self.endpoints.values():
            if listener is not run.origin:
                self._announce(listener, run.data[first:], times)

    def _announce_anew(self, after: int) -> None:
        """What passes after that time has changed: take it back, and announce what is true now."""
        if self._announcer is None or not self._runs:
            return
        for name in self.endpoints:
            self._announcer.retract(name, after)
        clashes: list[Clash] = []
        for run in self._runs:
            if run.clash is None:
                if run.announced:
                    run.announced = False
                    self._announce_run(run, after)
            elif run.clash not in clashes:
                clashes.append(run.clash)
        for clash in clashes:
            zero, scale, waves = self._waves(clash)
            for listener in self._listeners(clash):
                # A UART may still wait for the end of its last byte: it has it when the clash ends.
                got = [
                    (min(zero + round(r.tick / scale) + self._byte_ns, clash.end), r.byte)
                    for r in listen(waves, listener)
                ]
                got = [(at, byte) for at, byte in got if at > after]
                self._announce(listener, bytes(byte for _, byte in got), [at for at, _ in got])

    # --- overlaps -----------------------------------------------------------------------------

    def _waves(self, clash: Clash) -> tuple[int, float, list[Wave]]:
        """Return when tick 0 of a clash is, the ticks per ns, and the levels that meet."""
        zero = min(run.reached for run in clash.runs)
        scale = uart.TICKS_PER_BYTE / self._byte_ns if self._byte_ns else 0.0
        runs = [run for run in clash.runs if self._silenced(run.origin) is None]
        return zero, scale, [Wave(run, zero, scale) for run in runs]

    def _listeners(self, clash: Clash) -> list[Endpoint]:
        alone = clash.runs[0].origin if len(clash.runs) == 1 else None
        return [listener for listener in self.endpoints.values() if listener is not alone]

    def _decode(self, clash: Clash) -> None:
        """End a clash: each endpoint receives what its UART reads from the level of the line."""
        zero, scale, waves = self._waves(clash)
        record = clash.runs[0].record
        for received in listen(waves, None):
            at = zero + (round(received.tick / scale) if scale else 0)
            self._recorder.received(record, bytes((received.byte,)), at)
        if len(clash.runs) > 1:
            for run in clash.runs:
                self._lose(run.origin, len(run.data) - run.done)
        for listener in self._listeners(clash):
            got = listen(waves, listener)
            self.framing_errors += sum(not received.framed for received in got)
            if got:
                self._give(listener, bytes(received.byte for received in got))
        for run in clash.runs:
            if run.origin.swapped:
                detail = "every bit inverted"
                self.trace.note(
                    run.record, (FaultApplied(FaultKind.SWAP, run.origin.name, -1, detail),)
                )
            self._recorder.ended(run.record, run.end)
            self._runs.remove(run)

    def close(self) -> None:
        """Forget what is under way, and complete the trace."""
        self._runs, self._later = [], []
        self.faults.ends.clear()
        for endpoint in self.endpoints.values():
            endpoint.burst = bytearray()
        self._recorder.close()
