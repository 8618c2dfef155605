"""A collector that goes back again and again: what is gone is named, across changes of the stream.

Gateway and collector are real, without a broker between them. The test notes under which number of
which stream each record was taken, and compares that with the database at the end.
"""

import random
import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.collector.audit import Audit
from gateway_agent.collector.audit_tables import open_for_audit
from gateway_agent.collector.database import Database
from gateway_agent.collector.receiver import ACCEPTED, BatchReceiver
from gateway_agent.counters import Counters
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.settings import StoreContext, StoreSettings
from gateway_agent.store.window import Slice
from gateway_agent.store.writer import OutboxWriter
from gateway_agent.uplink import topics
from gateway_agent.uplink.receipts import ReceiptReader
from protocols.uplink import build_batch, decode_record, key_id
from tests.unit.gateway_agent.store_help import GATEWAY, StillClock, records

GATEWAY_KEY = Ed25519PrivateKey.from_private_bytes(b"g" * 32)
COLLECTOR_KEY = Ed25519PrivateKey.from_private_bytes(b"c" * 32)
NAMED = re.compile(r"stream (\d+) records (\d+) to (\d+)")


class Pair:
    """A gateway's outbox and a collector's database, with every place that was ever taken."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.places: dict[int, set[tuple[int, int]]] = {}  # of the record with this first value
        self.images: list[dict[str, bytes]] = []
        self.number = self.server_ms = 0
        (root / "collector").mkdir()
        self.open_collector()
        self.clock = StillClock()
        self.open_gateway()

    def open_gateway(self, state: str = "state") -> None:
        settings = StoreSettings(self.root / state, GATEWAY)
        self.outbox = OutboxWriter(Outbox.open(StoreContext(settings, self.clock, Counters())))
        self.outbox.start()
        self.receipts = ReceiptReader(
            GATEWAY, COLLECTOR_KEY.public_key(), self.outbox, Counters(), lambda: 0.0
        )

    def open_collector(self) -> None:
        self.database = Database(self.root / "collector" / "collector.db")
        public = GATEWAY_KEY.public_key()
        self.receiver = BatchReceiver(
            self.database, COLLECTOR_KEY, {GATEWAY: {key_id(public): public}}, {},
            self.root / "quarantine", self._now_ms,
        )  # fmt: skip

    def _now_ms(self) -> int:
        self.server_ms += 1
        return 1_760_000_000_000 + self.server_ms

    async def put(self, count: int) -> None:
        await self.outbox.put(records(self.number + 1, count), {})
        self.number += count

    async def send(self, size: int = 7) -> bool:
        """Send one batch and take the answer; return whether there was one to send."""
        stats = self.outbox.stats
        piece = await self.outbox.slice(stats.receipted_to, size, 1 << 20)
        if piece is None:
            return False
        data = build_batch(
            gateway=GATEWAY, key_epoch=0, stream=piece.stream, first=piece.first, prev=piece.prev,
            anchor=piece.anchor, records=[record.data for record in piece.records],
            key=GATEWAY_KEY, compress=False, earlier=piece.earlier,
        )  # fmt: skip
        outcome = self.receiver.receive(data, GATEWAY)
        assert outcome.receipt is not None, outcome
        if outcome.verdict == ACCEPTED:
            self._note(piece)
        topic = topics.receipt_topic(GATEWAY, outcome.stream)
        await self.receipts.take(topic, outcome.receipt, True)
        return True

    def _note(self, piece: Slice) -> None:
        for seq, record in enumerate(piece.records, piece.first):
            decoded = decode_record(record.data)
            if decoded.values:
                value = round(10 * float(decoded.values[0].value))
                self.places.setdefault(value, set()).add((piece.stream, seq))

    async def deliver(self) -> None:
        """Send until all is receipted."""
        for _ in range(1000):
            if not await self.send():
                return
        raise AssertionError("it never ends")

    def backup(self) -> int:
        """Keep an image of the collector; its number."""
        self.database.close()
        directory = self.root / "collector"
        self.images.append({path.name: path.read_bytes() for path in directory.iterdir()})
        self.open_collector()
        return len(self.images) - 1

    def restore(self, image: int | None) -> None:
        """Put an image in the collector's place; None deletes the database."""
        self.database.close()
        for path in (self.root / "collector").iterdir():
            path.unlink()
        for name, data in ({} if image is None else self.images[image]).items():
            (self.root / "collector" / name).write_bytes(data)
        self.open_collector()

    def check(self) -> list[tuple[int, int, int]]:
        """Every record is stored once or in one named range; return these ranges."""
        path = self.root / "collector" / "collector.db"
        connection = sqlite3.connect(path)
        stored = connection.execute(
            "SELECT value, stream, seq FROM readings JOIN points ON points.id = point_id"
            " JOIN streams ON streams.id = stream_id WHERE name = 'p0'"
        ).fetchall()
        details = connection.execute("SELECT detail FROM gaps").fetchall()
        connection.close()
        named = []
        for (detail,) in details:
            found = NAMED.search(detail)
            if found is not None:
                stream, first, last = map(int, found.groups())
                named.append((stream, first, last))
        numbers = [round(10 * float(value)) for value, _, _ in stored]
        assert len(numbers) == len(set(numbers)), "stored twice"
        for _, stream, seq in stored:
            assert not [one for one in named if one[0] == stream and one[1] <= seq <= one[2]]
        for number in set(range(1, self.number + 1)) - set(numbers):
            ranges = [
                one
                for one in named
                for stream, seq in self.places[number]
                if one[0] == stream and one[1] <= seq <= one[2]
            ]
            assert len(ranges) == 1, (number, self.places[number], named)
        audited = open_for_audit(path)
        assert list(Audit(audited).run()) == []
        audited.close()
        return named


