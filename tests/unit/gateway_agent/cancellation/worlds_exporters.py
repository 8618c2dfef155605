"""The exporters that are swept, each with a platform that is callbacks of the loop alone."""

import asyncio
import json
import re
import sqlite3
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

from gateway_agent.commands.command import RunCommand, no_commands
from gateway_agent.config_types import MqttConnection
from gateway_agent.counters import Counters
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.settings import StoreContext, StoreSettings
from gateway_agent.store.writer import OutboxWriter
from gateway_agent.uplink.cloud_login import OneNetAccount
from gateway_agent.uplink.csv.config import CsvUplink
from gateway_agent.uplink.export_task import Exporters
from gateway_agent.uplink.exporter_config import ExporterConfig
from gateway_agent.uplink.feed import ExportContext
from gateway_agent.uplink.hj212.config import Hj212Uplink
from gateway_agent.uplink.influxdb.config import InfluxUplink
from gateway_agent.uplink.mqtt_json.config import JsonUplink
from gateway_agent.uplink.sl651.config import Sl651Uplink, StationElement, StationOfDevice
from gateway_agent.uplink.sparkplug.config import SparkplugUplink
from hil.platform.hj212_platform import annex_a
from hil.platform.sl651_centre import Sl651Centre
from protocols.uplink.hj212 import data_time
from tests.unit.gateway_agent.exporters.export_world import DEVICE, KEY, sample
from tests.unit.gateway_agent.store_help import GATEWAY

from .peers import ANSWER_S, Broker, Link, LoopClock, Server
from .worlds import Actor

EVERY_S = 10  # between two samples
SAMPLES = 13  # of two minutes and the first of the third
MN = "010000A8900016F000169DC0"
PROFILE = (
    'title = "q"\ntitle_zh = "q"\nsources = ["this test"]\nsends = ["2051"]\nover_time_s = 2\n'
)
_QN = re.compile(rb"QN=(\d+);.*?CN=(\d+);")


class Platform(Server):
    """Answers each whole message at once, but for the second: there it breaks the connection.

    ``answer`` returns what was received as a key, the answer, and how long the message was.
    """

    def __init__(self, answer: Callable[[bytes], tuple[object, bytes, int] | None]) -> None:
        super().__init__()
        self.answer = answer
        self.answer_s = ANSWER_S
        self.got: set[object] = set()
        self.count = 0

    async def start(self) -> "Platform":
        await self.listen(lambda: _PlatformLink(self))
        return self


class _PlatformLink(Link):
    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self._platform = platform

    def data_received(self, data: bytes) -> None:
        platform = self._platform
        self._rest += data
        while (found := platform.answer(self._rest)) is not None:
            key, answer, size = found
            self._rest = self._rest[size:]
            platform.count += 1
            if platform.count == 2:
                self.transport.abort()
                return
            platform.got.add(key)
            if platform.answer_s:
                self.later(answer)
            else:
                self.transport.write(answer)  # a thread waits, and virtual time does not pass


def _hj212(data: bytes) -> tuple[object, bytes, int] | None:
    if len(data) < 6 or len(data) < (size := int(data[2:6]) + 12):
        return None
    number = _QN.search(data[:size])
    assert number is not None
    segment = b"QN=%b;ST=91;CN=9014;PW=123456;MN=%b;Flag=4;CP=&&&&" % (number[1], MN.encode())
    answer = b"##%04d%b%b\r\n" % (len(segment), segment, annex_a(segment))
    time = re.search(rb"DataTime=(\d+)", data[:size])
    return (number[2].decode(), time[1] if time else b""), answer, size


def _sl651(data: bytes) -> tuple[object, bytes, int] | None:
    if len(data) < 14 or len(data) < (size := 17 + int(data[11:13].hex()[1:], 16)):
        return None
    serial = int.from_bytes(data[14:16], "big")
    confirm = Sl651Centre()._frame(data[3:8].hex(), "01", "0000", data[10], serial, 0x1B)
    return serial, confirm, size


