"""A gateway that starts again, from an older disk or a damaged one: no reading arrives twice."""

from pathlib import Path

import pytest

from hil.site.mosquitto import MosquittoBroker
from tests.integration.uplink_help import Site
from tests.promise.site import until
from tests.unit.gateway_agent.store_help import records

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]


async def test_a_disk_that_was_rolled_back_opens_a_new_stream_and_nothing_is_there_twice(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """The collector has records that the gateway lost: the gateway finds out and records a gap."""
    site = Site(tmp_path, broker.port)
    async with site.outbox() as outbox:
        await outbox.put(records(1, 20), {})
        stream = outbox.stats.stream
    image = site.disk_image()
    async with site.collector():
        async with site.outbox() as outbox, site.uplink(outbox):
            await outbox.put(records(21, 20), {})
            await until(lambda: outbox.stats.depth == 0, "receipted")
        site.restore_disk(image)
        async with site.outbox() as outbox, site.uplink(outbox):
            await outbox.put(records(41, 20), {})
            await until(
                lambda: outbox.stats.stream != stream and outbox.stats.depth == 0,
                "everything receipted in a new stream",
            )
    assert site.counters.receipts_forked == 1
    assert site.counters.gaps == {"db_truncated": 1}
    assert site.stored() == list(range(1, 61))
    assert site.rows("SELECT cause FROM gaps") == [("db_truncated",)]


async def test_a_gateway_that_starts_again_goes_on_after_its_last_receipt(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = Site(tmp_path, broker.port)
    async with site.collector():
        for first in (1, 31, 61):
            async with site.outbox() as outbox, site.uplink(outbox):
                await outbox.put(records(first, 30), {})
                await until(lambda box=outbox: box.stats.depth == 0, "receipted")  # type: ignore[misc] # bound now
    assert site.stored() == list(range(1, 91))
    assert site.rows("SELECT count(*) FROM streams") == [(1,)]
    assert site.counters.batches_resent == 0


async def test_damage_after_delivery_brings_nothing_twice(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """Delivered, not yet receipted, then a flipped bit: what is carried over is recognised."""
    site = Site(tmp_path, broker.port)
    async with site.outbox() as outbox:
        for first in range(1, 31, 5):
            await outbox.put(records(first, 5), {})
    image = site.disk_image()
    async with site.collector():
        async with site.outbox() as outbox, site.uplink(outbox):
            await until(lambda: outbox.stats.depth == 0, "delivered")
        # The receipts never reached the medium, and a bit of record 12 has flipped.
        data = bytearray(image["outbox.db"])
        data[data.index(records(12, 1)[0].data) + 40] ^= 4
        site.restore_disk(image | {"outbox.db": bytes(data)})
        async with site.outbox() as outbox, site.uplink(outbox):
            await outbox.put(records(31, 5), {})
            await until(lambda: outbox.stats.depth == 0, "receipted in the new stream")
    assert site.stored() == list(range(1, 36))
    assert site.rows("SELECT cause, first, last FROM gaps") == [("outbox_damaged", 11, 15)]
    assert site.rows("SELECT value FROM counters WHERE name = 'records_repeated'") == [(25,)]
    assert site.counters.records_salvaged == 25
