"""Batches follow each other on the wire without waiting, within what broker and window allow.

Counted outside the gateway: by a relay in front of a real mosquitto, and by a peer that speaks the
few packets of MQTT 5.0 itself and answers when the test wants it to.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway_agent.keys import load_private, load_public, public_path
from hil.site.mosquitto import MosquittoBroker
from protocols.uplink import Receipt, open_batch, sign_receipt
from tests.integration.uplink_help import Site
from tests.integration.wire_tap import WireTap, packets, published
from tests.promise.site import until
from tests.unit.gateway_agent.store_help import GATEWAY, records

pytestmark = pytest.mark.timeout(120)
RECEIVE_MAXIMUM = b"\x21"  # MQTT 5.0, 2.2.2.2


class PatientBroker:
    """Takes one client; acknowledges and receipts nothing until it is asked to."""

    def __init__(self, receive_maximum: int) -> None:
        self.posted: list[tuple[bytes, str, bytes]] = []  # not acknowledged
        self.seen = 0
        self._maximum = receive_maximum.to_bytes(2, "big")
        self._writer: asyncio.StreamWriter | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Its port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        buffer = bytearray()
        while data := await reader.read(1 << 16):
            buffer += data
            for first, body in packets(buffer):
                if first >> 4 == 1:
                    properties = RECEIVE_MAXIMUM + self._maximum
                    writer.write(bytes((0x20, 3 + len(properties), 0, 0, len(properties))))
                    writer.write(properties)
                elif first >> 4 == 8:
                    writer.write(b"\x90\x04" + body[:2] + b"\x00\x01")
                elif first >> 4 == 3:
                    self.posted.append(published(body, "5"))
                    self.seen += 1
        writer.transport.abort()

    def acknowledge(self, index: int = 0) -> tuple[str, bytes]:
        """Send the PUBACK of one that has none; return its topic and payload."""
        assert self._writer is not None
        identifier, topic, payload = self.posted.pop(index)
        self._writer.write(b"\x40\x02" + identifier)
        return topic, payload

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a message of QoS 0."""
        assert self._writer is not None
        body = len(topic).to_bytes(2, "big") + topic.encode() + b"\x00" + payload
        assert 128 <= len(body) < 16384
        self._writer.write(bytes((0x30, len(body) & 127 | 128, len(body) >> 7)) + body)


def receipt_for(site: Site, payload: bytes) -> bytes:
    header = open_batch(payload, None).header
    receipt = Receipt(GATEWAY, header.stream, header.last, header.head, 1)
    return sign_receipt(receipt, load_private(site.collector_key))


async def test_no_more_batches_are_on_their_way_than_the_broker_takes(tmp_path: Path) -> None:
    broker = PatientBroker(receive_maximum=3)
    async with broker.running() as port:
        site = Site(tmp_path, port)
        async with site.outbox() as outbox, site.uplink(outbox, retry_ms=60_000):
            await outbox.put(records(1, 200), {})
            await until(lambda: broker.seen == 1, "a batch")
            topic, payload = broker.acknowledge()
            await asyncio.sleep(0.2)
            assert broker.seen == 1, "alone until there is a receipt"
            broker.publish(topic.replace("/batch", "/receipt"), receipt_for(site, payload))
            await until(lambda: broker.seen == 4, "three more, without one PUBACK")
            await asyncio.sleep(0.2)
            assert broker.seen == 4
            broker.acknowledge()
            await until(lambda: broker.seen == 5, "one for each PUBACK")
            await asyncio.sleep(0.2)
            assert broker.seen == 5
            firsts = [open_batch(payload, None).header.first for _, _, payload in broker.posted]
            assert firsts == [21, 31, 41]


async def test_the_window_of_bytes_holds_batches_back(tmp_path: Path) -> None:
    broker = PatientBroker(receive_maximum=100)
    async with broker.running() as port:
        site = Site(tmp_path, port)
        async with (
            site.outbox() as outbox,
            site.uplink(outbox, window_bytes=2048, retry_ms=60_000, compression="none"),
        ):
            await outbox.put(records(1, 200), {})
            await until(lambda: broker.seen == 1, "a batch")
            topic, payload = broker.acknowledge()
            broker.publish(topic.replace("/batch", "/receipt"), receipt_for(site, payload))
            await until(lambda: sum(len(data) for *_, data in broker.posted) >= 2048, "a window")
            await asyncio.sleep(0.2)
            sizes = [len(data) for *_, data in broker.posted]
            assert sum(sizes[:-1]) < 2048 <= sum(sizes)


async def test_a_puback_out_of_order_delivers_nothing_that_has_none(tmp_path: Path) -> None:
    broker = PatientBroker(receive_maximum=100)
    async with broker.running() as port:
        site = Site(tmp_path, port)
        async with site.outbox() as outbox, site.uplink(outbox, receipt="puback"):
            await outbox.put(records(1, 30), {})
            await until(lambda: broker.seen == 3, "all of them")
            broker.acknowledge(2)
            broker.acknowledge(1)
            await asyncio.sleep(0.2)
            assert outbox.stats.depth == 30
            broker.acknowledge()
            await until(lambda: outbox.stats.depth == 0, "delivered")


async def test_a_broker_that_acknowledges_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway_agent.uplink.sender.ANSWER_S", 0.2)
    broker = PatientBroker(receive_maximum=100)
    async with broker.running() as port:
        site = Site(tmp_path, port)
        async with site.outbox() as outbox, site.uplink(outbox) as uplink:
            await outbox.put(records(1, 30), {})
            await until(lambda: "acknowledged no message" in uplink.problem, "named")
            assert site.counters.disconnects == 1


@pytest.mark.mosquitto
@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_no_batch_is_sent_twice_while_connections_live(
    broker: MosquittoBroker, tmp_path: Path, version: str
) -> None:
    site = Site(tmp_path, broker.port)
    key = load_public(public_path(site.collector_key))
    async with WireTap(broker.port, key, version).running() as tap:
        async with site.outbox() as outbox, site.collector(version=version):
            await outbox.put(records(1, 1000), {})
            # The collector takes its batches one by one, more slowly than they come.
            async with site.uplink(outbox, port=tap.port, version=version, batch_records=20):
                for first in range(1001, 2001, 50):
                    await outbox.put(records(first, 50), {})
                await until(lambda: outbox.stats.depth == 0, "receipted")
        assert site.stored() == list(range(1, 2001))
        assert tap.connections == 1
        assert len(tap.batches) >= 100
        assert tap.records_sent_twice() == 0
        assert site.counters.batches_resent == 0
