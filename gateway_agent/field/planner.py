"""Plans the requests that a device needs, and predicts how long they keep its bus.

Registers are coalesced into as few reads as possible. A short hole between two of them
(``gap_words``) is read along, because a request of its own costs more.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

from msgspec import Struct

from gateway_agent.config import Bus, Device, NodeDevice
from protocols.modbus_client import BIT_FUNCTIONS, Read, Request, read_request
from protocols.modbus_client.request import REGISTERS
from protocols.wire.modbus.pdu import MAX_READ, READ_INPUT
from protocols.wire.registers import (
    SAMPLE_ADDRESS,
    SETTINGS,
    RegisterMap,
    setting_address,
)

_REQUEST_CHARS: Final = 8  # address, function, start, count, CRC
_ANSWER_CHARS: Final = 5  # address, function, byte count, CRC; and two per register
# In ASCII: colon, two digits a byte with an LRC instead of the CRC, carriage return, line feed.
_ASCII_REQUEST_CHARS: Final = 17
_ASCII_ANSWER_CHARS: Final = 11
PROBE_READS: Final = 8  # lengths that a device is asked for which answers none of its own reads
BUSY: Final = 0.8  # above this share of the bus a single retry or probe makes a slot late
# A node measures this often unless it is configured otherwise.
_SAMPLE_MS: Final = SETTINGS[setting_address("sample_period_ds")].default * 100


class Span(NamedTuple):
    """The registers of one value: ``words`` from ``address``."""

    function: int
    address: int
    words: int


Cuts: TypeAlias = frozenset[tuple[int, int]]  # (function, address)
NO_CUTS: Final[Cuts] = frozenset()


class JoinRules(NamedTuple):
    """What one device allows of reading several values with one request.

    ``cuts`` are borders that no request may cross: the address behind each, and its function.
    """

    gap_words: int
    max_words: int = MAX_READ
    never_join: bool = False
    cuts: Cuts = NO_CUTS

    @classmethod
    def of(cls, bus: Bus, cuts: Cuts = NO_CUTS) -> "JoinRules":
        """Return the rules of a bus, with what is known about one device."""
        return cls(bus.gap_words, bus.max_words, bus.never_join, cuts)


def coalesce(
    spans: Iterable[Span], gap_words: int, max_words: int = MAX_READ, cuts: Cuts = NO_CUTS
) -> tuple[Read, ...]:
    """Return the fewest reads of at most ``max_words`` registers that cover all spans.

    A value is never cut in two. Holes of up to ``gap_words`` are read along, but not a hole at the
    end. The order is by function and address; spans may overlap.
    """
    reads: list[Read] = []
    for span in sorted(spans):
        if reads:
            last = reads[-1]
            end = span.address + span.words
            hole = span.address - (last.address + last.words)
            if (
                last.function == span.function
                and hole <= gap_words
                and end - last.address <= max_words
                and (hole < 0 or (span.function, span.address) not in cuts)
            ):
                reads[-1] = last._replace(words=max(last.words, end - last.address))
                continue
        reads.append(Read(*span))
    return tuple(reads)


def border_in(read: Read, spans: Iterable[Span]) -> tuple[int, int] | None:
    """Return where to cut a read that its device refuses: a cut, or None if it is one value.

    The widest hole goes first, because there may be no registers there; else the middle.
    """
    end = read.address + read.words
    borders: list[tuple[int, float, int]] = []
    covered = read.address
    for span in sorted(spans):
        if span.function != read.function or not read.address <= span.address < end:
            continue
        if span.address >= covered and span.address > read.address:
            middle = abs(span.address - (read.address + read.words / 2))
            borders.append((covered - span.address, middle, span.address))
        covered = max(covered, span.address + span.words)
    return (read.function, min(borders)[2]) if borders else None


def node_reads(map: RegisterMap) -> tuple[Read, ...]:
    """Return the read of a node's sample frame: one request, so that it is always one sample."""
    return (Read(READ_INPUT, SAMPLE_ADDRESS, map.words),)


def probe_reads(reads: Sequence[Read], spans: Iterable[Span]) -> tuple[Read, ...]:
    """Return what a device may be asked for to see whether it is there, the best first.

    A device may answer nothing but its own reads, or only what fits its values, so these come
    first; then come whole values of the first kind, and then any number of registers. No two
    answers look alike. That is why there are so many: while the answer to one may still be under
    way, another is asked for.
    """
    own = sorted(reads, key=lambda read: read.words)
    single = [Read(*span) for span in sorted(spans, key=lambda span: span.words)]
    function, address, width = single[0] if single else own[0]._replace(words=1)
    lengths = dict.fromkeys([*range(width, width * PROBE_READS + 1, width), *range(1, PROBE_READS)])
    unit = 8 if function in BIT_FUNCTIONS else 1  # a byte of coils
    more = [Read(function, address, unit * words) for words in lengths]
    alike: dict[tuple[int, int], Read] = {}
    for read in (*own, *single, *more):
        if read.data_bytes <= 2 * MAX_READ and read.address + read.words <= REGISTERS:
            alike.setdefault((read.function, read.data_bytes), read)
    return tuple(alike.values())


def probes_for(request: Request) -> tuple[Request, ...]:
    """Return probes of a unit about which nothing is known but this request."""
    assert request.read is not None
    unit = request.shape.unit
    return tuple(read_request(unit, read) for read in probe_reads((request.read,), ()))


