"""What every reader of a device shares: it asks the master and turns the answers into records."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from gateway_agent.clock import GatewayClock
from gateway_agent.config import Bus, Device
from gateway_agent.status import PointValue
from gateway_agent.store.mark import Mark
from protocols.modbus_client import Read, Request, read_request
from protocols.uplink import Record, Stamp

from .bus_errors import BusDownError, BusError, RefusedError
from .devices import OpenDevice
from .master import Master
from .planner import Span, probe_reads
from .slot_account import SlotAccount


class Polled(Struct):
    """Outcome of one poll."""

    records: list[Record]
    silent: bool = False  # the device gave no answer of any kind
    failure: BusError | None = None  # why there is no data, where the bus shows it


class Reader(Protocol):
    """What the poller and the status need of a device."""

    device: Device
    opened: OpenDevice
    device_id: str
    probes: tuple[Request, ...]  # see Master.probe
    polls: int  # since the start
    errors: int  # reads that failed, since the start
    slots: SlotAccount
    mark: Mark | None  # how far a node was read; None before its first sample, and of no node

    @property
    def unaccounted(self) -> int:
        """Return how many samples of a node, by their numbers, are in no record and in no gap."""

    @property
    def auth(self) -> str:
        """Return the result of the newest frame's tag check; ``none`` for third-party devices."""

    @property
    def problem(self) -> str:
        """Return why the newest poll failed; empty if it did not."""

    @property
    def last_ms(self) -> int | None:
        """Return CLOCK_BOOTTIME in ms of the newest good answer; None before the first."""

    async def poll(self, master: Master) -> Polled:
        """Read everything once, for the slot that was begun.

        A fault of a device or a line is no exception: it is in ``slots``.
        """

    def failed(self, cause: str, detail: str) -> None:
        """Note why the slot that was begun, or a probe, brought nothing."""

    def notices(self, at_once: bool = False) -> list[Record]:
        """Return gaps for the missed slots that must be named now; all of them if ``at_once``."""

    def values(self) -> list[PointValue]:
        """Return the values of the newest good answer."""


def stamp(clock: GatewayClock, req_ms: int) -> Stamp:
    """Return the times of a request made at ``req_ms`` and answered now."""
    wall_ms, unc_ms, state = clock.wall()
    return Stamp(req_ms, clock.boot_ms(), wall_ms, unc_ms, state)


def is_silence(error: BusError) -> bool:
    """Return whether the device did not answer; a port that is down does not show that."""
    if isinstance(error, RefusedError):
        return error.is_silence
    return not isinstance(error, BusDownError)


async def read_again(master: Master, request: Request, probes: tuple[Request, ...]) -> bytes:
    """Read, and read once more at once if the answer is damaged, because noise is short."""
    try:
        return await master.read(request, probes)
    except BusError as error:
        if error.cause != "crc":
            raise
    return await master.read(request, probes)


def request_for(device: Device, read: Read) -> Request:
    """Return the request that reads registers of a device."""
    return read_request(device.unit, read, device.answer_unit)


def probes_of(
    bus: Bus, device: Device, reads: Sequence[Read], spans: Iterable[Span]
) -> tuple[Request, ...]:
    """Return the probes of a device (:meth:`.master.Master.probe`).

    Where answers have a transaction id, its own reads are enough.
    """
    own = tuple(reads) if bus.has_ids else probe_reads(reads, spans)
    return tuple(request_for(device, read) for read in own)
