"""Run an exporter's core over MQTT: connect, send and take acknowledgements, read what comes.

With QoS 1 a record is delivered when the broker has acknowledged every message made from it, and
the platform has answered it, where it does; a record that it refuses is named as lost. Where
a platform demands QoS 0 the messages are followed by a subscription that is in force already: the
broker works on packets in order (MQTT 5.0, 4.6), so its SUBACK comes after it has had them all.
"""

import asyncio
from collections import deque
from typing import Final, NoReturn

import aiomqtt

from gateway_agent.cancellation import raise_if_cancelled, until_first_ends, whatever_comes
from protocols.export_message import MqttCore, PlatformMessage
from protocols.export_record import Portion, SentMessage
from protocols.text_of_others import printable
from protocols.uplink import clouds

from .cloud_login import AnyCloudAccount, sign_in
from .connection import ANSWER_S, NO_PUBACK, Client, MessageRefused, Puback, Who, make_client
from .exporter_config import MqttExporterConfig
from .feed import ExportContext, Feed

MAX_PACKET: Final = 16 * 1024  # what platforms send is short
MAX_UNANSWERED: Final = 16  # messages on their way
UNANSWERED: Final = (
    f"the platform has not answered what it was sent for {ANSWER_S:g} s: write confirmed = false in"
    " [uplink.login], if it answers nothing"
)
_LOOK_S: Final = 1.0
_GOODBYE_S: Final = 1.0


