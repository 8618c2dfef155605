"""What tests of exporters share: an outbox with records, a context, and a running export task."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.commands.command import RunCommand, no_commands
from gateway_agent.counters import Counters
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.settings import StoreContext, StoreSettings
from gateway_agent.store.writer import OutboxWriter
from gateway_agent.uplink.export_task import Exporters
from gateway_agent.uplink.exporter_config import ExporterConfig
from gateway_agent.uplink.feed import ExportContext, NoteAction, note_nothing
from protocols.export_record import DeviceInfo
from protocols.uplink import Gap, ProfileTemplate, Record, Stamp, gap_record
from tests.unit.gateway_agent.store_help import GATEWAY, WALL_MS, StillClock

DEVICE = DeviceInfo(f"{GATEWAY}.hall", "hall", "roof", "senseair-s8", 4000)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
POINTS = [("co2", "ppm", 0), ("temperature", "Cel", -1)]


def sample(number: int, wall_ms: int | None = WALL_MS, failed: bool = False) -> Record:
    """A poll ``number`` seconds after WALL_MS: co2 is the number, temperature a tenth of it."""
    wall = None if wall_ms is None else wall_ms + 1000 * number
    state = 0 if wall is None else 3
    template = ProfileTemplate(DEVICE.id, POINTS)
    values: list[int | str] = [number, "no-value" if failed else number]
    return template.record(values, Stamp(number, number + 1, wall, 5 if state else 0, state))


def hole(number: int) -> Record:
    """A gap of the device."""
    stamp = Stamp(number, number + 1, WALL_MS + 1000 * number, 5, 3)
    return gap_record(DEVICE.id, Gap("bus_timeout", None, None, None, "silent"), stamp)


def context(
    root: Path,
    clock: StillClock | None = None,
    note: NoteAction = note_nothing,
    command: RunCommand = no_commands,
    devices: Sequence[DeviceInfo] = (DEVICE,),
) -> ExportContext:
    """The gateway as exporters know it."""
    by_id = {device.id: device for device in devices}
    return ExportContext(GATEWAY, clock or StillClock(), root, by_id, KEY, note, command)


@asynccontextmanager
async def writer(root: Path, clock: StillClock | None = None) -> AsyncIterator[OutboxWriter]:
    """The gateway's outbox."""
    settings = StoreSettings(root, GATEWAY)
    outbox = OutboxWriter(Outbox.open(StoreContext(settings, clock or StillClock(), Counters())))
    outbox.start()
    try:
        yield outbox
    finally:
        await outbox.close()


@asynccontextmanager
async def exporting(
    outbox: OutboxWriter,
    root: Path,
    *configs: ExporterConfig,
    clock: StillClock | None = None,
    note: NoteAction = note_nothing,
    command: RunCommand = no_commands,
    devices: Sequence[DeviceInfo] = (DEVICE,),
) -> AsyncIterator[Exporters]:
    """The exporters, running; they wait little between attempts."""
    of = context(root, clock, note, command, devices)
    exporters = Exporters(configs, of, 1 << 30, lambda _: asyncio.sleep(0.02))
    task = asyncio.create_task(exporters.run(outbox))
    try:
        yield exporters
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(check: Callable[[], object], seconds: float = 20) -> None:
    """Wait for ``check`` to be true."""
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.01)
