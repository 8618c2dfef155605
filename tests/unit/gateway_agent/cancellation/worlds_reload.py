"""A field whose buses and devices change again and again while it is polled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from gateway_agent.config import Bus, GatewayConfig, ProfileDevice, TcpBus
from gateway_agent.counters import Counters
from gateway_agent.field.devices import open_all
from gateway_agent.field.field import Field
from tests.unit.gateway_agent.field_help import config_of
from tests.unit.gateway_agent.test_agent import PROFILE

from .peers import LoopClock, TcpDevice
from .worlds import Actor
from .worlds_field import kept, open_writer

PERIOD_MS = 200
PAUSE_S = 1.03  # between two changes: they come at any place of a period


class ChangingField:
    """Two buses; ``steady`` is never changed, the other one all the time."""

    def __init__(self, folder: Path, steady: TcpDevice, other: TcpDevice, field: Field) -> None:
        self.folder, self.steady, self.other, self.field = folder, steady, other, field
        self.changes = 0

    async def run(self, actor: Actor) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.field.run())
            group.create_task(self._change(actor))

    async def _change(self, actor: Actor) -> None:
        steady, other = buses_of(self.folder, self.steady.port, self.other.port)
        more = msgspec.structs.replace(other, device=(*other.device, device(self.folder, 3)))
        line = msgspec.structs.replace(more, timeout_ms=70)
        for buses in ((steady, more), (steady, line), (steady,), (other, steady)):
            await asyncio.sleep(PAUSE_S)
            await self.field.change(self._config(*buses), open_all(buses))
            self.changes += 1
        await asyncio.sleep(PAUSE_S)
        actor.finish()
        await asyncio.Event().wait()

    def _config(self, *buses: Bus) -> GatewayConfig:
        return config_of(self.folder, *buses)

    def steady_slots(self) -> tuple[int, int]:
        """How many slots of the steady device were answered, how many missed."""
        (found,) = (bus.readers[0].slots for bus in self.field.buses if bus.bus.name == "steady")
        return found.answered, found.missed


def device(folder: Path, unit: int) -> ProfileDevice:
    """A device of the profile that answers."""
    profile = str(folder / "probe.toml")
    return ProfileDevice(name=f"d{unit}", unit=unit, profile=profile, period_ms=PERIOD_MS)


def buses_of(folder: Path, steady: int, other: int) -> tuple[TcpBus, TcpBus]:
    """The buses at the start."""
    made = [
        TcpBus(
            name=name, host="127.0.0.1", port=port, timeout_ms=50, device=(device(folder, unit),)
        )
        for name, port, unit in (("steady", steady, 1), ("other", other, 4))
    ]
    return made[0], made[1]


@asynccontextmanager
async def changing(folder: Path, worlds: list[ChangingField] | None = None) -> AsyncIterator[Actor]:
    """The field until it was changed four times; what is made is added to ``worlds``."""
    (folder / "probe.toml").write_text(PROFILE)
    devices = [await TcpDevice().start() for _ in range(2)]
    writer = open_writer(folder / "state")
    buses = buses_of(folder, devices[0].port, devices[1].port)
    field = Field(config_of(folder, *buses), LoopClock(), writer, {}, Counters())
    made = ChangingField(folder, devices[0], devices[1], field)
    actor = Actor(lambda: made.run(actor), *devices)

    def check() -> None:
        assert field.slots_unaccounted() == 0
        assert field.samples_unaccounted() == 0
        assert writer.stats.last >= len(writer.acknowledged)

    actor.checks.append(check)
    if worlds is not None:
        worlds.append(made)
    try:
        yield actor
    finally:
        for each in devices:
            each.close()
        await writer.close()
    found = kept(folder / "state")
    assert found[: len(writer.acknowledged)] == writer.acknowledged
    assert len(found) == writer.stats.last