async def test_the_collector_goes_back_to_the_same_backup_twice(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    await pair.put(20)
    await pair.deliver()
    first = pair.outbox.stats.stream
    image = pair.backup()
    await pair.put(30)
    await pair.deliver()
    pair.restore(image)
    await pair.put(10)
    await pair.deliver()
    second = pair.outbox.stats.stream
    assert pair.check() == [(first, 21, 50)]
    pair.restore(image)  # the gap is gone with the stream that had it
    await pair.put(10)
    await pair.deliver()
    assert sorted(pair.check()) == [(first, 21, 50), (second, 1, 11)]
    assert any(f"records 21 to 50 of stream {first}" in text for text in pair.receiver.alarms)
    assert any("went back" in text for text in pair.receipts.alarms)
    await pair.outbox.close()
    pair.database.close()


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_a_backup_is_older_than_the_stream_before(tmp_path: Path, is_deleted: bool) -> None:
    pair = Pair(tmp_path)
    await pair.put(5)
    await pair.deliver()
    first = pair.outbox.stats.stream
    oldest = None if is_deleted else pair.backup()
    await pair.put(15)
    await pair.deliver()
    newer = pair.backup()
    await pair.put(30)
    await pair.deliver()
    pair.restore(newer)
    await pair.put(10)
    await pair.deliver()
    pair.restore(oldest)
    await pair.put(10)
    await pair.deliver()
    begin = 1 if is_deleted else 6
    assert (first, begin, 50) in pair.check()
    await pair.outbox.close()
    pair.database.close()


async def test_it_goes_back_before_the_new_stream_has_a_receipt(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    await pair.put(5)
    await pair.deliver()
    oldest = pair.backup()
    await pair.put(15)
    await pair.deliver()
    first, newer = pair.outbox.stats.stream, pair.backup()
    await pair.put(30)
    await pair.deliver()
    pair.restore(newer)
    await pair.put(5)
    while pair.outbox.stats.stream == first:
        await pair.send()
    pair.restore(oldest)
    await pair.deliver()
    assert sorted(pair.check()) == [(first, 6, 20), (first, 21, 50)]
    await pair.outbox.close()
    pair.database.close()


async def test_what_a_gateway_has_left_is_kept_over_a_restart(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    await pair.put(20)
    await pair.deliver()
    first = pair.outbox.stats.stream
    image = pair.backup()
    await pair.put(10)
    await pair.deliver()
    pair.restore(image)
    await pair.put(1)
    await pair.deliver()
    await pair.outbox.close()
    pair.open_gateway()
    pair.restore(image)
    await pair.put(1)
    await pair.deliver()
    assert (first, 21, 30) in pair.check()
    await pair.outbox.close()
    pair.database.close()


async def test_a_restored_gateway_has_seen_how_far_the_collector_was(
    tmp_path: Path,
) -> None:
    """Backups of both sides, of different days."""
    pair = Pair(tmp_path)
    await pair.put(10)
    await pair.deliver()
    await pair.outbox.close()
    state = {p.name: p.read_bytes() for p in (pair.root / "state").iterdir() if p.is_file()}
    pair.open_gateway()
    await pair.put(10)
    await pair.deliver()
    first, image = pair.outbox.stats.stream, pair.backup()
    await pair.put(10)
    await pair.deliver()
    await pair.outbox.close()
    for name, data in state.items():
        (pair.root / "state" / name).write_bytes(data)
    pair.open_gateway()  # at record 10, the collector at 30
    await pair.put(3)
    await pair.deliver()
    assert pair.outbox.stats.stream != first
    pair.restore(image)  # at 20: 21 to 30 are nowhere any more
    await pair.put(3)
    await pair.deliver()
    assert (first, 21, 30) in pair.check()
    await pair.outbox.close()
    pair.database.close()


async def test_a_gateway_whose_state_was_deleted_is_an_alarm(tmp_path: Path) -> None:
    """What waited in it is known to nobody; that it is so must be known to the operator."""
    pair = Pair(tmp_path)
    await pair.put(20)
    await pair.deliver()
    first = pair.outbox.stats.stream
    await pair.put(5)
    await pair.outbox.close()
    assert pair.receiver.alarms == []
    for path in (tmp_path / "state").iterdir():
        path.unlink()
    pair.open_gateway()
    pair.number = 30
    await pair.put(3)
    await pair.deliver()
    (alarm,) = pair.receiver.alarms
    assert f"here is stream {first} up to record 20" in alarm
    await pair.put(3)
    await pair.deliver()
    assert len(pair.receiver.alarms) == 1
    await pair.outbox.close()
    pair.database.close()


async def test_two_gateways_with_one_id_lose_nothing(tmp_path: Path) -> None:
    """A copied disk: both write, in turns, while the collector goes back as well."""
    pair = Pair(tmp_path)
    await pair.put(10)
    await pair.deliver()
    await pair.outbox.close()
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    image = pair.backup()
    for turn in range(6):
        pair.open_gateway("state" if turn % 2 else "copy")
        await pair.put(5)
        await pair.deliver()
        await pair.outbox.close()
        if turn == 3:
            pair.check()
            pair.restore(image)
    pair.check()
    pair.database.close()


@pytest.mark.parametrize("seed", range(12))
async def test_any_order_of_backups_leaves_nothing_unnamed(tmp_path: Path, seed: int) -> None:
    chooser = random.Random(seed)
    pair = Pair(tmp_path)
    for _ in range(14):
        await pair.put(chooser.randint(1, 12))
        step = chooser.choice(["deliver", "deliver", "some", "backup", "restore", "delete"])
        if step == "deliver":
            await pair.deliver()
        elif step == "some":
            for _ in range(chooser.randint(1, 4)):
                await pair.send(chooser.randint(1, 9))
        elif step == "backup":
            pair.backup()
        elif step == "restore" and pair.images:
            pair.restore(chooser.randrange(len(pair.images)))
        elif step == "delete" and chooser.random() < 0.5:
            pair.restore(None)
        if chooser.random() < 0.2:
            await pair.outbox.close()
            pair.open_gateway()
    await pair.deliver()
    pair.check()
    await pair.outbox.close()
    pair.database.close()