def _influxdb(data: bytes) -> tuple[object, bytes, int] | None:
    head, mark, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    if not mark or length is None or len(body) < int(length[1]):
        return None
    seqs = frozenset(re.findall(rb"seq=(\d+)i", body))
    return seqs, b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", len(data)


@asynccontextmanager
async def exporting(
    folder: Path,
    config: ExporterConfig,
    peer: Broker | Platform | None,
    has_all: Callable[[], int],
    is_done: Callable[[], bool] = lambda: True,
    first_s: int = 0,
    command: RunCommand = no_commands,
) -> AsyncIterator[Actor]:
    """Run one exporter; ``has_all``: up to which record the other end has everything.

    The first sample is ``first_s`` seconds behind WALL_MS.
    """
    clock = LoopClock()
    context = StoreContext(StoreSettings(folder / "state", GATEWAY), clock, Counters())
    outbox = OutboxWriter(Outbox.open(context))
    outbox.start()
    await outbox.attach([config.label], [config.label])
    await outbox.put([sample(first_s + EVERY_S * number) for number in range(SAMPLES)], {})
    export = ExportContext(
        GATEWAY, clock, folder / "state", {DEVICE.id: DEVICE}, KEY, command=command
    )
    exporters = Exporters([config], export, 1 << 30)
    actor = Actor(lambda: exporters.run(outbox), *([peer] if peer is not None else []))

    def look() -> None:
        if outbox.cursors[config.label].to == SAMPLES and is_done():
            actor.finish()
        else:
            loop.call_later(0.5, look)

    def check() -> None:
        cursor = outbox.cursors[config.label]
        assert cursor.to <= has_all(), "the place is beyond what the platform has"
        assert not cursor.losses

    loop = asyncio.get_running_loop()
    loop.call_later(0.5, look)
    actor.checks.append(check)
    try:
        yield actor
    finally:
        if peer is not None:
            peer.close()
        await outbox.close()


@asynccontextmanager
async def hj212(folder: Path) -> AsyncIterator[Actor]:
    """Three minutes to a platform of HJ 212; an open one is in a file."""
    (folder / "q.toml").write_text(PROFILE, encoding="utf-8")
    platform = await Platform(_hj212).start()
    config = Hj212Uplink(
        host="127.0.0.1",
        port=platform.port,
        mn=MN,
        profile=str(folder / "q.toml"),
        points={"hall/temperature": "a01001"},
        minutes=1,
        late_s=0,
        latency_ms=0,
    )

    def has_all() -> int:
        path = folder / "state" / "hj212-hj212.db"
        if not path.exists():
            return 0
        kept = set()
        with closing(sqlite3.connect(path)) as database:
            for start_ms, sent, ranges in database.execute(
                "SELECT start_ms, sent, ranges FROM period"
            ).fetchall():
                time = data_time(start_ms).encode()
                assert sent < 0 or ("2051", time) in platform.got, f"{time!r} was never there"
                kept |= {seq for _, first, last in json.loads(ranges) for seq in (first, last)}
        return max(kept, default=0)

    minutes = {("2051", f"2025100916{n}00".encode()) for n in (53, 54, 55)}
    async with exporting(
        folder, config, platform, has_all, lambda: platform.got >= minutes
    ) as actor:
        yield actor


@asynccontextmanager
async def sl651(folder: Path) -> AsyncIterator[Actor]:
    """Three minutes to a centre of SL 651; their last samples are the fourth, tenth and last."""
    centre = await Platform(_sl651).start()
    element = StationElement(code="02", point="temperature")
    station = StationOfDevice(device="hall", address="0012345678", element=(element,))
    config = Sl651Uplink(
        host="127.0.0.1",
        port=centre.port,
        report_min=1,
        answer_ms=1000,
        latency_ms=0,
        station=(station,),
    )
    ends = {0: 5, 4: 11, 10: SAMPLES + 1}  # before which number is the report with which serial

    def has_all() -> int:
        return min((to for to, serial in ends.items() if serial not in centre.got), default=SAMPLES)

    async with exporting(folder, config, centre, has_all) as actor:
        yield actor


