"""How old an alarm is when it leaves: from the moment a device has the value, on a loaded line.

Eight devices on a line of 9,600 baud, asked more often than is possible. :func:`virtual_ages` has
the gateway's field and alarms in simulated time; :func:`real_ages` the agent as its users run it,
a broker, and somebody who is subscribed to announcements and batches.
"""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from unittest import mock

import aiomqtt

from gateway_agent.alarms import watch
from gateway_agent.alarms.desk import AlarmDesk
from gateway_agent.alarms.rules import Above, AlarmRule
from gateway_agent.alarms.socket import AlarmOrder
from gateway_agent.alarms.state import AlarmChange
from gateway_agent.config import ProfileDevice, SerialBus
from gateway_agent.counters import Counters
from gateway_agent.field import line_silence, serial_line
from gateway_agent.field.field import Field
from gateway_agent.keys import generate_signing_key
from gateway_agent.uplink import topics
from hil.site.toml import dump_toml
from protocols.uplink import open_batch
from protocols.wire.modbus.timing import t35_us
from tests.unit.gateway_agent.field_help import config_of
from tests.unit.gateway_agent.line_time import BITS, SimulatedLine, SimulatedLoop, SimulatedTimer
from tests.unit.gateway_agent.slave import PtySlave, Reply, raw_answer, registers

from .gateway import command, profile_of
from .line_alone import LoopTime, NoStore

DEVICES: Final = 8
BAUDRATE: Final = 9600
REGISTERS: Final = 40  # about what a node's sample has
TURNAROUND_S: Final = 0.005
_PERIOD_MS: Final = 500  # a cycle takes longer
_HIGH: Final = 1000
_LIMIT: Final = 50.0
_REQUEST: Final = 8
_ANSWER: Final = 5 + 2 * REGISTERS
_SEED: Final = 20261128
_DEADLINE_S: Final = 30.0

WIRE_S: Final = (_REQUEST + _ANSWER) * BITS / BAUDRATE + TURNAROUND_S
CYCLE_S: Final = DEVICES * (WIRE_S + t35_us(BAUDRATE, BITS) / 1e6)
#: The bound of the documentation.
LIMIT_S: Final = 2 * CYCLE_S + 0.1


class _EmptyOutbox:
    depth = file_bytes = 0
    max_bytes = 1


def _content(is_high: bool, count: int) -> bytes:
    return (_HIGH if is_high else 0).to_bytes(2, "big") * count


@dataclass
class Ages:
    """Seconds from the value in a device to the announcement, and to its record's batch."""

    announced: list[float] = field(default_factory=list)
    recorded: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)  # since the last byte of the answer with it


