"""A task that is cancelled ends, also when a library loses the cancellation."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import aiomqtt
import msgspec
import pytest

from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.clock import SystemClock
from gateway_agent.collector import service
from gateway_agent.collector.config import CollectorConfig
from gateway_agent.config import MqttUplink, TcpBus
from gateway_agent.counters import Counters
from gateway_agent.field.commit_queue import CommitQueue
from gateway_agent.field.heartbeat import Heartbeat
from gateway_agent.field.poller import BusPoller
from gateway_agent.field.reader import Polled
from gateway_agent.field.slot_account import SlotAccount
from gateway_agent.keys import generate_signing_key, load_private, load_public, public_path
from gateway_agent.store.mark import Mark
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.settings import StoreContext, StoreSettings
from gateway_agent.store.writer import OutboxWriter
from gateway_agent.uplink import mqtt
from gateway_agent.uplink.broker_reasons import Ending
from gateway_agent.uplink.connection import BrokerLimits, unexplained
from protocols.uplink import Record

from .store_help import GATEWAY, StillClock, records

LIMIT_S = 10.0


class LossyLibrary:
    """Stands for a library: at one place a cancellation is lost, or becomes an error."""

    def __init__(self, place: str, error: Exception | None) -> None:
        self.place = place
        self.error = error
        self.reached = asyncio.Event()

    async def at(self, place: str) -> None:
        """Wait for ever at the chosen place; a cancellation ends the wait and is not raised."""
        if place != self.place or self.reached.is_set():
            return
        self.reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self.error is not None:
                raise self.error from None


class LossyClient(LossyLibrary):
    """A client of a broker that never sends anything."""

    limits = BrokerLimits()

    def ending(self, error: Exception) -> Ending:
        return unexplained(error)

    async def __aenter__(self) -> Self:
        await self.at("enter")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.at("exit")

    async def subscribe(self, _topic: str, qos: int) -> None:
        assert qos == 1
        await self.at("subscribe")

    async def listen(self, topic: str) -> None:
        await self.subscribe(topic, qos=1)

    def room(self, _topic: str) -> int:
        return 1 << 28

    def post(self, _topic: str, _payload: bytes) -> "asyncio.Future[object]":
        return asyncio.get_running_loop().create_future()

    def taken(self, message: SimpleNamespace) -> None:
        assert message.topic == "unknown"

    @property
    async def messages(self) -> AsyncIterator[SimpleNamespace]:
        await self.at("messages")
        while True:
            await asyncio.sleep(0.001)
            yield SimpleNamespace(topic="unknown", payload=b"")


async def ends(work: Coroutine[object, object, object], library: LossyLibrary) -> None:
    """Cancel ``work`` where the library loses it; it must be over soon, as cancelled."""
    task = asyncio.create_task(work)
    await asyncio.wait_for(library.reached.wait(), LIMIT_S)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=LIMIT_S)
    again = not done
    while not task.done():  # so that the test itself comes to an end
        task.cancel()
        await asyncio.sleep(0.01)
    assert not again, "the task outlived its cancellation"
    assert task.cancelled()


@asynccontextmanager
async def uplink(folder: Path) -> AsyncIterator[mqtt.Uplink]:
    """An uplink with ten records to send, which waits no time between two attempts."""
    for name in ("own.pem", "collector.pem"):
        generate_signing_key(folder / name)
    collector = public_path(folder / "collector.pem")
    config = MqttUplink(
        host="127.0.0.1", collector_key=collector, batch_interval_ms=20, retry_ms=1000
    )
    keys = mqtt.UplinkKeys(load_private(folder / "own.pem"), load_public(collector))
    context = StoreContext(StoreSettings(folder / "state", GATEWAY), StillClock(), Counters())
    outbox = OutboxWriter(Outbox.open(context))
    outbox.start()
    await outbox.put(records(1, 10), {})
    try:
        yield mqtt.Uplink(
            config, GATEWAY, keys, outbox, Counters(), sleep=lambda _: asyncio.sleep(0)
        )
    finally:
        await outbox.close()


ERRORS = [None, aiomqtt.MqttError("the network is down")]


@pytest.mark.parametrize("error", ERRORS, ids=["lost", "replaced"])
@pytest.mark.parametrize("place", ["enter", "subscribe", "messages"])
async def test_the_uplink_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: Exception | None
) -> None:
    client = LossyClient(place, error)
    monkeypatch.setattr(mqtt, "make_client", lambda *_: client)
    async with uplink(tmp_path) as sending:
        await ends(sending.run(), client)


class LostConnection(LossyClient):
    """A client whose connection is lost at once, as the library reports it."""

    @property
    async def messages(self) -> AsyncIterator[SimpleNamespace]:
        await asyncio.sleep(0)
        yield SimpleNamespace(topic="unknown", payload=b"")
        raise aiomqtt.MqttError("the connection was lost")


async def test_the_uplink_goes_on_after_a_lost_connection_and_still_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = LossyClient("messages", None)
    clients: list[LossyClient] = [LostConnection("", None), LostConnection("", None), last]
    monkeypatch.setattr(mqtt, "make_client", lambda *_: clients.pop(0))
    async with uplink(tmp_path) as sending:
        await ends(sending.run(), last)
    assert not clients


@pytest.mark.parametrize("error", ERRORS, ids=["lost", "replaced"])
@pytest.mark.parametrize("place", ["enter", "subscribe", "messages"])
async def test_the_collector_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: Exception | None
) -> None:
    generate_signing_key(tmp_path / "collector.pem")
    files = {"key": tmp_path / "collector.pem", "database": tmp_path / "collector.db"}
    config = msgspec.convert(
        {"collector": files, "broker": {"host": "127.0.0.1"}, "gateway": []},
        CollectorConfig,
        dec_hook=lambda kind, value: kind(value),
    )
    client = LossyClient(place, error)
    monkeypatch.setattr(service, "make_client", lambda *_: client)
    await ends(service.CollectorService(config).run(), client)


class LossySink(LossyLibrary):
    """A store in whose answer the cancellation is lost."""

    async def put(self, records: Sequence[Record], marks: Mapping[str, Mark]) -> None:
        assert records or marks
        await self.at("put")


class LossyReader(LossyLibrary):
    """A reader of a device in whose poll the cancellation is lost."""

    device_id = "device"
    device = SimpleNamespace(name="device", unit=1, period_ms=1)
    mark = None
    problem = ""
    slots = SlotAccount()

    def notices(self, at_once: bool = False) -> list[Record]:
        return []

    async def poll(self, _master: object) -> Polled:
        await self.at("poll")
        return Polled([])


async def test_a_poller_ends() -> None:
    reader = LossyReader("poll", None)
    bus = TcpBus(name="b", host="127.0.0.1", port=502, device=())
    queue = CommitQueue(LossySink("put", None), linger_ms=0)
    clock = SystemClock()
    poller = BusPoller(bus, [reader], clock, queue, Counters(), Heartbeat(clock))  # type: ignore[list-item] # has all that is used
    poller.resume({})
    await ends(poller.run(), reader)


async def test_nothing_is_raised_in_a_task_that_nobody_cancelled() -> None:
    raise_if_cancelled()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    raise_if_cancelled()
