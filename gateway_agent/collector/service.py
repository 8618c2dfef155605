"""The collector as a process: a broker on one side, the database on the other.

Batches are processed one at a time in one thread, because a receipt may only leave after its
commit. A commit that fails leaves the batch without a receipt: the gateway sends it again. The
database is closed in that thread too, after the batch that is under way when the service stops.
"""

import asyncio
import logging
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NoReturn, TypeVar

import aiomqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway_agent.cancellation import raise_if_cancelled, until_first_ends, whatever_comes
from gateway_agent.clock import SystemClock
from gateway_agent.keys import check_secret, load_private
from gateway_agent.rare_log import ChangeLog
from gateway_agent.status import to_json
from gateway_agent.status_socket import serve_status
from gateway_agent.store.settings import HEAD_LAG_MS
from gateway_agent.supervisor import ServiceState
from gateway_agent.uplink import topics
from gateway_agent.uplink.backoff import AWAY, Backoff, Pause
from gateway_agent.uplink.connection import (
    Client,
    MessageRefused,
    Puback,
    Who,
    make_client,
    unexplained,
)
from protocols.uplink import MAX_BATCH_BYTES, key_id

from .audit import prove_tail
from .catch_up import catch_up
from .config import CollectorConfig
from .database import Database
from .importing import serve_imports
from .keys import allowed_of, keys_of_gateways, keys_of_nodes
from .receiver import ACCEPTED, BatchOutcome, BatchReceiver
from .retention import retention_of
from .status import CollectorStatus, StreamStatus, socket_path

T = TypeVar("T")

log = logging.getLogger(__name__)

ARCHIVE_S: Final = 60.0  # how often it is looked whether a segment is due
RETAIN_S: Final = 3600.0  # between two looks at what is old enough to be thinned
HANG_S: Final = 60.0  # longer than the largest batch and the slowest commit
_NOT_YET: Final = "not connected yet"
MAX_PACKET: Final = MAX_BATCH_BYTES + 1024  # a batch and its topic