def contiguous(seqs: set[int]) -> int:
    """Return up to which number all are there, from 1 on."""
    return next(number for number in range(SAMPLES + 1) if number + 1 not in seqs)


@asynccontextmanager
async def influxdb(folder: Path) -> AsyncIterator[Actor]:
    """Requests of five records to a database, each in a thread."""
    database = await Platform(_influxdb).start()
    database.answer_s = 0.0
    url = f"http://127.0.0.1:{database.port}/write?db=x"
    config = InfluxUplink(url=url, latency_ms=0, batch_records=5)

    def has_all() -> int:
        seqs = {int(seq) for key in database.got if isinstance(key, frozenset) for seq in key}
        return contiguous(seqs)

    async with exporting(folder, config, database, has_all) as actor:
        yield actor


@asynccontextmanager
async def csv(folder: Path) -> AsyncIterator[Actor]:
    """Rows in a file, and the file's end: its day is over."""
    config = CsvUplink(folder=folder / "files", latency_ms=0, batch_records=5)

    def has_all() -> int:
        lines = [line for file in (folder / "files").glob("*.csv*") for line in _lines(file)]
        seqs = [int(line.rpartition(b",")[2]) for line in lines]
        assert len(seqs) == len(set(seqs)) * 2, "two points of each record, once"
        return contiguous(set(seqs))

    async with exporting(folder, config, None, has_all) as actor:
        yield actor


def _lines(file: Path) -> list[bytes]:
    return [line for line in file.read_bytes().split(b"\r\n")[1:-1] if file.suffix != ".json"]


def mqtt(broker: Broker) -> MqttConnection:
    return MqttConnection(host="127.0.0.1", port=broker.port, version="3.1.1")


@asynccontextmanager
async def mqtt_json(folder: Path) -> AsyncIterator[Actor]:
    """A message for each record, with QoS 1."""
    broker = await Broker(drops=[2]).start()
    config = JsonUplink(broker=mqtt(broker), latency_ms=0, batch_records=5, topic="t")

    def has_all() -> int:
        return contiguous({json.loads(payload)["seq"] for _, payload in broker.messages})

    async with exporting(folder, config, broker, has_all) as actor:
        yield actor


@asynccontextmanager
async def sparkplug(folder: Path) -> AsyncIterator[Actor]:
    """Births and data with QoS 0; a subscription says that they arrived."""
    broker = await Broker(drops=[4]).start()
    config = SparkplugUplink(broker=mqtt(broker), group="g", latency_ms=0, batch_records=5)

    def has_all() -> int:
        joined = b"".join(payload for topic, payload in broker.messages if "/DDATA/" in topic)
        co2 = (struct.pack("<d", float(EVERY_S * number)) for number in range(SAMPLES))
        return contiguous({seq for seq, value in enumerate(co2, 1) if value in joined})

    async with exporting(folder, config, broker, has_all) as actor:
        yield actor


@asynccontextmanager
async def cloud(folder: Path) -> AsyncIterator[Actor]:
    """Posts to a cloud, which answers each behind the PUBACK; that is the delivery."""
    broker, answered = await Broker(drops=[3]).start(), set[int]()

    def answer(message: tuple[str, bytes]) -> list[tuple[str, bytes]]:
        topic, payload = message
        identifier = json.loads(payload)["id"]
        answered.add(int(identifier))
        return [(f"{topic}/reply", json.dumps({"id": identifier, "code": 200}).encode())]

    broker.on_message = answer
    secret = folder / "secret"
    secret.touch(0o600)
    secret.write_text("MDEyMzQ1Njc4OWFiY2RlZg==", encoding="utf-8")
    login = OneNetAccount(product_id="P", device_name="d", secret_file=secret)
    config = JsonUplink(
        broker=mqtt(broker), latency_ms=0, batch_records=5, format="thing", login=login
    )
    async with exporting(folder, config, broker, lambda: contiguous(answered)) as actor:
        yield actor
