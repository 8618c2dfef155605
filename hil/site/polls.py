"""Read nodes as a master does, and accept only what the node's own tag proves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from pymodbus.client import ModbusSerialClient

from gateway_agent.config import SerialBus
from gateway_agent.counters import Counters
from gateway_agent.field.bus_errors import BusError
from gateway_agent.field.master import Master
from hil.engines.base import NodeSpec
from protocols.modbus_client import Read, Request, read_request
from protocols.wire.errors import PeerError
from protocols.wire.hmac import HmacSha256
from protocols.wire.modbus.pdu import READ_INPUT
from protocols.wire.registers import SAMPLE_ADDRESS, map_of_role
from protocols.wire.sample import Sample, decode, verify

BAUD: Final = 9600


def make_master(
    port: str, *, baud: int = BAUD, timeout_ms: int = 250, quiet_ms: int = 20
) -> Master:
    """Return the gateway's own master on a serial port, with counters at 0."""
    bus = SerialBus(
        name="bench",
        port=port,
        baudrate=baud,
        timeout_ms=timeout_ms,
        quiet_ms=quiet_ms,
        device=(),
    )
    return Master(bus, Counters())


@dataclass(slots=True)
class Target:
    """What a reader needs of one node: address, map, key and unique id."""

    name: str
    unit: int
    role: str
    uid: bytes
    mac: HmacSha256 | None
    request: Request

    @classmethod
    def of(cls, spec: NodeSpec) -> Target:
        """Return the target for a node that was provisioned with ``spec``."""
        unit = int(spec.settings.get("unit_id", 1))
        words = map_of_role(spec.role).words
        key = None if spec.key is None else HmacSha256(bytes.fromhex(spec.key))
        request = read_request(unit, Read(READ_INPUT, SAMPLE_ADDRESS, words))
        return cls(spec.name, unit, spec.role, bytes.fromhex(spec.uid), key, request)


@dataclass(slots=True)
class PollCounts:
    """How many polls ended in which way. ``polls`` is always ``accepted`` plus ``errors``.

    ``accepted`` are the answers the master took, ``proved`` those of them whose tag is the node's;
    ``wrong`` lists the difference: values that a master would take and that no node has sent.
    """

    polls: int = 0
    accepted: int = 0
    proved: int = 0
    wrong: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    last: dict[str, Sample] = field(default_factory=dict)

    def failed(self) -> int:
        """Return the number of polls without an answer."""
        return self.errors.total()


async def poll(master: Master, target: Target, counts: PollCounts) -> Sample | None:
    """Read one sample and count the outcome. None: no answer, or a wrong one."""
    counts.polls += 1
    try:
        frame = await master.read(target.request)
    except BusError as error:
        counts.errors[error.cause] += 1
        return None
    counts.accepted += 1
    try:
        if target.mac is not None:
            verify(frame, target.mac, target.uid)
        sample = decode(frame)
        if sample.map.role != target.role:
            raise ValueError(f"map of role {sample.map.role}, expected {target.role}")
    except (PeerError, ValueError) as error:
        counts.wrong.append(f"{target.name}: {error}: {frame.hex()}")
        return None
    counts.proved += 1
    counts.last[target.name] = sample
    return sample


async def poll_many(
    master: Master,
    targets: Iterable[Target],
    count: int,
    each: Callable[[PollCounts], None] | None = None,
) -> PollCounts:
    """Poll the targets in turn, ``count`` times; call ``each`` after every poll."""
    counts = PollCounts()
    around = list(targets)
    for number in range(count):
        await poll(master, around[number % len(around)], counts)
        if each is not None:
            each(counts)
    return counts


def damaged_frames(port: str, baud: int, targets: Iterable[Target]) -> Counter[str]:
    """Return how many damaged frames each node has received since it came up, by its own counter.

    Reads it with function 08, sub-function 0C. Nothing else may use the port meanwhile. OSError: a
    node does not answer that.
    """
    damaged: Counter[str] = Counter()
    client = ModbusSerialClient(port, baudrate=baud, timeout=5, retries=3)
    try:
        if not client.connect():
            raise OSError(f"{port}: cannot be opened")
        for target in targets:
            answer = client.diag_read_bus_comm_error_count(device_id=target.unit)
            count = getattr(answer, "message", None)
            if answer.isError() or not isinstance(count, int):
                raise OSError(f"{target.name}: expected its count of damaged frames, got {answer}")
            damaged[target.name] = count
    finally:
        client.close()  # type: ignore[no-untyped-call]  # pymodbus
    return damaged
