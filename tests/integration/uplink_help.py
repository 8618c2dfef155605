"""A site and a platform around a real broker: outbox and uplink here, collector there."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiomqtt
import msgspec

from gateway_agent.collector.config import CollectorConfig
from gateway_agent.collector.receiver import BatchOutcome
from gateway_agent.collector.service import CollectorService
from gateway_agent.config import MqttUplink
from gateway_agent.counters import Counters
from gateway_agent.keys import generate_signing_key, load_private, load_public, public_path
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.settings import StoreContext, StoreSettings
from gateway_agent.store.writer import OutboxWriter
from gateway_agent.uplink import topics
from gateway_agent.uplink.mqtt import Uplink, UplinkKeys
from tests.unit.gateway_agent.store_help import GATEWAY, StillClock


async def captured(port: int, count: int) -> list[bytes]:
    """Collect the next ``count`` batches that pass through the broker."""
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe(topics.ALL_BATCHES, qos=1)
        found = []
        async for message in client.messages:
            found.append(message.payload)
            if len(found) == count:
                break
        return found


async def publish(port: int, topic: str, payload: bytes, retain: bool = False) -> None:
    """Publish one message as any client could."""
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.publish(topic, payload, qos=1, retain=retain)


class QuickTime:
    """The loop's time, except that a sleep in it takes no real time."""

    def __init__(self) -> None:
        self.skipped = 0.0
        self.sleeps = 0

    def now(self) -> float:
        return asyncio.get_running_loop().time() + self.skipped

    async def sleep(self, seconds: float) -> None:
        self.skipped += seconds
        self.sleeps += 1
        await asyncio.sleep(0)


class Site:
    """Keys and configuration of one gateway and one collector, below ``root``."""

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        self.port = port
        self.counters = Counters()
        self.clock = StillClock()
        self.outcomes: list[BatchOutcome] = []
        self.gateway_key = root / "gateway.pem"
        self.collector_key = root / "collector.pem"
        self.database = root / "collector.db"
        if not self.gateway_key.exists():
            generate_signing_key(self.gateway_key)
            generate_signing_key(self.collector_key)

    def disk_image(self) -> dict[str, bytes]:
        """The files of the gateway's outbox, as a backup of its disk would have them."""
        state = self.root / "state"
        return {path.name: path.read_bytes() for path in state.iterdir() if path.is_file()}

    def restore_disk(self, image: dict[str, bytes]) -> None:
        """Replace the files of the outbox by those of an image."""
        state = self.root / "state"
        for path in state.iterdir():
            path.unlink()
        for name, data in image.items():
            (state / name).write_bytes(data)

    def uplink_config(self, **changes: object) -> MqttUplink:
        """Quick enough for tests; ``changes`` are keys of ``[uplink]``."""
        fields: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self.port,
            "collector_key": public_path(self.collector_key),
            "batch_records": 10,
            "batch_interval_ms": 20,
            "retry_ms": 1000,
        }
        return MqttUplink(**(fields | changes))  # type: ignore[arg-type] # as the struct has them

    @asynccontextmanager
    async def outbox(self, gateway: str = GATEWAY) -> AsyncIterator[OutboxWriter]:
        """The gateway's outbox."""
        settings = StoreSettings(self.root / "state", gateway)
        writer = OutboxWriter(Outbox.open(StoreContext(settings, self.clock, self.counters)))
        writer.start()
        try:
            yield writer
        finally:
            await writer.close()

    @asynccontextmanager
    async def uplink(
        self, outbox: OutboxWriter, time: QuickTime | None = None, **changes: object
    ) -> AsyncIterator[Uplink]:
        """The gateway's uplink, running; in a time of its own if there is one."""
        config = self.uplink_config(**changes)
        key = None if config.receipt == "puback" else load_public(public_path(self.collector_key))
        keys = UplinkKeys(load_private(self.gateway_key), key)
        now, sleep = (None, asyncio.sleep) if time is None else (time.now, time.sleep)
        uplink = Uplink(config, GATEWAY, keys, outbox, self.counters, now, sleep)
        async with running(uplink.run()):
            yield uplink

    def collector_config(self, **broker: object) -> CollectorConfig:
        """The platform's side."""
        return msgspec.convert(
            {
                "collector": {"key": self.collector_key, "database": self.database},
                "broker": {"host": "127.0.0.1", "port": self.port, **broker},
                "gateway": [{"id": GATEWAY, "keys": [str(public_path(self.gateway_key))]}],
            },
            CollectorConfig,
            dec_hook=lambda kind, value: kind(value),
        )

    @asynccontextmanager
    async def collector(self, **broker: object) -> AsyncIterator[CollectorService]:
        """The collector, running and subscribed."""
        service = CollectorService(self.collector_config(**broker), self.outcomes.append)
        async with running(service.run()):
            await asyncio.wait_for(service.connected.wait(), 60)
            yield service

    def verdicts(self) -> list[str]:
        """Of every message so far."""
        return [outcome.verdict for outcome in self.outcomes]

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """What the collector's database holds."""
        connection = sqlite3.connect(self.database)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def stored(self) -> list[int]:
        """The first value of every stored record, sorted; see ``store_help.records``."""
        rows = self.rows(
            "SELECT value FROM readings JOIN points ON points.id = point_id WHERE name = 'p0'"
        )
        return sorted(round(10 * float(str(value))) for (value,) in rows)


@asynccontextmanager
async def running(work: "object") -> AsyncIterator[None]:
    """Run a coroutine beside the block; an error in it ends the block."""
    assert asyncio.iscoroutine(work)
    task = asyncio.create_task(work)
    owner = asyncio.current_task()
    assert owner is not None

    def ended(done: "asyncio.Task[object]") -> None:
        if not done.cancelled() and done.exception() is not None:
            owner.cancel()

    task.add_done_callback(ended)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
