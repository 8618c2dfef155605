"""The pair of wires, without I/O: who drives it when, and what everybody hears of it.

Bytes and times (ns of any monotonic clock) go in, heard bytes come out through ``hear``; the
caller asks :meth:`Medium.due` when to call :meth:`Medium.advance`. With a ``byte_ns`` of 0 bytes
take no time: they pass at once and cannot collide.

An endpoint begins to drive when it says something, whoever drives already. Bytes that overlap are
heard as the wired-AND of both by everyone whose own driver is off, decoded at the end of the clash
as a UART would (:mod:`hil.bus.uart`); a swapped endpoint takes the same way.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from hil.bus import uart
from hil.bus.clash import Clash, Endpoint, Run, Wave, listen
from hil.bus.disturb import Piece, apply, choose, spoil
from hil.bus.fault import BYTE_KINDS, STATE_KINDS, Fault, FaultKind, Mark
from hil.bus.trace import NOISE, Burst, Trace

# Longer than the kernel needs to hand over the pieces of one write, shorter than any t3.5 below
# 9600 baud plus a master's turnaround.
BURST_GAP_NS = 3_000_000
# A stuck transmitter must not fill memory: a burst is passed on at this size.
MAX_BURST = 4096


class Medium:
    """``hear(name, data)`` returns how many bytes an endpoint could take. LookupError for a name
    that is not on the line."""

    def __init__(
        self,
        names: Sequence[str],
        hear: Callable[[str, bytes], int],
        trace: Trace,
        *,
        seed: int = 0,
        byte_ns: int = 0,
        grain_ns: int = 0,
    ) -> None:
        self.endpoints = {name: Endpoint(name) for name in names}
        self.trace = trace
        self.faults: list[Fault] = []
        self.framing_errors = 0
        self._hear = hear
        self._byte_ns = byte_ns
        self._grain = max(1, -(-grain_ns // byte_ns)) if byte_ns else 1
        self._gap_ns = max(BURST_GAP_NS, byte_ns * 7 // 2)
        # A little over t1.5 (1.5 characters, 750 us above 19200 baud), under t3.5.
        self._split_ns = (byte_ns or 1_041_667) * 5 // 2 if not 0 < byte_ns < 520_833 else 1_250_000
        self._random = random.Random(seed)
        self._runs: list[Run] = []
        self._later: list[tuple[int, Endpoint, Piece]] = []
        self._ends: list[tuple[int, Fault]] = []
        self._last: Endpoint | None = None
        self._source = Endpoint(NOISE)
        self._analog = False  # an endpoint is swapped: every byte is decoded

    def endpoint(self, name: str) -> Endpoint:
        """One endpoint. LookupError."""
        try:
            return self.endpoints[name]
        except KeyError:
            known = ", ".join(self.endpoints)
            raise LookupError(f"no endpoint {name!r} on this line; it has {known}") from None

    # --- what happens to it -------------------------------------------------------------------

    def write(self, name: str, data: bytes, now: int) -> None:
        """An endpoint says something."""
        self.advance(now)
        origin = self.endpoints[name]
        origin.traffic.sent += len(data)
        armed = origin.burst or any(
            f.concerns(name) and f.kind not in BYTE_KINDS and not f.used_up() for f in self.faults
        )
        if not armed:
            self._say(origin, Piece(data, data), now)
            return
        origin.burst += data
        origin.burst_due = now + BURST_GAP_NS
        if len(origin.burst) >= MAX_BURST:
            self._burst_ends(origin, now)

    def noise(self, size: int, now: int) -> None:
        """A disturbance of ``size`` random bytes that no endpoint made."""
        self.advance(now)
        self._say(self._source, Piece(b"", self._random.randbytes(size)), now)

    def arm(self, fault: Fault, now: int) -> None:
        """Arm a fault; one of an endpoint's state begins at once if it has no ``after``."""
        if fault.origin is not None:
            self.endpoint(fault.origin)
        self.faults.append(fault)
        if fault.kind in STATE_KINDS and not fault.after:
            self._begin(fault, now)

    def disarm(self, fault: Fault) -> None:
        """Take an armed fault back, and end the state it holds."""
        self.faults = [f for f in self.faults if f is not fault]
        if fault.kind in STATE_KINDS and fault.applied:
            self._ends = [(at, f) for at, f in self._ends if f is not fault]
            self._set(fault, on=False)

    def _begin(self, fault: Fault, now: int) -> None:
        fault.applied += 1
        if fault.lasts_s is not None:
            self._ends.append((now + round(fault.lasts_s * 1e9), fault))
        self._set(fault, on=True)
        if fault.kind is FaultKind.STUCK and fault.level == 0:
            # The edge looks like a start bit and no stop bit comes: a break.
            stuck = self.endpoint(fault.origin or "")
            record = self._record(stuck, now)
            record.heard += b"\0"
            record.stamps.append((len(record.heard) - 1, now))
            for listener in self.endpoints.values():
                if listener is not stuck and listener.plugged:
                    self.framing_errors += 1
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

    # --- time ---------------------------------------------------------------------------------

    def due(self) -> int | None:
        """When :meth:`advance` has something to do next; None: never without new bytes."""
        times = [e.burst_due for e in self.endpoints.values() if e.burst]
        times += [at for at, *_ in self._later]
        times += [at for at, _ in self._ends]
        for run in self._runs:
            if run.clash is not None:
                times.append(run.clash.end)
            else:
                times.append(min(run.end, run.start + (run.done + self._grain) * run.byte_ns))
        return min(times, default=None)

    def advance(self, now: int) -> None:
        """Let everything happen that is due by ``now``."""
        while (due := self.due()) is not None and due <= now:
            for at, fault in [entry for entry in self._ends if entry[0] <= due]:
                self._ends.remove((at, fault))
                self.faults = [f for f in self.faults if f is not fault]
                self._set(fault, on=False)
            for endpoint in self.endpoints.values():
                if endpoint.burst and endpoint.burst_due <= due:
                    self._burst_ends(endpoint, endpoint.burst_due)
            for entry in [entry for entry in self._later if entry[0] <= due]:
                self._later.remove(entry)
                self._say(entry[1], entry[2], entry[0])
            for run in list(self._runs):
                if run.clash is None:
                    self._pass(run, now)
                elif run in self._runs and run.clash.end <= due:
                    self._decode(run.clash)

    # --- from an endpoint to the line ---------------------------------------------------------

    def _burst_ends(self, origin: Endpoint, now: int) -> None:
        burst = bytes(origin.burst)
        origin.burst = bytearray()
        for fault in list(self.faults):
            if fault.kind in STATE_KINDS and fault.origin == origin.name and not fault.applied:
                fault.seen += 1
                if fault.seen > fault.after:
                    self._begin(fault, now)
        chosen = choose(self.faults, origin.name, burst, self._random)
        if chosen is None:
            self._say(origin, Piece(burst, burst), now)
            return
        if chosen.used_up():
            self.faults = [f for f in self.faults if f is not chosen]
        for piece in apply(chosen, origin.name, burst, self._random, self._split_ns):
            if piece.after_ns:
                self._later.append((now + piece.after_ns, origin, piece))
            else:
                self._say(origin, piece, now)

    def _silenced(self, origin: Endpoint) -> Mark | None:
        """Why nobody hears this endpoint, if so."""
        if not origin.plugged:
            return Mark(FaultKind.UNPLUG, origin.name, -1, "not on the line")
        for other in self.endpoints.values():
            if other.stuck is not None and other.plugged:
                return Mark(FaultKind.STUCK, other.name, -1, f"line held at {other.stuck}")
        return None

    def _say(self, origin: Endpoint, piece: Piece, now: int) -> None:
        start = max(now, origin.busy_until)
        bytewise = [f for f in self.faults if f.kind in BYTE_KINDS and f.concerns(origin.name)]
        if bytewise and origin is not self._source:
            piece = spoil(piece, origin.name, bytewise, self._random)
        record = self._record(origin, start)
        record.sent += piece.sent
        self.trace.mark(record, piece.marks)
        silenced = self._silenced(origin)
        if silenced is not None:
            self.trace.mark(record, (silenced,))
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
        if run.clash is None and run.end <= now:
            self._pass(run, now)
        else:
            self._runs.append(run)

    # --- from the line to the endpoints -------------------------------------------------------

    def _pass(self, run: Run, now: int) -> None:
        """Let the bytes of a lonely run be heard that have ended by ``now``."""
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
                self._note(run.record, data, at)
                for listener in self.endpoints.values():
                    if listener is not run.origin:
                        self._give(listener, data)
            else:
                self.trace.mark(run.record, (silenced,))
                self._lose(run.origin, len(data))
        run.record.end_ns = max(run.record.end_ns, run.reached)
        if run.done == len(run.data) and run in self._runs:
            self._runs.remove(run)

    def _note(self, record: Burst, data: bytes, at: int) -> None:
        known = len(record.heard)
        if not known or at != record.byte_time(known - 1) + record.byte_ns:
            record.stamps.append((known, at))
        record.heard += data

    def _give(self, listener: Endpoint, data: bytes) -> None:
        taken = self._hear(listener.name, data) if listener.plugged else 0
        listener.traffic.heard += taken
        listener.traffic.lost += len(data) - taken

    def _lose(self, origin: Endpoint, size: int) -> None:
        for endpoint in self.endpoints.values():
            if endpoint is not origin:
                endpoint.traffic.lost += max(0, size)

    def _decode(self, clash: Clash) -> None:
        """The end of a clash: each endpoint hears what its UART makes of the level."""
        runs = [run for run in clash.runs if self._silenced(run.origin) is None]
        zero = min(run.reached for run in clash.runs)
        scale = uart.TICKS_PER_BYTE / self._byte_ns if self._byte_ns else 0.0
        waves = [Wave(run, zero, scale) for run in runs]
        record = clash.runs[0].record
        for received in listen(waves, None):
            at = zero + (round(received.tick / scale) if scale else 0)
            self._note(record, bytes((received.byte,)), at)
        if len(clash.runs) > 1:
            for run in clash.runs:
                self._lose(run.origin, len(run.data) - run.done)
        for listener in self.endpoints.values():
            if len(clash.runs) == 1 and clash.runs[0].origin is listener:
                continue
            got = listen(waves, listener)
            self.framing_errors += sum(not received.framed for received in got)
            if got:
                self._give(listener, bytes(received.byte for received in got))
        for run in clash.runs:
            if run.origin.swapped:
                detail = "every bit inverted"
                self.trace.mark(run.record, (Mark(FaultKind.SWAP, run.origin.name, -1, detail),))
            run.record.end_ns = max(run.record.end_ns, run.end)
            self._runs.remove(run)

    # --- the trace ----------------------------------------------------------------------------

    def _record(self, origin: Endpoint, start: int) -> Burst:
        """The burst this belongs to: the open one, unless a pause or somebody else came between."""
        record = origin.record
        if (
            record is None
            or self._last is not origin
            or start - record.end_ns > self._gap_ns
            or len(record.sent) >= MAX_BURST
        ):
            if record is not None:
                self.trace.done(record)
            record = origin.record = self.trace.open(origin.name, start, self._byte_ns)
            self._last = origin
        record.end_ns = max(record.end_ns, start)
        return record

    def close(self) -> None:
        """Forget what is under way; the trace is complete."""
        self._runs, self._later, self._ends = [], [], []
        for endpoint in (*self.endpoints.values(), self._source):
            endpoint.burst = bytearray()
            if endpoint.record is not None:
                self.trace.done(endpoint.record)
                endpoint.record = None