def p99(ages: list[float]) -> float:
    """Return the age that 99 of 100 do not exceed."""
    return sorted(ages)[-(-99 * len(ages) // 100) - 1]


def _devices(profile: Path) -> tuple[ProfileDevice, ...]:
    return tuple(
        ProfileDevice(name=f"d{unit}", unit=unit, profile=str(profile), period_ms=_PERIOD_MS)
        for unit in range(1, DEVICES + 1)
    )


def virtual_ages(folder: Path, trials: int) -> Ages:
    """Return what the gateway's own part takes, with the line in simulated time."""
    loop, high, ages = SimulatedLoop(), set[int](), Ages()
    answered: dict[int, float] = {}  # when the newest answer of a unit has passed

    class Line(SimulatedLine):
        def content(self, unit: int, count: int) -> bytes:
            answered[unit] = loop.now + WIRE_S
            return _content(unit in high, count)

    def open_line(_: SerialBus, link: asyncio.Protocol) -> SimulatedLine:
        return Line(link, BAUDRATE, TURNAROUND_S, ())

    async def run() -> None:
        profile = folder / "bench.toml"
        profile.write_text(profile_of(REGISTERS))
        bus = SerialBus(name="b", port="simulated", baudrate=BAUDRATE, device=_devices(profile))
        rules = tuple(
            Above(name=f"a{unit}", device=f"d{unit}", point="p0", limit=_LIMIT)
            for unit in range(1, DEVICES + 1)
        )
        config = config_of(folder, bus)
        config = type(config)(
            gateway=config.gateway, uplink=config.uplink, bus=config.bus, alarm=rules
        )
        clock = LoopTime(loop)
        watched = Field(config, clock, NoStore(), {}, Counters())
        committed = asyncio.Event()
        desk = AlarmDesk(config, clock, watched, _EmptyOutbox, committed.set)
        changes: asyncio.Queue[tuple[str, str, float]] = asyncio.Queue()

        def changed(rule: AlarmRule, change: AlarmChange) -> None:
            changes.put_nowait((rule.name, change.after.value, loop.now))

        desk.listeners.append(changed)
        tasks = [asyncio.ensure_future(watched.run()), asyncio.ensure_future(desk.run())]
        draw = random.Random(_SEED)
        await asyncio.sleep(3 * CYCLE_S)
        for _ in range(trials):
            await asyncio.sleep(draw.uniform(0, CYCLE_S))
            unit = draw.randrange(1, DEVICES + 1)
            committed.clear()
            begin = loop.now
            high.add(unit)
            name, state, at = await changes.get()
            assert (name, state) == (f"a{unit}", "unacknowledged")
            ages.announced.append(at - begin)
            ages.own.append(at - answered[unit])
            await committed.wait()
            ages.recorded.append(loop.now - begin)
            high.discard(unit)
            await changes.get()
            desk.obey(AlarmOrder("acknowledge", "", "bench"))
            await changes.get()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    with (
        mock.patch.object(serial_line, "SerialLine", open_line),
        mock.patch.object(line_silence, "FineTimer", SimulatedTimer),
        mock.patch.object(watch, "log"),
        contextlib.closing(loop),
    ):
        loop.run_until_complete(run())
    return ages


class _Seen:
    """What a subscriber of the gateway has got: when, and what."""

    def __init__(self) -> None:
        self.announced: asyncio.Queue[tuple[str, float]] = asyncio.Queue()  # states
        self.recorded: asyncio.Queue[tuple[str, float]] = asyncio.Queue()  # actions

    async def run(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            now, payload = time.monotonic(), bytes(message.payload or b"")
            if str(message.topic) == topics.alarm_change_topic("bench"):
                self.announced.put_nowait((json.loads(payload)["state"], now))
                continue
            for record in open_batch(payload, None).decode():
                if record.action is not None:
                    self.recorded.put_nowait((record.action.name, now))


async def _next(queue: "asyncio.Queue[tuple[str, float]]", wanted: str) -> float:
    async with asyncio.timeout(_DEADLINE_S):
        while True:
            what, at = await queue.get()
            if what == wanted:
                return at


def _write_site(folder: Path, port: Path, mqtt_port: int) -> Path:
    (folder / "bench.toml").write_text(profile_of(REGISTERS))
    generate_signing_key(folder / "gateway.pem")
    device = {"kind": "profile", "profile": "bench.toml", "period_ms": _PERIOD_MS}
    units = range(1, DEVICES + 1)
    config = {
        "gateway": {"id": "bench", "state_dir": "state", "key": "gateway.pem"},
        "uplink": {"host": "127.0.0.1", "port": mqtt_port, "receipt": "puback"},
        "bus": [
            {
                "name": "line",
                "type": "rtu",
                "port": str(port),
                "baudrate": BAUDRATE,
                "turnaround_ms": round(TURNAROUND_S * 1000),
                "device": [{"name": f"d{unit}", "unit": unit, **device} for unit in units],
            }
        ],
        "alarm": [
            {"name": f"a{unit}", "when": "above", "device": f"d{unit}", "point": "p0",
             "limit": _LIMIT} for unit in units
        ],
        "notify": [{"name": "bench", "type": "mqtt"}],
    }  # fmt: skip
    path = folder / "gateway.toml"
    path.write_text(dump_toml(config))
    return path


@contextlib.asynccontextmanager
async def _agent(path: Path) -> AsyncIterator[None]:
    with (path.parent / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(command()), "run", "--config", str(path), stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def _real_ages(folder: Path, mqtt_port: int, trials: int) -> Ages:
    high, ages, draw = set[int](), Ages(), random.Random(_SEED)

    def reply(request: bytes) -> Iterator[Reply]:
        unit, function, _, count = registers(request)
        yield WIRE_S, raw_answer(unit, _content(unit in high, count), function)

    slave, seen = PtySlave(folder, reply), _Seen()
    path = _write_site(folder, slave.path, mqtt_port)
    async with aiomqtt.Client("127.0.0.1", mqtt_port) as client:
        await client.subscribe(topics.alarm_change_topic("bench"), qos=1)
        await client.subscribe(topics.ALL_BATCHES, qos=1)
        listening = asyncio.create_task(seen.run(client))
        async with _agent(path):
            high.add(1)
            await _next(seen.announced, "unacknowledged")  # it works
            await _next(seen.recorded, "alarm-active")
            high.discard(1)
            await _next(seen.announced, "returned")
            for trial in range(trials):
                await asyncio.sleep(draw.uniform(0, CYCLE_S))
                unit = 2 + trial % (DEVICES - 1)
                begin = time.monotonic()
                high.add(unit)
                ages.announced.append(await _next(seen.announced, "unacknowledged") - begin)
                ages.recorded.append(await _next(seen.recorded, "alarm-active") - begin)
                high.discard(unit)
                await _next(seen.announced, "returned")
        listening.cancel()
        await asyncio.wait({listening})
    slave.close()
    return ages


def real_ages(folder: Path, mqtt_port: int, trials: int) -> Ages:
    """Return what passes until a subscriber of the broker has announcement and record."""
    return asyncio.run(_real_ages(folder, mqtt_port, trials))