class MqttSession:
    """One exporter to one broker."""

    def __init__(
        self,
        config: MqttExporterConfig,
        context: ExportContext,
        core: MqttCore,
        account: AnyCloudAccount | None = None,
    ) -> None:
        """``account``: in a cloud that wants its own log-in for each connection."""
        self._config = config
        self._account = account
        self._context = context
        self._core = core
        self._answered = asyncio.Event()  # the platform has sent something
        identifier = config.client_id or f"tianfu-{context.gateway}-{config.label}"
        twins = "are two gateways, or two uplinks, configured with one client id"
        self._who = Who(identifier, twins)

    async def run(self, feed: Feed) -> None:
        """Run one session, and another when its password is renewed.

        MqttError, OSError or ValueError: why it ended.
        """
        while True:
            raise_if_cancelled()
            await self._run_once(feed)

    async def _run_once(self, feed: Feed) -> None:
        """Return when the password is about to end."""
        who, login, renew_at_ms = self._who, None, None
        if self._account is not None:
            is_secure = self._config.broker.tls is not None
            try:
                signed = sign_in(self._account, self._context.clock, is_secure)
            except clouds.NoTimeForLoginError as error:  # look again soon
                raise aiomqtt.MqttError(str(error)) from error
            who = who._replace(identifier=signed.client_id)
            login, renew_at_ms = (signed.username, signed.password), signed.renew_at_ms

        def refused(_: str) -> None:
            feed.status.rejected += 1

        will = self._core.will()
        last_words = None
        if will is not None:
            last_words = aiomqtt.Will(will.topic, will.payload, qos=1, retain=will.retain)
        client = make_client(self._config.broker, who, MAX_PACKET, refused, last_words, login)
        try:
            await self._session(client, feed, renew_at_ms)
        except (aiomqtt.MqttError, OSError, ValueError) as error:
            text = client.ending(error).text
            raise aiomqtt.MqttError(text) from error

    async def _session(self, client: Client, feed: Feed, renew_at_ms: int | None) -> None:
        async with client:
            core = self._core
            if not client.limits.qos and core.qos:
                raise ValueError("expected a broker that takes QoS 1, got one that takes QoS 0")
            for topic in core.filters():
                await client.listen(topic)
            await self._post(client, feed, core.opened(self._now()))
            raise_if_cancelled()
            feed.status.connected, feed.status.problem = True, ""
            try:
                await until_first_ends(
                    self._receive(client, feed),
                    self._send(client, feed, renew_at_ms),
                    self._obey(client, feed),
                )
            except asyncio.CancelledError:
                await whatever_comes(self._close(client, feed))
                raise

    def _now(self) -> int | None:
        return self._context.clock.wall().wall_ms

    async def _close(self, client: Client, feed: Feed) -> None:
        try:
            async with asyncio.timeout(_GOODBYE_S):
                await self._post(client, feed, self._core.closing())
        except (aiomqtt.MqttError, TimeoutError):
            return  # the broker publishes our will

    # --- sending -------------------------------------------------------------------------------

    async def _send(self, client: Client, feed: Feed, renew_at_ms: int | None) -> None:
        """Send until the password is to be renewed; all that was sent is acknowledged then."""
        core = self._core
        while renew_at_ms is None or self._context.clock.boot_ms() < renew_at_ms:
            raise_if_cancelled()
            portion = await feed.next(_LOOK_S)
            await self._post(client, feed, core.due(self._now()))
            if portion is not None:
                await self._deliver(client, feed, portion)

    async def _deliver(self, client: Client, feed: Feed, portion: Portion) -> None:
        now_ms, records = self._now(), portion.records
        while records and self._core.is_stale(records[0], now_ms):
            records = records[1:]
        if len(records) < len(portion.records):
            await feed.lost(portion, portion.last - len(records), "stale")
        kept = portion._replace(first=portion.last + 1 - len(records), records=records)
        sent = await self._post(client, feed, self._core.messages(kept, now_ms), len(records))
        refused = await self._settle()
        for seq in sorted(refused):
            await feed.delivered(portion, seq - 1)
            await feed.refused(portion, seq)
        await feed.delivered(portion, portion.last, sent)

    async def _settle(self) -> set[int]:
        """Wait until the platform has answered all messages; return the records that it refused."""
        answers = self._core.answers
        if answers is None:
            return set()
        try:
            async with asyncio.timeout(ANSWER_S):
                while answers.waiting:
                    raise_if_cancelled()
                    self._answered.clear()
                    await self._answered.wait()
        except TimeoutError:
            raise aiomqtt.MqttError(UNANSWERED) from None
        refused = set(answers.refused)
        answers.refused.clear()
        return refused

    async def _post(
        self, client: Client, feed: Feed, messages: list[PlatformMessage], records: int = 0
    ) -> list[SentMessage]:
        """Publish and wait for every acknowledgement; return what there is to trace."""
        sent: list[SentMessage] = []
        waiting: deque[tuple[PlatformMessage, asyncio.Future[Puback]]] = deque()
        for message in messages:
            raise_if_cancelled()
            size = len(message.payload) + len(message.topic)
            await feed.spend(size, records)
            records = 0
            if len(message.payload) > client.room(message.topic):
                raise ValueError(
                    f"the broker takes packets of up to {client.limits.packet} bytes, a message"
                    f" has {size}: lower batch_records, or give the broker a larger limit"
                )
            answer = client.post(message.topic, message.payload, message.retain, self._core.qos)
            waiting.append((message, answer))
            while len(waiting) >= MAX_UNANSWERED:
                sent += await self._answer(*waiting.popleft())
        while waiting:
            sent += await self._answer(*waiting.popleft())
        if messages and not self._core.qos:
            await client.listen(self._core.filters()[0])
        return sent

    async def _answer(
        self, message: PlatformMessage, answer: "asyncio.Future[Puback]"
    ) -> list[SentMessage]:
        try:
            async with asyncio.timeout(ANSWER_S):
                puback = await answer
        except TimeoutError:
            raise aiomqtt.MqttError(NO_PUBACK) from None
        if puback.refusal:
            raise MessageRefused(f"the broker refused {message.topic}: {puback.refusal}")
        if not message.seqs:
            return []
        ack = "PUBACK" if self._core.qos else "SUBACK behind it"
        return [SentMessage(str(puback.packet), message.seqs, ack, message.topic)]

    # --- receiving -----------------------------------------------------------------------------

    async def _receive(self, client: Client, feed: Feed) -> None:
        async for message in client.messages:
            raise_if_cancelled()
            client.taken(message)
            self._answered.set()
            try:
                answers = self._core.received(str(message.topic), bytes(message.payload or b""))
            except ValueError as error:
                feed.status.rejected += 1
                feed.status.rejection = printable(str(error))[:200]
                continue
            for answer in answers:
                await self._reply(client, feed, answer)

    async def _reply(self, client: Client, feed: Feed, answer: PlatformMessage) -> None:
        await feed.spend(len(answer.payload) + len(answer.topic))
        client.post(answer.topic, answer.payload, answer.retain, self._core.qos)

    async def _obey(self, client: Client, feed: Feed) -> NoReturn:
        """Carry out what the platform commands; few platforms do."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError
