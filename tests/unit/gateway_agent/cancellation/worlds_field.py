"""The tasks on the field side that are swept, and the store that they put their records into."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from gateway_agent.cli import profile as profile_command
from gateway_agent.config import (
    AsciiBus,
    AsciiOverTcpBus,
    Bus,
    Device,
    ProfileDevice,
    RtuOverTcpBus,
    SerialBus,
    TcpBus,
)
from gateway_agent.config_bus import CloseAfter
from gateway_agent.counters import Counters
from gateway_agent.field.bus_errors import BusDownError
from gateway_agent.field.discovery import scan
from gateway_agent.field.field import Field
from gateway_agent.field.profile import load_profile
from gateway_agent.store.mark import Mark
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.settings import StoreContext, StoreSettings
from gateway_agent.store.writer import OutboxWriter
from protocols.uplink import Record
from tests.unit.gateway_agent import test_poller
from tests.unit.gateway_agent.field_help import config_of
from tests.unit.gateway_agent.store_help import GATEWAY, StillClock, contents, open_box, records
from tests.unit.gateway_agent.test_agent import PROFILE

from .peers import ANSWERS, Line, LoopClock, TcpDevice
from .worlds import Actor

BUSES = (
    "tcp",
    "rtu",
    "ascii",
    "rtu-over-tcp",
    "ascii-over-tcp",
    "tcp-slow",
    "tcp-poll",
    "tcp-request",
    "node-over-tcp",
)
CLOSE_AFTER: dict[str, CloseAfter] = {"tcp-poll": "poll", "tcp-request": "request"}


class Acknowledged(OutboxWriter):
    """An outbox that notes what it has acknowledged."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(outbox)
        self.acknowledged: list[bytes] = []

    async def put(self, records: Sequence[Record], marks: Mapping[str, Mark]) -> None:
        await super().put(records, marks)
        self.acknowledged += [record.data for record in records]


def open_writer(folder: Path) -> Acknowledged:
    """An outbox in ``folder``, with its thread."""
    context = StoreContext(StoreSettings(folder, GATEWAY), StillClock(), Counters())
    writer = Acknowledged(Outbox.open(context))
    writer.start()
    return writer


def kept(folder: Path) -> list[bytes]:
    """What the next process finds."""
    box = open_box(folder)
    found = contents(box, 500)
    box.close()
    return found


def _node() -> Callable[[bytes], bytes]:
    """A node that has measured once more at each request, and has an event at some."""
    node = test_poller.Line()

    def answer(request: bytes) -> bytes:
        node.seq += 1
        node.events = min(node.seq // 3, 4)
        ((_, reply),) = node(request)
        return reply

    return answer


async def bus_of(
    kind: str, folder: Path, devices: tuple[Device, ...]
) -> tuple[Bus, "TcpDevice | Line"]:
    """A bus of each kind with its slaves."""
    form = kind.partition("-")[0]
    if kind in ("rtu", "ascii"):
        line = Line(folder, form)
        serial = AsciiBus if kind == "ascii" else SerialBus
        # A pty has no parity.
        made = serial(
            name="b", port=str(line.path), timeout_ms=50, parity="N", data_bits=8, device=devices
        )
        return made, line
    answer = _node() if form == "node" else ANSWERS[form]
    slave = await TcpDevice(answer).start()
    net: type[TcpBus | RtuOverTcpBus] = TcpBus
    if kind.endswith("over-tcp"):
        net = AsciiOverTcpBus if form == "ascii" else RtuOverTcpBus
    return net(
        name="b",
        host="127.0.0.1",
        port=slave.port,
        timeout_ms=50,
        device=devices,
        connect_delay_ms=100 if kind == "tcp-slow" else 0,
        request_gap_ms=30 if kind == "tcp-slow" else 0,
        close_after=CLOSE_AFTER.get(kind, "never"),
    ), slave


def devices_in(folder: Path, kind: str) -> tuple[Device, ...]:
    """One that answers and one that does not; a node, where that is the kind of the bus."""
    if kind == "node-over-tcp":
        (node,) = test_poller.config_of(folder, folder / "none", "node").bus[0].device
        return (msgspec.structs.replace(node, period_ms=200),)
    (folder / "probe.toml").write_text(PROFILE)
    profile = str(folder / "probe.toml")
    return tuple(
        ProfileDevice(name=f"d{unit}", unit=unit, profile=profile, period_ms=200) for unit in (1, 2)
    )


@asynccontextmanager
async def field(folder: Path, kind: str) -> AsyncIterator[Actor]:
    """The pollers of one bus, their commit queue and the store."""
    bus, slave = await bus_of(kind, folder, devices_in(folder, kind))
    writer = open_writer(folder / "state")
    counters = Counters()
    polling = Field(config_of(folder, bus), LoopClock(), writer, {}, counters)
    actor = Actor(polling.run, slave)

    async def watch() -> None:
        while slave.served < 6:
            await asyncio.sleep(0.05)
        actor.finish()

    watching = asyncio.create_task(watch())

    def check() -> None:
        assert polling.slots_unaccounted() == 0
        assert polling.samples_unaccounted() == 0
        assert writer.stats.last >= len(writer.acknowledged)

    actor.checks.append(check)
    try:
        yield actor
    finally:
        watching.cancel()
        slave.close()
        await writer.close()
    found = kept(folder / "state")
    assert found[: len(writer.acknowledged)] == writer.acknowledged
    assert len(found) == writer.stats.last


@asynccontextmanager
async def discovery(folder: Path, kind: str) -> AsyncIterator[Actor]:
    """The search for devices at three addresses, again and again."""
    bus, slave = await bus_of(kind, folder, ())

    async def search() -> None:
        while True:
            try:
                async for found in scan(bus, range(1, 4), Counters()):
                    if found.unit == 3:
                        actor.finish()
            except BusDownError:
                await asyncio.sleep(0.1)

    actor = Actor(search, slave)
    try:
        yield actor
    finally:
        slave.close()


@asynccontextmanager
async def trial(folder: Path) -> AsyncIterator[Actor]:
    """What ``profile try`` does, again and again."""
    bus, slave = await bus_of("tcp", folder, ())
    (folder / "probe.toml").write_text(PROFILE)
    profile = load_profile(str(folder / "probe.toml"))

    async def read() -> None:
        while True:
            with contextlib.suppress(BusDownError):
                await profile_command._try(profile, bus, 1)
                actor.finish()
            await asyncio.sleep(0.1)

    actor = Actor(read, slave)
    try:
        yield actor
    finally:
        slave.close()


@asynccontextmanager
async def store(folder: Path) -> AsyncIterator[Actor]:
    """A task that owns the outbox and uses all of it."""
    made: list[Acknowledged] = []
    released: list[int] = []

    async def use() -> None:
        writer = open_writer(folder / "state")
        made.append(writer)
        try:
            for number in range(1, 8):
                await writer.put(records(number, 1), {})
            piece = await writer.slice(0, 2, 1 << 20)
            assert piece is not None
            released.append(piece.last)
            await writer.release(piece.stream, piece.last, piece.head)
            await writer.new_stream("operator", "a test")
            await writer.put(records(8, 1), {})
            actor.finish()
            await writer.watch()
        finally:
            await writer.close()

    def check() -> None:
        assert set(made[0].acknowledged[sum(released) :]) <= set(kept(folder / "state"))

    actor = Actor(use)
    actor.checks.append(check)
    yield actor
