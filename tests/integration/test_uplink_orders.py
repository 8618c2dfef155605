"""Orders on the connection of the uplink: what they must not cost the readings."""

import asyncio
from pathlib import Path

import pytest

from gateway_agent.commands.orders import Reply
from gateway_agent.keys import load_private, load_public, public_path
from gateway_agent.uplink.mqtt import Uplink, UplinkKeys
from tests.integration.test_uplink_limit import Flood, flooding
from tests.integration.uplink_help import Site, running
from tests.unit.gateway_agent.slave import until
from tests.unit.gateway_agent.store_help import GATEWAY, records


class Inbox:
    """Takes what comes on the topic of orders."""

    is_open = True

    def __init__(self) -> None:
        self.replies: asyncio.Queue[Reply] = asyncio.Queue()
        self.taken: list[bytes] = []

    def take(self, payload: bytes) -> None:
        self.taken.append(payload)


class NoOrders(Flood):
    """A broker that lets the gateway read receipts, and not orders; it counts batches."""

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self.batches = 0
        self.refused = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        refusal = {"3.1.1": b"\x80", "5": b"\x87"}[self.version]
        try:
            while True:
                kind, body = await self._any(reader)
                if kind == 0x10:
                    writer.write(self._answer(0x20, b"\x00\x00" + self.properties))
                elif kind == 0x82:
                    is_order = b"/order/" in body
                    self.refused += is_order
                    code = refusal if is_order else b"\x01"
                    writer.write(self._answer(0x90, body[:2] + self.properties + code))
                elif kind & 0xF0 == 0x30:
                    self.batches += 1
        except (ConnectionError, asyncio.IncompleteReadError):
            self.cut_off += 1
        finally:
            writer.transport.abort()

    async def _any(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        kind = (await reader.readexactly(1))[0]
        size = shift = 0
        while True:
            byte = (await reader.readexactly(1))[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return kind, await reader.readexactly(size)


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_a_broker_that_lets_nobody_read_orders_stops_no_reading(
    tmp_path: Path, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with flooding(version, NoOrders) as (broker, port):
        assert isinstance(broker, NoOrders)
        site = Site(tmp_path, port)
        async with site.outbox() as outbox:
            keys = UplinkKeys(
                load_private(site.gateway_key), load_public(public_path(site.collector_key))
            )
            config = site.uplink_config(version=version)
            uplink = Uplink(config, GATEWAY, keys, outbox, site.counters, orders=Inbox())
            async with running(uplink.run()):
                await outbox.put(records(1, 3), {})
                await until(lambda: broker.batches)
                assert uplink.connected
                assert broker.refused == 1
    assert (
        "no orders come: the broker refused the subscription to tianfu/gw-1/order/+" in caplog.text
    )
