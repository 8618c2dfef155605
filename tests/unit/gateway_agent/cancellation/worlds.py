"""The tasks of the product that are swept, each with the peers that it needs."""

import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.collector import service
from gateway_agent.collector.config import CollectorConfig
from gateway_agent.collector.status import CollectorStatus
from gateway_agent.config import MqttUplink
from gateway_agent.counters import Counters
from gateway_agent.keys import generate_signing_key, load_private, load_public, public_path
from gateway_agent.notify.announcer import Announcer
from gateway_agent.notify.queue import NoticeQueue
from gateway_agent.status import NotifyStatus, to_json
from gateway_agent.status_socket import SOCKET_NAME, serve_status
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.settings import StoreContext, StoreSettings
from gateway_agent.store.writer import OutboxWriter
from gateway_agent.uplink import mqtt
from protocols.uplink import (
    CLOCK_SYNCHRONISED,
    GENESIS,
    Anchor,
    Receipt,
    build_batch,
    open_batch,
    open_receipt,
    sign_receipt,
)
from tests.unit.gateway_agent.notify.test_queue import notice
from tests.unit.gateway_agent.store_help import (
    GATEWAY,
    WALL_MS,
    StillClock,
    chain,
    records,
)

from .peers import ANSWER_S, Broker, Message

IDLE_S = 1.0  # what a world does after its last message


class Actor:
    """A task that is cancelled to end it, unless :meth:`stop_with` is called."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, object]], *peers: Any) -> None:
        self.finished = asyncio.Event()
        self.run = work
        self.checks: list[Callable[[], object]] = []
        self.clients: list[socket.socket] = []
        self._peers = peers
        self._request: Callable[[], object] | None = None
        self._loop = asyncio.get_running_loop()

    def die(self) -> None:
        for peer in self._peers:
            peer.die()

    def stop_with(self, request: Callable[[], object]) -> None:
        """Have the task stopped by ``request``, without a cancellation."""
        self._request = request

    def stop(self, task: "asyncio.Task[object]") -> None:
        if self._request is None:
            task.cancel()
        else:
            self._request()

    def leave(self) -> None:
        for socket_ in self.clients:
            socket_.close()

    def finish(self) -> None:
        """End after some idle time."""
        self._loop.call_later(IDLE_S, self.finished.set)

    def verify(self, task: "asyncio.Task[object]") -> None:
        if self._request is None:
            assert task.cancelled(), task
        else:
            assert task.result() is None
        for check in self.checks:
            check()


class Collector:
    """Answers batches with receipts, and keeps the records that it has receipted."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self.records: dict[int, bytes] = {}
        self._key = key

    def __call__(self, message: Message) -> Iterator[Message]:
        topic, payload = message
        batch = open_batch(payload, None)
        header = batch.header
        self.records |= zip(range(header.first, header.last + 1), batch.records, strict=True)
        receipt = Receipt(GATEWAY, header.stream, header.last, header.head, WALL_MS)
        yield topic.replace("/batch", "/receipt"), sign_receipt(receipt, self._key)


def _keys(folder: Path) -> tuple[Path, Path]:
    for name in ("own.pem", "collector.pem"):
        generate_signing_key(folder / name)
    return folder / "own.pem", folder / "collector.pem"


@asynccontextmanager
async def uplink(folder: Path, announces: bool = False) -> AsyncIterator[Actor]:
    """The uplink with 60 records to deliver; its second message costs it the connection.

    ``announces``: its status and two changes of alarms too.
    """
    own, other = _keys(folder)
    broker = await Broker(drops=[2]).start()
    config = MqttUplink(
        host="127.0.0.1",
        port=broker.port,
        version="3.1.1",
        collector_key=public_path(other),
        batch_records=20,
        batch_interval_ms=20,
        retry_ms=1000,
    )
    context = StoreContext(StoreSettings(folder / "state", GATEWAY), StillClock(), Counters())
    outbox = OutboxWriter(Outbox.open(context))
    outbox.start()
    await outbox.put(records(1, 60), {})
    keys = mqtt.UplinkKeys(load_private(own), load_public(public_path(other)))
    announcer = _announcer(folder) if announces else None
    sending = mqtt.Uplink(config, GATEWAY, keys, outbox, Counters(), announcer=announcer)
    actor = Actor(sending.run, broker)
    collector = Collector(load_private(other))

    def answer(message: Message) -> Iterator[Message]:
        if "/batch/" in message[0]:
            yield from collector(message)
        if len(collector.records) == 60:
            actor.finish()

    def check() -> None:
        stats = outbox.stats
        assert stats.last == 60
        assert stats.depth == 60 - stats.receipted_to
        assert stats.receipted_to <= max(collector.records, default=0)

    broker.on_message = answer
    actor.checks.append(check)
    try:
        yield actor
    finally:
        broker.close()
        await outbox.close()


