"""What a broker says about itself and about why it ends a connection is heard.

A scripted broker speaks the few packets that it takes; its bytes are written here from MQTT 5.0.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiomqtt
import pytest

from gateway_agent.collector.receiver import DUPLICATE, BatchOutcome, BatchReceiver
from gateway_agent.config_types import MqttConnection
from gateway_agent.uplink import sender
from gateway_agent.uplink.backoff import AWAY, REFUSED, TAKEN_OVER, Backoff, Pause
from gateway_agent.uplink.connection import ANSWER_S, Who, make_client
from hil.site.mosquitto import MosquittoBroker
from tests.integration.uplink_help import QuickTime, Site
from tests.promise.site import until
from tests.unit.gateway_agent.store_help import records

pytestmark = pytest.mark.timeout(120)

# Identifiers of properties (MQTT 5.0, 2.2.2.2).
SERVER_KEEP_ALIVE: Final = b"\x13"
SERVER_REFERENCE: Final = b"\x1c"
REASON_STRING: Final = b"\x1f"
MAXIMUM_QOS: Final = b"\x24"
CONNECT, PUBLISH, SUBSCRIBE, PINGREQ = 0x10, 0x30, 0x80, 0xC0


def text(identifier: bytes, value: str) -> bytes:
    data = value.encode()
    return identifier + len(data).to_bytes(2, "big") + data


def packet(kind: int, body: bytes) -> bytes:
    """A packet of a length below 128, which takes one byte (1.5.5)."""
    assert len(body) < 128
    return bytes((kind, len(body))) + body


class ScriptedBroker:
    """Connects and subscribes whoever comes; ends the connection with a reason if it has one.

    ``gone_at``: the kind of packet that it answers by closing the connection.
    """

    def __init__(
        self,
        *,
        connack: bytes = b"",
        refuse: int = 0,
        end: int | None = None,
        words: bytes = b"",
        gone_at: int = 0,
    ) -> None:
        self.connack = connack  # its properties
        self.refuse = refuse  # the reason code of CONNACK
        self.end = end  # the reason code of DISCONNECT, sent behind SUBACK
        self.words = words  # properties of the end
        self.gone_at = gone_at
        self.connections = 0
        self.got: list[int] = []  # first bytes of packets

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                first, body = await self._packet(reader)
                self.got.append(first)
                if first & 0xF0 == self.gone_at:
                    return
                if first == CONNECT:
                    properties = self.words if self.refuse else self.connack
                    body = bytes((0, self.refuse, len(properties))) + properties
                    writer.write(packet(0x20, body))
                elif first & 0xF0 == SUBSCRIBE:
                    writer.write(packet(0x90, body[:2] + b"\x00\x01"))
                    if self.end is not None:
                        properties = self.words
                        body = bytes((self.end, len(properties))) + properties
                        writer.write(packet(0xE0, body))
                elif first == PINGREQ:
                    writer.write(packet(0xD0, b""))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async def _packet(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        first = (await reader.readexactly(1))[0]
        size, shift = 0, 0
        while True:
            digit = (await reader.readexactly(1))[0]
            size |= (digit & 127) << shift
            shift += 7
            if digit < 128:
                return first, await reader.readexactly(size)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Its port."""
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]