def answer_ms(bus: Bus, words: float) -> float:
    """Return the time that an answer with ``words`` registers is on the line."""
    if bus.is_ascii:
        return (_ASCII_ANSWER_CHARS + 4 * words) * bus.char_ms
    return (_ANSWER_CHARS + 2 * words) * bus.char_ms


def request_ms(bus: Bus) -> float:
    """Return the time that a read request is on the line, and the silence after it."""
    chars = _ASCII_REQUEST_CHARS if bus.is_ascii else _REQUEST_CHARS
    return chars * bus.char_ms + bus.silence_ms


def transaction_ms(bus: Bus, words: float) -> float:
    """Return the time that one read keeps the bus.

    It is made of request, turnaround, answer, and the silence after each of the two frames.
    """
    return request_ms(bus) + bus.turnaround_ms + answer_ms(bus, words) + bus.silence_ms


def poll_ms(bus: Bus, device: Device, reads: Sequence[Read]) -> float:
    """Return the time that one poll keeps the bus, with the pauses that device and bus need."""
    gaps_ms = len(reads) * bus.request_gap_ms
    # Other devices are asked during the last pause of this one.
    gaps_ms += max(0, len(reads) - 1) * max(0, device.request_gap_ms - bus.request_gap_ms)
    connections = {"never": 0, "poll": 1, "request": len(reads)}[bus.close_after]
    own_ms = sum(transaction_ms(bus, (read.data_bytes + 1) // 2) for read in reads)
    return own_ms + gaps_ms + connections * bus.connect_delay_ms


class DevicePlan(Struct, frozen=True):
    """What one device costs: its reads, and the ms they take in one poll."""

    device: Device
    reads: tuple[Read, ...]
    poll_ms: float
    share: float  # of the bus's time, 0 to 1 and beyond


class BusPlan(Struct, frozen=True):
    """One bus: ``cycle_ms`` is the time to poll every device once."""

    bus: Bus
    devices: tuple[DevicePlan, ...]
    warnings: tuple[str, ...]

    @property
    def cycle_ms(self) -> float:
        """Return the time to poll every device of the bus once."""
        return sum(plan.poll_ms for plan in self.devices)

    @property
    def share(self) -> float:
        """Return the share of the bus's time that all devices together need."""
        return sum(plan.share for plan in self.devices)


def plan_bus(
    bus: Bus,
    reads: Sequence[tuple[Read, ...]],
    periods: Sequence[tuple[int, ...]] | None = None,
) -> BusPlan:
    """Return the plan of a bus; ``reads[i]`` belongs to ``bus.device[i]``.

    ``periods``: of each read, in the same form; None: those of the devices.
    """
    if periods is None:
        pairs = zip(bus.device, reads, strict=True)
        periods = [(device.period_ms,) * len(own) for device, own in pairs]
    plans = tuple(
        _device_plan(bus, *parts) for parts in zip(bus.device, reads, periods, strict=True)
    )
    plan = BusPlan(bus, plans, ())
    return BusPlan(bus, plans, tuple(_warnings(plan)))


def _device_plan(
    bus: Bus, device: Device, reads: tuple[Read, ...], periods: tuple[int, ...]
) -> DevicePlan:
    share = 0.0
    for period in sorted(set(periods)):  # a group of points has a period of its own
        group = [read for read, own in zip(reads, periods, strict=True) if own == period]
        share += poll_ms(bus, device, group) / period
    return DevicePlan(device, reads, poll_ms(bus, device, reads), share)


def _warnings(plan: BusPlan) -> Iterable[str]:
    bus = plan.bus
    if not plan.devices:
        return
    shortest = min(plan.devices, key=lambda item: item.device.period_ms)
    period = shortest.device.period_ms
    if plan.share > 1:
        yield (
            f"the polls do not fit: they need {plan.share:.0%} of the bus's time, slots will be "
            "skipped; raise period_ms or baudrate, or split the bus"
        )
    elif plan.share > BUSY:
        yield (
            f"the polls need {plan.share:.0%} of the bus's time; little is left for retries and "
            "for probing silent devices"
        )
    if plan.cycle_ms > period:
        yield (
            f"one round of all devices takes {plan.cycle_ms:.0f} ms, longer than period_ms = "
            f"{period} of {shortest.device.name}: its polls may come late by the difference"
        )
    timeouts = [item.device.timeout_ms or bus.timeout_ms for item in plan.devices]
    if max(timeouts) > period:
        yield (
            f"a device that falls silent holds the bus for timeout_ms = {max(timeouts)}, longer "
            f"than period_ms = {period} of {shortest.device.name}"
        )
    if min(timeouts) <= bus.turnaround_ms:
        yield (
            f"timeout_ms = {min(timeouts)} is not above turnaround_ms = {bus.turnaround_ms}: "
            "answers will count as late"
        )
    for item in plan.devices:
        if item.device.unit not in bus.units:
            what = "the broadcast address" if item.device.unit == 0 else "a reserved address"
            yield (
                f"{item.device.name}: {item.device.unit} is {what}, which few devices answer; it "
                "must be the only device on the line that does"
            )
        if isinstance(item.device, NodeDevice) and item.device.period_ms >= _SAMPLE_MS:
            yield (
                f"{item.device.name}: a node measures every {_SAMPLE_MS} ms unless it is "
                f"configured otherwise; period_ms = {item.device.period_ms} misses samples, half "
                "of the sample period misses none"
            )