def _announcer(folder: Path) -> Announcer:
    queue = NoticeQueue(10)
    queue.put(notice(1), notice(2))
    status = NotifyStatus(name="all", type="mqtt", where="")
    return Announcer(status, queue, GATEWAY, folder, dict, lambda: True)


def _batches(key: Ed25519PrivateKey, count: int) -> list[bytes]:
    """Batches of one record each."""
    anchor = Anchor(bytes(16), 1, WALL_MS, 5, CLOCK_SYNCHRONISED)
    head, found = GENESIS, []
    for number in range(1, count + 1):
        data = records(number, 1)[0].data
        after = chain(head, [data])
        found.append(
            build_batch(
                gateway=GATEWAY,
                key_epoch=0,
                stream=1,
                first=number,
                prev=head,
                anchor=anchor,
                records=[data],
                key=key,
                compress=False,
            )
        )
        head = after
    return found


class Gateway:
    """Sends the next batch when there is a receipt for the one before; again at a subscription."""

    def __init__(self, own: Ed25519PrivateKey, collector: Path, done: Callable[[], object]) -> None:
        self.receipted = 0
        self._batches = _batches(own, 4)
        self._key = load_public(collector)
        self._done = done

    def next(self) -> Iterator[Message]:
        if self.receipted < len(self._batches):
            yield f"tianfu/{GATEWAY}/batch/1", self._batches[self.receipted]
        else:
            self._done()

    def take(self, message: Message) -> Iterator[Message]:
        topic, payload = message
        assert topic == f"tianfu/{GATEWAY}/receipt/1"
        self.receipted = max(self.receipted, open_receipt(payload, self._key).contiguous_to)
        yield from self.next()


@asynccontextmanager
async def collector(folder: Path, form: str = "service") -> AsyncIterator[Actor]:
    """The collector, which loses its connection at the second receipt.

    ``form``: the ``service`` alone, the whole ``command`` cancelled, or ``stopped`` by its event.
    """
    own, other = _keys(folder)
    broker = await Broker(drops=[2]).start()
    config = msgspec.convert(
        {
            "collector": {"key": other, "database": folder / "collector.db"},
            "broker": {"host": "127.0.0.1", "port": broker.port, "version": "3.1.1"},
            "gateway": [{"id": GATEWAY, "keys": [str(public_path(own))]}],
        },
        CollectorConfig,
        dec_hook=lambda kind, value: kind(value),
    )
    stop = asyncio.Event()

    async def run() -> None:
        if form == "service":
            await service.CollectorService(config).run()
        await service.run_collector(service.CollectorService(config), stop, lambda: None)

    actor = Actor(run, broker)
    if form == "stopped":
        actor.stop_with(stop.set)
    gateway = Gateway(load_private(own), public_path(other), actor.finish)
    broker.on_subscribe, broker.on_message = gateway.next, gateway.take

    def check() -> None:
        if not (folder / "collector.db").exists():
            assert not gateway.receipted
            return
        with closing(sqlite3.connect(folder / "collector.db")) as database:
            rows = database.execute("SELECT count(*) FROM records").fetchone()
        assert rows[0] >= gateway.receipted
        assert not (folder / "collector.sock").exists()

    actor.checks.append(check)
    try:
        yield actor
    finally:
        broker.close()


@asynccontextmanager
async def status(folder: Path) -> AsyncIterator[Actor]:
    """A status socket with a client that has its answer and one that never reads its own."""
    path = folder / SOCKET_NAME
    big = CollectorStatus(
        database="x" * (1 << 20),
        running_ms=0,
        broker="",
        connected=True,
        problem="",
        streams=[],
        messages={},
        waiting=[],
        alarms=[],
    )

    def connect() -> None:
        for _ in range(2):
            client = socket.socket(socket.AF_UNIX)
            actor.clients.append(client)
            with suppress(FileNotFoundError):  # stopped before
                client.connect(str(path))
        actor.finish()

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        async with serve_status(folder, lambda: [to_json(big)]):
            loop.call_later(ANSWER_S, connect)
            while True:
                await asyncio.sleep(0.1)

    def check() -> None:
        assert not path.exists()

    actor = Actor(serve)
    actor.checks.append(check)
    yield actor