class NotedTime(QuickTime):
    """Notes how long each wait would have been."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await super().sleep(seconds)


@pytest.mark.parametrize(
    ("script", "problem", "shortest", "longest"),
    [
        (
            ScriptedBroker(end=0x8E),
            "another client uses the id tianfu-gw-1: are two gateways configured with one id?",
            60,
            120,
        ),
        (ScriptedBroker(end=0x8B), "the broker shuts down", 0.25, 5),
        (
            ScriptedBroker(end=0x98, words=text(REASON_STRING, "kicked \x1b[31mby bob")),
            'the broker\'s operator closed the connection (in its words: "kicked \\x1b[31mby bob")',
            0.25,
            60,
        ),
        (
            ScriptedBroker(end=0x9D, words=text(SERVER_REFERENCE, "b.example:1884")),
            "the broker has moved (b.example:1884): change host",
            0.25,
            60,
        ),
        (ScriptedBroker(end=0x80), "the broker gives the reason 0x80, Unspec", 0.25, 60),
        (
            ScriptedBroker(refuse=0x86, words=text(REASON_STRING, "no such user")),
            'user name or password: see username, password_file (in its words: "no such user")',
            0.25,
            60,
        ),
        (ScriptedBroker(refuse=0x88), "the broker is not available", 0.25, 5),
        (
            ScriptedBroker(refuse=0x84),
            'the broker does not speak this version of MQTT: set version = "3.1.1"',
            0.25,
            60,
        ),
    ],
    ids=lambda value: (
        f"{value.end or value.refuse:#x}" if isinstance(value, ScriptedBroker) else ""
    ),
)
async def test_the_reason_is_shown_and_the_wait_fits_it(
    tmp_path: Path, script: ScriptedBroker, problem: str, shortest: float, longest: float
) -> None:
    time = NotedTime()
    async with script.running() as port:
        site = Site(tmp_path, port)
        async with site.outbox() as outbox, site.uplink(outbox, time) as uplink:
            await until(lambda: len(time.waits) >= 12, "attempts")
            await until(lambda: problem in uplink.problem, problem)
    assert all(shortest <= wait <= longest for wait in time.waits), time.waits
    assert max(time.waits) > min(5, longest) / 4


async def test_the_collector_hears_the_reason_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with (
        ScriptedBroker(end=0x8E).running() as port,
        Site(tmp_path, port).collector() as service,
    ):
        await until(lambda: "another client" in service.snapshot().problem, "the reason")
        assert "are two collectors running with one key?" in service.snapshot().problem
        logged = "another client uses the id"
        await until(lambda: any(logged in line for line in caplog.messages), "the line")


@pytest.mark.parametrize("gone_at", [CONNECT, SUBSCRIBE], ids=["CONNECT", "SUBSCRIBE"])
async def test_a_connection_that_ends_without_an_answer_is_not_waited_for(
    tmp_path: Path, gone_at: int
) -> None:
    """A relay in front of a broker that is away does that; so do brokers while they start."""
    time = NotedTime()
    async with ScriptedBroker(gone_at=gone_at).running() as port:
        site = Site(tmp_path, port)
        async with site.outbox() as outbox, site.uplink(outbox, time) as uplink:
            await until(lambda: len(time.waits) >= 3, "attempts", ANSWER_S - 1)
            assert "the connection ended before the broker answered: is a" in uplink.problem
    assert max(time.waits) <= 2


async def test_a_connection_that_ends_has_no_answer_to_a_receipt() -> None:
    async with ScriptedBroker(gone_at=PUBLISH).running() as port:
        who = Who("tianfu-collector-1", "")
        client = make_client(MqttConnection(host="127.0.0.1", port=port), who, 1000, lambda _: None)
        async with asyncio.timeout(ANSWER_S - 1), client:
            with pytest.raises(aiomqtt.MqttError, match="the connection ended before"):
                await client.answered("t", client.post("t", b"receipt"))


async def test_a_collector_sends_all_receipts_before_the_first_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipts = [BatchOutcome(DUPLICATE, "", "gw-1", stream, b"receipt") for stream in range(1, 21)]
    monkeypatch.setattr(BatchReceiver, "receipts", lambda _: receipts)
    broker = ScriptedBroker()
    async with broker.running() as port, Site(tmp_path, port).collector():
        await until(lambda: broker.got.count(PUBLISH | 3) == 20, "receipts", ANSWER_S - 1)


async def test_the_broker_sets_the_keep_alive(tmp_path: Path) -> None:
    broker = ScriptedBroker(connack=SERVER_KEEP_ALIVE + b"\x00\x01")
    async with broker.running() as port:
        site = Site(tmp_path, port)
        async with site.outbox() as outbox, site.uplink(outbox):
            await until(lambda: broker.got.count(PINGREQ) > 2, "a ping each second, not each 30 s")
    assert broker.connections == 1


async def test_a_broker_without_acknowledgements_cannot_be_what_delivered_means(
    tmp_path: Path,
) -> None:
    async with ScriptedBroker(connack=MAXIMUM_QOS + b"\x00").running() as port:
        site = Site(tmp_path, port)
        async with site.outbox() as outbox:
            await outbox.put(records(1, 5), {})
            async with site.uplink(outbox, QuickTime(), receipt="puback") as uplink:
                await until(lambda: "needs the PUBACK of QoS 1" in uplink.problem, "the reason")
            assert outbox.stats.depth == 5


@pytest.mark.mosquitto
async def test_a_broker_without_qos_and_retained_messages_delivers_all(
    mosquitto_path: Path, tmp_path: Path
) -> None:
    settings = "max_qos 0\nretain_available false\n"
    with MosquittoBroker(mosquitto_path, tmp_path / "b", settings) as broker:
        site = Site(tmp_path, broker.port)
        async with site.collector(), site.outbox() as outbox, site.uplink(outbox) as uplink:
            await outbox.put(records(1, 100), {})
            await until(lambda: outbox.stats.depth == 0, "receipted")
            assert uplink.connected
    assert site.stored() == list(range(1, 101))
    assert site.counters.connects == 1


@pytest.mark.mosquitto
@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_collector_that_comes_later_gets_everything_at_once(
    broker: MosquittoBroker, tmp_path: Path, version: str
) -> None:
    """Without waiting for retry_ms, which is an hour here. It knows the stream: it was here."""
    site = Site(tmp_path, broker.port)
    async with (
        site.outbox() as outbox,
        site.uplink(outbox, version=version, retry_ms=3_600_000, in_flight=3) as uplink,
    ):
        async with site.collector():
            await outbox.put(records(1, 20), {})
            await until(lambda: outbox.stats.depth == 0, "receipted")
        await outbox.put(records(21, 100), {})
        pubacks = site.counters.pubacks
        await until(lambda: site.counters.pubacks > pubacks, "a batch for nobody")
        assert uplink.is_unheard == (version == "5")
        async with site.collector():
            await until(lambda: outbox.stats.depth == 0, "receipted")
        assert not uplink.is_unheard
    assert site.stored() == list(range(1, 121))
    assert site.verdicts().count("duplicates") == 0


@pytest.mark.mosquitto
async def test_that_nobody_is_subscribed_is_logged_once_and_only_if_it_lasts(
    broker: MosquittoBroker,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lines() -> list[str]:
        return [line for line in caplog.messages if "subscribed to tianfu/gw-1/batch/" in line]

    site = Site(tmp_path, broker.port)
    async with site.outbox() as outbox, site.uplink(outbox, retry_ms=100) as uplink:
        await outbox.put(records(1, 10), {})
        await until(lambda: site.counters.pubacks > 5, "batches for nobody")
        assert uplink.is_unheard
        async with site.collector():
            await until(lambda: outbox.stats.depth == 0, "receipted")
        assert lines() == [], "it came within seconds"
        monkeypatch.setattr(sender, "ABSENT_S", 0.2)
        await outbox.put(records(11, 20), {})
        await until(lines, "a line")
        pubacks = site.counters.pubacks
        await until(lambda: site.counters.pubacks > pubacks + 5, "more for nobody")
        async with site.collector():
            await until(lambda: len(lines()) > 1, "its return")
    absent, again = lines()
    assert absent.startswith("nobody has been subscribed")
    assert "start the collector" in absent
    assert again.startswith("somebody is subscribed")


@pytest.mark.mosquitto
async def test_a_collector_that_is_new_gets_everything_without_retries(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """It cannot say how far it has come; MQTT 5 says that nobody is there."""
    site = Site(tmp_path, broker.port)
    async with site.outbox() as outbox, site.uplink(outbox, retry_ms=3_600_000) as uplink:
        await outbox.put(records(1, 100), {})
        await until(lambda: uplink.is_unheard, "a batch for nobody")
        async with site.collector():
            await until(lambda: outbox.stats.depth == 0, "receipted")
    assert site.stored() == list(range(1, 101))
    assert site.verdicts().count("duplicates") == 0


def test_waits_double_up_to_the_longest_and_begin_again_for_another_reason() -> None:
    backoff = Backoff()
    for most in (0.5, 1, 2, 2, 2):
        assert most / 2 <= backoff.next_s(AWAY) <= most
    for most in (0.5, 1, 2, 4, 8, 16, 32, 60, 60):
        assert most / 2 <= backoff.next_s(REFUSED) <= most
    backoff.reset()
    assert backoff.next_s(REFUSED) <= 0.5
    assert 60 <= backoff.next_s(TAKEN_OVER) <= 120
    assert Pause(1, 2) != AWAY
