"""One RS-485 line: half duplex, multi-drop, with seeded faults and a trace.

Every other endpoint receives what one endpoint sends. An endpoint does not receive its own bytes,
as with a transceiver whose receiver is off while it drives. There is no framing here: a *burst* is
what one endpoint sends without a pause of 3 ms. Bursts are only collected while a fault of whole
bursts is armed for their origin, so that an undisturbed line adds no delay.

A line whose nodes have a virtual time goes by that time (docs/decisions/0016).

::

    async with Rs485Line({"gateway": Pty(4095), "air": board.wire("line")}, baud=9600) as line:
        line.inject(Fault(FaultKind.BYTE_FLIP, origin="air", times=None, rate=0.01))
        ...
    print(decode.text(line.trace.bursts))
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Self

from hil.bus.clash import Traffic
from hil.bus.fault import Fault, FaultKind, Plan
from hil.bus.medium import Medium
from hil.bus.timer import HostClock, LineClock, LineTimer
from hil.bus.trace import NOISE, Trace
from hil.bus.uart import BITS_PER_BYTE
from hil.wires.line_wire import PAUSE_S, silence_s
from hil.wires.pty import Pty
from hil.wires.wire import TimedWire, Wire

#: How finely the bytes of a burst are spread in time: more often would cost CPU for nothing.
GRAIN_S = 0.001


class Rs485Line:
    """A line with the named endpoints, each on the wire given with it (an emulator's UART).

    Without a wire an endpoint gets a pseudo terminal: open its :meth:`path` like a serial port.

    ``baud`` paces the bytes (10 bits each, 8N1): they are received when their stop bit has passed,
    in chunks of at least ``grain_s`` seconds, and bytes that overlap collide. With ``math.inf`` the
    bytes of one write are received together, when the last one has passed: that suits a node that
    minds pauses inside a frame. None passes bytes on at once, and nothing collides. An emulator
    whose time is not the host's needs None, or wires that carry times and ``clock``: then bytes are
    on the line at their virtual times, and what other endpoints write begins now, after the silence
    that the nodes need.

    Everything random is drawn from ``seed``. ``clock`` stamps the bytes (None: the host's). Use as
    ``async with``, in the loop that shall carry the bytes. LookupError for an endpoint that is not
    on the line.
    """

    def __init__(
        self,
        endpoints: Sequence[str] | Mapping[str, Wire],
        *,
        seed: int = 0,
        baud: int | None = None,
        grain_s: float = GRAIN_S,
        trace: Trace | None = None,
        clock: LineClock | None = None,
    ) -> None:
        if len(set(endpoints)) != len(endpoints):
            raise ValueError(f"endpoint names must differ, got {list(endpoints)}")
        if baud is not None and baud < 1:
            raise ValueError(f"baud: expected 1 or more, or None, got {baud}")
        given = endpoints if isinstance(endpoints, Mapping) else {}
        # The kernel's own limit: a master's driver reads whole answers, not bytes as they come.
        self._wires: dict[str, Wire] = {
            name: given[name] if name in given else Pty(rx_limit=4095) for name in endpoints
        }
        self.seed = seed
        self.baud = baud
        self._clock = clock or HostClock()
        self.trace = trace or Trace(clock_ns=self._clock.now_ns)
        self._noise_bytes = 0
        self._written_at = dict.fromkeys(endpoints, -math.inf)
        self._timed = _Timed({n: w for n, w in self._wires.items() if isinstance(w, TimedWire)})
        byte_ns = round(BITS_PER_BYTE * 1e9 / baud) if baud else 0
        if self._timed.wires:
            if baud is None:
                raise ValueError("baud: expected a number for wires that carry times, got None")
            byte_ns = 1000 * round(byte_ns / 1000)  # their times are whole microseconds
            grain_s = math.inf
        lags = dict.fromkeys((*endpoints, NOISE), self._timed.lag_ns)
        self._medium = Medium(
            list(endpoints),
            self._deliver,
            self.trace,
            seed=seed,
            byte_ns=byte_ns,
            grain_ns=round(grain_s * 1e9) if math.isfinite(grain_s) else 1 << 62,
            announcer=self._timed if self._timed.wires else None,
            silence_ns=round(silence_s(baud) * 1e6) * 1000 if baud and self._timed.wires else 0,
            lags={name: lag for name, lag in lags.items() if name not in self._timed.wires},
        )
        self._armed: list[Fault] = []
        self._timer: LineTimer | None = None
        self._timer_due: int | None = None

    async def __aenter__(self) -> Self:
        self._timer = self._clock.timer(self._pass)
        for name, wire in self._wires.items():
            if isinstance(wire, TimedWire):
                wire.listen_timed(partial(self._sent, name))
            else:
                wire.listen(partial(self._written, name))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut the line: close every wire, drop the bytes under way, complete the trace."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        for wire in self._wires.values():
            wire.close()
        self._medium.close()
        self.trace.close()

    def path(self, name: str) -> str:
        """Return the terminal to open for this endpoint, 8N1 at any speed."""
        self._medium.endpoint(name)
        wire = self._wires[name]
        if not isinstance(wire, Pty):
            raise LookupError(f"endpoint {name!r} has no path: its wire is {wire!r}")
        return wire.path

    # --- what is counted ----------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Return the endpoints in the order they were given."""
        return tuple(self._wires)

    def traffic(self, name: str) -> Traffic:
        """Return the byte counters of one endpoint."""
        return self._medium.endpoint(name).traffic

    @property
    def applied(self) -> Counter[FaultKind]:
        """Return how often each kind of fault was applied, by all faults armed so far."""
        counts: Counter[FaultKind] = Counter()
        for fault in self._armed:
            if fault.applied:
                counts[fault.kind] += fault.applied
        return counts

    @property
    def noise_bytes(self) -> int:
        """Return the number of random bytes put on the line, by :meth:`noise` and by faults."""
        noise = (f for f in self._armed if f.kind is FaultKind.NOISE)
        return self._noise_bytes + sum(fault.size * fault.applied for fault in noise)

    def late(self) -> Mapping[str, tuple[int, int]]:
        """Return, by node with a virtual time, how many pieces came too late for their time and the
        longest delay in us: a busy host; the trace is wrong by as much.
        """
        return {name: (wire.late, wire.late_us) for name, wire in self._timed.wires.items()}

    @property
    def collisions(self) -> int:
        """Return how often an endpoint began to send while another one was sending."""
        return self.trace.collisions

    @property
    def framing_errors(self) -> int:
        """Return the number of bytes that some endpoint took without a stop bit."""
        return self._medium.framing_errors

    # --- faults -------------------------------------------------------------------------------

    def inject(self, fault: Fault) -> Fault:
        """Arm a fault, and return it.

        A burst is changed by one fault: the first armed one that fits and is drawn. A byte is
        changed by every byte fault that is drawn. A state of an endpoint begins at once.
        """
        now = self._clock.now_ns()
        self._medium.advance(now)
        self._medium.arm(fault, now)
        self._armed.append(fault)
        if fault.kind is FaultKind.UNPLUG and fault.applied:
            self._wires[fault.origin or ""].flush()
        self._wake()
        return fault

    def plan(self) -> Plan:
        """Return the seed and all faults armed so far: a failing test writes them to a file."""
        return Plan(self.seed, tuple(self._armed))

    def disarm(self, fault: Fault) -> None:
        """Disarm a fault and end its state; nothing happens if it is used up."""
        self._medium.advance(self._clock.now_ns())
        self._medium.disarm(fault)
        self._wake()

    def silence(self, name: str, silent: bool) -> None:
        """Unplug an endpoint from the line (it receives and sends nothing), or plug it in again."""
        self._medium.advance(self._clock.now_ns())
        self._medium.plug(name, not silent)
        if silent:
            self._wires[name].flush()

    def flush(self, name: str) -> None:
        """Drop what an endpoint has not read: call it when its node has lost power."""
        self._medium.endpoint(name)
        self._wires[name].flush()

    def noise(self, size: int) -> None:
        """Disturb the line: every endpoint receives ``size`` random bytes."""
        self._noise_bytes += size
        self._medium.noise(size, self._clock.now_ns())
        self._wake()

    # --- the way of the bytes -----------------------------------------------------------------

    def _written(self, name: str, data: bytes) -> None:
        written_at, self._written_at[name] = self._written_at[name], time.monotonic()
        apart = bool(self._timed.wires) and self._written_at[name] - written_at >= PAUSE_S
        self._medium.write(name, data, self._clock.now_ns(), apart=apart)
        self._wake()

    def _sent(self, name: str, data: bytes, at_ns: int) -> None:
        """Take what a node sent at a virtual time of its own."""
        self._medium.write(name, data, at_ns)
        self._wake()

    def _deliver(self, name: str, data: bytes) -> int:
        wire = self._timed.wires.get(name)
        if wire is not None:  # it has them already
            return len(data) if wire.receives() else 0
        return self._wires[name].write(data)

    def _wake(self) -> None:
        """Start the timer for the time at which the medium is due next."""
        due = self._medium.due()
        if due is None or self._timer is None:
            return
        if self._timer_due is None or due < self._timer_due:
            self._timer_due = due
            self._timer.start(due)

    def _pass(self) -> None:
        self._timer_due = None
        self._medium.advance(self._clock.now_ns())
        self._wake()


class _Timed:
    """The wires of a line that carry times: bytes are on their way before they have passed."""

    def __init__(self, wires: Mapping[str, TimedWire]) -> None:
        self.wires = wires
        self.lag_ns = max((wire.lag_ns for wire in wires.values()), default=0)

    def announce(self, name: str, data: bytes, times: Sequence[int]) -> None:
        if name in self.wires:
            self.wires[name].announce(data, times)

    def retract(self, name: str, after: int) -> None:
        if name in self.wires:
            self.wires[name].retract(after)