class CollectorService:
    """Run :meth:`run` in a task and cancel it to stop."""

    def __init__(
        self, config: CollectorConfig, on_outcome: Callable[[BatchOutcome], None] | None = None
    ) -> None:
        """Open keys and database, and prove what was stored last.

        OSError, ValueError: a key file; sqlite3.Error: the database; DamagedDatabase: it does not
        hold what was received.
        """
        directory = config.collector.database.parent
        key = load_private(config.collector.key)
        gateways = keys_of_gateways(config)
        nodes = keys_of_nodes(config)
        for file in config.broker.secret_files:
            check_secret(file)
        self._config = config
        self._clock = SystemClock()
        self._started_ms = self._clock.boot_ms()
        self._database = Database(config.collector.database, self._clock)
        try:
            prove_tail(config.collector.database, gateways, nodes)
        except BaseException:
            self._database.close()
            raise
        self._receiver = BatchReceiver(
            self._database,
            key,
            gateways,
            nodes,
            directory / "quarantine",
            allowed=allowed_of(config),
        )
        self._archive = self._database.archive(key)
        catch_up(self._database, self._receiver.receive, key.public_key())
        self._retention = retention_of(config, gateways, nodes)
        self._worker = ThreadPoolExecutor(1, "collector")
        self._problem = _NOT_YET  # why no batch can arrive
        self._log = ChangeLog(log)
        self._messages: Counter[str] = Counter()
        self._unanswered: dict[str, str] = {}  # by gateway: why it gets no receipts
        self._streams = {row[:2]: row[2] for row in self._database.positions()}
        self._settling: asyncio.TimerHandle | None = None
        self._archiving: asyncio.TimerHandle | None = None
        self._retaining: asyncio.Task[NoReturn] | None = None
        self._jobs: dict[object, float] = {}  # of the thread, and since when they wait
        self._on_outcome = on_outcome
        self._backoff = Backoff()
        self.connected = asyncio.Event()
        self.packets_refused = 0  # of a broker that would fill our memory: connection closed
        self._who = Who(
            f"tianfu-collector-{key_id(_public(key)).hex()}",
            "are two collectors running with one key",
        )

    async def run(self) -> NoReturn:
        """Connect, receive batches and answer them, until cancelled."""
        socket = socket_path(self._config.collector.database)
        try:
            async with (
                serve_status(socket.parent, self._status_text, socket.name),
                serve_imports(self._config.collector.database, self._import),
            ):
                self._seal()
                self._retaining = asyncio.create_task(self._retain(), name="retention")
                while True:
                    pause = await self._attempt()
                    raise_if_cancelled()
                    self.connected.clear()
                    await self._backoff.wait(pause)
        finally:
            if self._settling is not None:
                self._settling.cancel()
            if self._archiving is not None:
                self._archiving.cancel()
            try:
                if self._retaining is not None:
                    self._retaining.cancel()
                    await whatever_comes(asyncio.wait({self._retaining}))
            finally:  # a second cancellation was raised
                self._worker.submit(self._database.close)
                self._worker.shutdown()

    async def _attempt(self) -> Pause:
        """Connect and receive until the connection ends; return how long to stay away."""
        client = None
        try:
            client = make_client(self._config.broker, self._who, MAX_PACKET, self._refuse)
            await self._session(client)
        except (aiomqtt.MqttError, OSError, ValueError) as error:
            ending = unexplained(error) if client is None else client.ending(error)
            self._problem = ending.text
            self._log.warning(f"broker {self._config.broker.where}: {self._problem}")
            return ending.pause
        return AWAY

    def _status_text(self) -> Iterable[str]:
        return (to_json(self.snapshot()),)

    def snapshot(self) -> CollectorStatus:
        """Return everything that ``status`` shows, as it is now."""
        return CollectorStatus(
            database=str(self._config.collector.database),
            running_ms=self._clock.boot_ms() - self._started_ms,
            broker=self._config.broker.where,
            connected=self.connected.is_set(),
            problem="" if self.connected.is_set() else self._problem,
            streams=[StreamStatus(*stream, to) for stream, to in sorted(self._streams.items())],
            messages=dict(self._messages),
            waiting=self._receiver.waiting,
            alarms=[
                *self._database.alarms,
                *self._receiver.alarms,
                *self._unanswered.values(),
                *([self._archive.problem] if self._archive.problem else ()),
            ],
        )

    async def _session(self, client: Client) -> None:
        async with client:
            await client.listen(topics.ALL_BATCHES)
            self.connected.set()
            if self._problem != _NOT_YET:
                self._problem = _NOT_YET
                self._log.warning(f"broker {self._config.broker.where}: connected again")
            await self._announce(client)
            raise_if_cancelled()
            async for message in client.messages:
                await self._receive(client, message)
                raise_if_cancelled()
                client.taken(message)

    async def _announce(self, client: Client) -> None:
        """Send each gateway its newest receipt, as many at once as the broker takes.

        One after the other, a thousand gateways behind a slow line would wait for a minute.
        """
        posted: deque[tuple[str, str, asyncio.Future[Puback]]] = deque()
        for outcome in await self._work(self._receiver.receipts):
            if len(posted) == client.limits.unacknowledged:
                await self._answered(client, *posted.popleft())
            posted.append(self._post(client, outcome))
        while posted:
            await self._answered(client, *posted.popleft())

    def state(self) -> ServiceState:
        """Return what the service manager is to know. One that waits for a broker has started."""
        since = min(self._jobs.values(), default=None)
        hung_s = 0.0 if since is None else time.monotonic() - since
        where = self._config.broker.where
        text = f"collecting from {where}" if self.connected.is_set() else self._problem
        if hung_s >= HANG_S:
            text = f"the database has not answered for {hung_s:.0f} s: see `dmesg` for its medium"
        return ServiceState(is_started=True, is_alive=hung_s < HANG_S, text=text)

    def _work(self, job: Callable[[], T]) -> asyncio.Future[T]:
        future = asyncio.get_running_loop().run_in_executor(self._worker, job)
        self._jobs[future] = time.monotonic()
        future.add_done_callback(lambda done: self._jobs.pop(done, None))
        return future

    def _refuse(self, _reason: str) -> None:
        self.packets_refused += 1

    async def _receive(self, client: Client, message: aiomqtt.Message) -> None:
        self._backoff.reset()  # the connection is of use
        topic = topics.parse(str(message.topic))
        payload = message.payload
        if topic is None or not isinstance(payload, bytes):
            return
        try:
            outcome = await self._work(partial(self._receiver.receive, payload, topic.gateway))
        except Exception as error:  # noqa: BLE001 # no message ends the service
            # Without a commit there is no receipt: the gateway keeps the batch and sends it again.
            log.error("batch of %s not committed, it will be sent again: %s", topic.gateway, error)
            return
        log.info("%s: %s: %s", topic.gateway, outcome.verdict, outcome.detail)
        self._note(outcome)
        if outcome.receipt is not None:
            await self._answered(client, *self._post(client, outcome))
        if self._on_outcome is not None:
            self._on_outcome(outcome)

    async def _import(self, data: bytes) -> BatchOutcome:
        """Take a batch that came in a file."""
        outcome = await self._work(partial(self._receiver.receive, data))
        log.info("%s: %s: %s", outcome.gateway, outcome.verdict, outcome.detail)
        self._note(outcome)
        return outcome

    def _post(
        self, client: Client, outcome: BatchOutcome
    ) -> "tuple[str, str, asyncio.Future[Puback]]":
        """Send a receipt; return its gateway and topic, and what gets the broker's answer."""
        assert outcome.receipt is not None
        topic = topics.receipt_topic(outcome.gateway, outcome.stream)
        return outcome.gateway, topic, client.post(topic, outcome.receipt, retain=True)

    async def _answered(
        self, client: Client, gateway: str, topic: str, answer: "asyncio.Future[Puback]"
    ) -> None:
        """Wait for the broker to take a receipt. Its refusal must not stop those of others."""
        try:
            await client.answered(topic, answer)
            self._unanswered.pop(gateway, None)
        except MessageRefused as error:
            text = f"{gateway}: gets no receipts: {error}: allow this client to write there"
            if gateway not in self._unanswered:
                log.error("%s", text)
            self._unanswered[gateway] = text

    def _note(self, outcome: BatchOutcome) -> None:
        self._messages[outcome.verdict] += 1
        if outcome.verdict == ACCEPTED:
            self._streams[outcome.gateway, outcome.stream] = outcome.to
        if self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(HEAD_LAG_MS / 1000, self._settle)

    def _settle(self) -> None:
        self._settling = None
        self._worker.submit(self._database.settle)

    async def _retain(self) -> NoReturn:
        """Thin what is old enough, a segment at a time, so that batches go between them."""
        kept = ""
        while True:
            await asyncio.sleep(RETAIN_S)
            raise_if_cancelled()
            try:
                kept = await self._retain_due(kept)
            except (OSError, ValueError, sqlite3.Error) as error:
                log.error("nothing is thinned now: %s", error)

    async def _retain_due(self, kept: str) -> str:
        """Return what an operator was last shown of segments that must stay."""
        retention, connection = self._retention, self._database.connection
        for segment in await self._work(partial(retention.due, connection)):
            raise_if_cancelled()
            finding = await asyncio.to_thread(retention.unproved, segment)
            if finding is None:
                work = partial(retention.remove, connection, self._archive, segment)
                await self._work(work)
            elif str(finding) != kept:
                kept = str(finding)
                log.error("batches %d to %d are not proved and stay: %s", *segment[:2], kept)
        await self._work(partial(retention.thin_minutes, connection, self._archive))
        await self._work(partial(retention.remove_hours, connection, self._archive))
        return kept

    def _seal(self) -> None:
        """Write the next segment of the archive, if one is due, and look again later."""

        def again(done: asyncio.Future[bool]) -> None:
            if not done.cancelled():
                self._archiving = loop.call_later(0 if done.result() else ARCHIVE_S, self._seal)

        loop = asyncio.get_running_loop()
        self._work(self._archive.advance).add_done_callback(again)


def _public(key: Ed25519PrivateKey) -> Ed25519PublicKey:
    return key.public_key()


async def run_collector(
    service: CollectorService, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Run until ``stop`` is set; call ``ready`` when the first subscription is made."""

    async def announce() -> None:
        await service.connected.wait()
        ready()
        await stop.wait()

    await until_first_ends(service.run(), announce(), stop.wait())
