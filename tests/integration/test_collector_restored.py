"""A collector whose database goes back: delivery goes on, and exactly what is gone is a gap."""

import re
import shutil
from pathlib import Path

import pytest

from gateway_agent.store.writer import OutboxWriter
from gateway_agent.uplink import topics
from gateway_agent.uplink.mqtt import Uplink
from hil.site.mosquitto import MosquittoBroker
from tests.integration.uplink_help import Site, publish
from tests.promise.site import until
from tests.unit.gateway_agent.store_help import GATEWAY, records

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]


def images(site: Site) -> dict[str, bytes]:
    """The files of the database, as a backup would have them."""
    return {path.name: path.read_bytes() for path in site.root.glob("collector.db*")}


def restore(site: Site, files: dict[str, bytes]) -> None:
    for path in [*site.root.glob("collector.*"), *site.root.glob("collector.db*")]:
        if path.is_dir():  # the archive is lost with it: it would bring the batches back
            shutil.rmtree(path)
            continue
        if path.suffix not in (".pem", ".pub"):
            path.unlink(missing_ok=True)
    for name, data in files.items():
        (site.root / name).write_bytes(data)


@pytest.mark.parametrize("kind", ["backup", "nothing", "flipped log"])
@pytest.mark.parametrize("restarted", [False, True])
async def test_delivery_goes_on_and_what_is_gone_is_named(
    broker: MosquittoBroker, tmp_path: Path, kind: str, restarted: bool
) -> None:
    site = Site(tmp_path, broker.port)
    async with site.outbox() as outbox, site.uplink(outbox, retry_ms=200) as uplink:
        stream = outbox.stats.stream
        async with site.collector():
            await outbox.put(records(1, 20), {})
            await until(lambda: outbox.stats.depth == 0, "receipted")
        backup = images(site)
        async with site.collector() as service:
            await outbox.put(records(21, 30), {})
            await until(lambda: outbox.stats.depth == 0, "receipted")
            torn = images(site)  # as SIGKILL would leave them
            assert service.connected.is_set()
        if kind == "flipped log":
            data = bytearray(torn["collector.db-wal"])
            data[-4096 * 3] ^= 1
            restore(site, torn | {"collector.db-wal": bytes(data)})
        else:
            restore(site, backup if kind == "backup" else {})
        if not restarted:
            await _goes_on(site, outbox, uplink, stream)
    if restarted:
        async with site.outbox() as outbox, site.uplink(outbox, retry_ms=200) as uplink:
            await _goes_on(site, outbox, uplink, stream)
    ((first, last),) = site.rows("SELECT first, last FROM gaps WHERE cause = 'db_truncated'")
    assert isinstance(first, int)
    assert last == 50
    begins = {"backup": (21,), "nothing": (1,), "flipped log": range(2, 51)}
    assert first in begins[kind]
    gone = range(first, 51)
    assert site.stored() == [number for number in range(1, 71) if number not in gone]


async def _goes_on(site: Site, outbox: OutboxWriter, uplink: Uplink, stream: int) -> None:
    async with site.collector():
        await outbox.put(records(51, 20), {})
        await until(
            lambda: outbox.stats.stream != stream and outbox.stats.depth == 0,
            "everything receipted in a new stream",
        )
    (alarm,) = uplink.alarms
    assert "went back" in alarm
    assert "to 50 are missing" in alarm


async def test_a_fork_is_answered_even_if_no_receipt_is_retained(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """A gateway with a restored disk at the same length finds out without retained receipts."""
    site = Site(tmp_path, broker.port)
    async with site.outbox() as outbox:
        await outbox.put(records(1, 5), {})
        stream = outbox.stats.stream
    image = site.disk_image()
    async with site.collector():
        async with site.outbox() as outbox, site.uplink(outbox):
            await outbox.put(records(6, 5), {})
            await until(lambda: outbox.stats.depth == 0, "receipted")
        site.restore_disk(image)
        await publish(broker.port, topics.receipt_topic(GATEWAY, stream), b"", retain=True)
        async with site.outbox() as outbox, site.uplink(outbox, retry_ms=200) as uplink:
            await outbox.put(records(11, 9), {})
            await until(
                lambda: outbox.stats.stream != stream and outbox.stats.depth == 0,
                "everything receipted in a new stream",
            )
            assert len(uplink.alarms) == 1
    assert site.stored() == list(range(1, 20))


@pytest.mark.parametrize("kind", ["backup", "nothing"])
async def test_a_gateway_that_goes_by_puback_goes_on_too(
    broker: MosquittoBroker, tmp_path: Path, kind: str
) -> None:
    """It hears of nothing; the collector names what the gateway has forgotten."""
    site = Site(tmp_path, broker.port)
    async with site.outbox() as outbox, site.uplink(outbox, receipt="puback"):
        async with site.collector():
            await outbox.put(records(1, 20), {})
            await until(lambda: len(site.stored()) == 20, "stored")
        backup = images(site)
        async with site.collector():
            await outbox.put(records(21, 30), {})
            await until(lambda: len(site.stored()) == 50, "stored")
        restore(site, backup if kind == "backup" else {})
        async with site.collector() as service:
            await outbox.put(records(51, 20), {})
            first = 21 if kind == "backup" else 1
            expected = [n for n in range(1, 71) if not first <= n <= 50]
            await until(lambda: site.stored() == expected, "the rest stored")
            alarms = service.snapshot().alarms
    assert any(f"records {first} to 50" in alarm and "PUBACK" in alarm for alarm in alarms)
    assert site.rows("SELECT cause, first, last FROM gaps") == [("db_truncated", first, 50)]


@pytest.mark.parametrize("kind", ["same backup", "older backup", "nothing"])
async def test_two_rollbacks_with_a_new_stream_in_between(
    broker: MosquittoBroker, tmp_path: Path, kind: str
) -> None:
    site = Site(tmp_path, broker.port)
    async with site.outbox() as outbox, site.uplink(outbox, retry_ms=200) as uplink:

        async def deliver(first: int, count: int) -> int:
            """Put and deliver records; return the stream in which they arrived."""
            async with site.collector():
                await outbox.put(records(first, count), {})
                await until(lambda: outbox.stats.depth == 0, "receipted")
            return outbox.stats.stream

        await deliver(1, 5)
        older = images(site)
        await deliver(6, 15)
        backup = images(site)
        one = await deliver(21, 30)
        restore(site, backup)
        two = await deliver(51, 10)
        assert site.rows("SELECT first, last FROM gaps") == [(21, 50)]
        restore(site, {"same backup": backup, "older backup": older, "nothing": {}}[kind])
        three = await deliver(61, 10)
        assert len({one, two, three}) == 3
        assert len(uplink.alarms) == 2
    begin = {"same backup": 21, "older backup": 6, "nothing": 1}[kind]
    named = {
        (stream, first, last)
        for stream, first, last in map(_named, site.rows("SELECT detail FROM gaps"))
    }
    assert named == {(one, begin, 50), (two, 1, 11)}
    assert site.stored() == [*range(1, begin), *range(61, 71)]


def _named(row: tuple[object, ...]) -> tuple[int, int, int]:
    found = re.search(r"stream (\d+) records (\d+) to (\d+)", str(row[0]))
    assert found is not None, row
    stream, first, last = map(int, found.groups())
    return stream, first, last
