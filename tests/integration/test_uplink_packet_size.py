"""A broker that takes small packets only: all that is recorded arrives, in smaller batches.

Some brokers announce the limit (MQTT 5, "Maximum Packet Size"); others end the connection.
"""

from pathlib import Path

import pytest

from hil.site.mosquitto import MosquittoBroker
from tests.integration.uplink_help import QuickTime, Site
from tests.promise.site import until
from tests.unit.gateway_agent.store_help import records

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]
RECORDS = 300
LIMIT = 2000  # bytes; all records together have several times as many


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_backlog_passes_a_broker_of_small_packets(
    version: str, mosquitto_path: Path, tmp_path: Path
) -> None:
    with MosquittoBroker(mosquitto_path, tmp_path / "b", f"max_packet_size {LIMIT}\n") as broker:
        site = Site(tmp_path, broker.port)
        async with site.collector(), site.outbox() as outbox:
            await outbox.put(records(1, RECORDS), {})
            async with site.uplink(
                outbox, QuickTime(), batch_records=RECORDS, version=version, compression="none"
            ):
                await until(lambda: outbox.stats.depth == 0, "receipted in small batches")
    assert site.stored() == list(range(1, RECORDS + 1))
    if version == "5":
        assert site.counters.connects == 1  # the limit was announced: no attempt beyond it


async def test_a_record_that_is_longer_than_the_broker_takes_is_named(
    mosquitto_path: Path, tmp_path: Path
) -> None:
    with MosquittoBroker(mosquitto_path, tmp_path / "b", "max_packet_size 200\n") as broker:
        site = Site(tmp_path, broker.port)
        async with site.outbox() as outbox, site.uplink(outbox, QuickTime()) as uplink:
            await outbox.put(records(1, 30), {})
            await until(lambda: "packets of up to 200 bytes" in uplink.problem, "named")
            assert "copied disk" not in uplink.problem
            assert outbox.stats.depth == 30
