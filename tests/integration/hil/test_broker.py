"""The embedded broker, seen by clients of other makers: aiomqtt (paho) speaking MQTT 5."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiomqtt
import mqtt5
import pytest

from hil.site.broker import EmbeddedBroker
from hil.site.mqtt_translation import MAX_PACKET

LIMIT_S = 30


def client(broker: EmbeddedBroker, name: str, **options: object) -> aiomqtt.Client:
    return aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        identifier=name,
        protocol=aiomqtt.ProtocolVersion.V5,
        **options,  # type: ignore[arg-type] # the options of one test, as aiomqtt names them
    )


@asynccontextmanager
async def deadline() -> AsyncIterator[None]:
    async with asyncio.timeout(LIMIT_S):
        yield


async def test_qos_1_both_ways_and_bytes_unaltered() -> None:
    payloads = [bytes(range(256)), b"", b"\x00" * 100_000]

    async with (
        deadline(),
        EmbeddedBroker() as broker,
        client(broker, "gateway") as gateway,
        client(broker, "collector") as collector,
    ):
        await collector.subscribe("tianfu/+/batch/#", qos=1)
        await gateway.subscribe("tianfu/g/receipt/#", qos=1)
        seen = []
        for payload in payloads:
            await gateway.publish("tianfu/g/batch/1", payload, qos=1)
            message = await anext(aiter(collector.messages))
            seen.append((str(message.topic), bytes(message.payload), message.qos))
            receipt = hashlib.sha256(message.payload).digest()
            await collector.publish("tianfu/g/receipt/1", receipt, qos=1)
            answer = await anext(aiter(gateway.messages))
            assert answer.payload == hashlib.sha256(payload).digest()
        assert broker.connections == 2
        assert broker.rejected == 0
        assert seen == [("tianfu/g/batch/1", payload, 1) for payload in payloads]


@pytest.mark.parametrize("qos", [0, 2])
async def test_other_qualities_of_service_arrive_too(qos: int) -> None:
    async with deadline(), EmbeddedBroker() as broker, client(broker, "one") as one:
        await one.subscribe("t", qos=qos)
        await one.publish("t", b"once", qos=qos)
        assert (await anext(aiter(one.messages))).payload == b"once"


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes
) -> mqtt5.Packet:
    """Send one packet; the next one that comes."""
    writer.write(data)
    packet, _ = mqtt5.read(memoryview(await reader.read(1000)))
    return packet


async def test_unsubscribe_of_two_filters_is_acknowledged_for_each() -> None:
    async with deadline(), EmbeddedBroker() as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        connect = mqtt5.ConnectPacket("one", clean_start=True)
        await exchange(reader, writer, connect.write())
        filters = [mqtt5.TopicFilter(name, max_qos=mqtt5.QoS(1)) for name in "abc"]
        answer = await exchange(reader, writer, mqtt5.SubscribePacket(7, filters).write())
        assert isinstance(answer, mqtt5.SubAckPacket)
        assert (answer.packet_id, [int(code) for code in answer.reason_codes]) == (7, [1, 1, 1])
        answer = await exchange(reader, writer, mqtt5.UnsubscribePacket(8, ["a", "b"]).write())
        assert isinstance(answer, mqtt5.UnsubAckPacket)
        assert (answer.packet_id, len(answer.reason_codes)) == (8, 2)
        async with client(broker, "two") as two:
            await two.publish("a", b"not for me", qos=1)
            await two.publish("c", b"for me", qos=1)
        message, _ = mqtt5.read(memoryview(await reader.read(1000)))
        assert isinstance(message, mqtt5.PublishPacket)
        assert (message.topic, message.payload) == ("c", b"for me")
        writer.close()


async def test_broker_that_comes_back_is_empty_and_on_the_same_port() -> None:
    async with deadline(), EmbeddedBroker() as broker:
        port = broker.port
        async with client(broker, "one") as one:
            await one.publish("t", b"kept", qos=1, retain=True)
        await broker.stop()
        with pytest.raises(aiomqtt.MqttError):
            async with client(broker, "one"):
                pass
        await broker.start()
        assert broker.port == port
        async with client(broker, "one") as one:
            await one.subscribe("#", qos=1)
            await one.publish("t", b"new", qos=1)
            assert (await anext(aiter(one.messages))).payload == b"new"


async def test_will_of_a_client_that_vanishes() -> None:
    async with deadline(), EmbeddedBroker() as broker, client(broker, "watcher") as watcher:
        await watcher.subscribe("gone", qos=1)
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        will = mqtt5.Will("gone", payload=b"node", qos=mqtt5.QoS.AT_LEAST_ONCE)
        writer.write(mqtt5.ConnectPacket("frail", clean_start=True, will=will).write())
        answer = await reader.read(100)
        packet, _ = mqtt5.read(memoryview(answer))
        assert isinstance(packet, mqtt5.ConnAckPacket)
        assert packet.max_packet_size == MAX_PACKET
        assert not packet.shared_subscription_available
        writer.close()
        assert (await anext(aiter(watcher.messages))).payload == b"node"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        mqtt5.PingReqPacket().write(),
        b"\x10\xff\xff\xff\x7f",  # CONNECT of 256 MiB
        bytes.fromhex("100c00044d5154540402003c0000"),  # MQTT 3.1.1
    ],
)
async def test_what_is_not_mqtt_5_is_counted_and_the_broker_serves_on(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is refused at once, not when its CONNECT is overdue.
    monkeypatch.setattr("hil.site.broker._CONNECT_TIMEOUT_S", 2 * LIMIT_S)
    async with deadline(), EmbeddedBroker() as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(data)
        assert await reader.read() == b""
        writer.close()
        assert broker.rejected == 1
        async with client(broker, "one") as one:
            await one.subscribe("t", qos=1)
            await one.publish("t", b"on", qos=1)
            assert (await anext(aiter(one.messages))).payload == b"on"
