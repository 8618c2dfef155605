"""The collector's verdict on each kind of message, and what its database then holds."""

import os
import sqlite3
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.collector.database import Database
from gateway_agent.collector.figures import read_figures
from gateway_agent.collector.quarantine import QUARANTINE_BYTES, QUARANTINE_FILES
from gateway_agent.collector.receiver import (
    ACCEPTED,
    BAD_SIGNATURE,
    DUPLICATE,
    EARLY,
    FORK,
    MALFORMED,
    UNKNOWN_KEY,
    WRONG_TOPIC,
    BatchReceiver,
)
from protocols.uplink import (
    CLOCK_NONE,
    CLOCK_SYNCHRONISED,
    GENESIS,
    MAX_BATCH_BYTES,
    Anchor,
    Gap,
    ProfileTemplate,
    Receipt,
    Record,
    Stamp,
    build_batch,
    fold,
    gap_record,
    key_id,
    open_receipt,
    sample_record,
)
from protocols.wire import sample
from protocols.wire.hmac import HmacSha256
from protocols.wire.registers import AIR

GATEWAY = "gw-1"
WALL_MS = 1_764_000_000_000
BOOT_ID = bytes(range(16))
ANCHOR = Anchor(BOOT_ID, 50_000, WALL_MS + 50_000, 20, CLOCK_SYNCHRONISED)
NO_CLOCK = Anchor(BOOT_ID, 50_000, None, 0, CLOCK_NONE)
GATEWAY_KEY = Ed25519PrivateKey.from_private_bytes(b"g" * 32)
COLLECTOR_KEY = Ed25519PrivateKey.from_private_bytes(b"c" * 32)
UID = bytes(range(1, 13))
NODE_KEY = b"n" * 32


def stamp(number: int, clock: bool = True) -> Stamp:
    """A poll every second."""
    at = 10_000 + 1000 * number
    return (
        Stamp(at, at + 30, WALL_MS + at, 20, CLOCK_SYNCHRONISED)
        if clock
        else Stamp(at, at + 30, None, 0, CLOCK_NONE)
    )


def readings(first: int, last: int, clock: bool = True) -> list[Record]:
    """Records of a third-party device with two points: 2 * number and 0.1 * number."""
    template = ProfileTemplate("gw-1.co2", (("co2", "ppm", 0), ("temperature", "Cel", -1)))
    return [
        template.record((2 * number, number), stamp(number, clock))
        for number in range(first, last + 1)
    ]


def node_record(number: int, key: bytes = NODE_KEY) -> Record:
    """The record of an air node's sample."""
    frame = bytearray(2 * AIR.words)
    sample.pack_header(frame, AIR.map_id, AIR.version, 3, number, 1000 * number, 0, 0)
    sample.pack_values(AIR, frame, [0, 0, 0, 2, 0, 0, 0], [1, 18, 20, 0, 608, -512, 4400])
    sample.seal(frame, 1, HmacSha256(key), UID)
    decoded = sample.decode(frame)
    return sample_record(f"tf-{UID.hex()}", decoded, bytes(frame), stamp(number))


class Chain:
    """A gateway's side: builds batches that follow each other."""

    def __init__(self, stream: int = 1) -> None:
        self.stream = stream
        self.last = 0
        self.head = GENESIS

    def batch(self, records: list[Record], anchor: Anchor = ANCHOR, released: int = 0) -> bytes:
        data = [record.data for record in records]
        batch = self.build(self.last + 1, self.head, data, anchor, released=released)
        self.last += len(records)
        self.head = fold(self.head, data)
        return batch

    def build(
        self,
        first: int,
        prev: bytes,
        records: list[bytes],
        anchor: Anchor = ANCHOR,
        key: Ed25519PrivateKey = GATEWAY_KEY,
        gateway: str = GATEWAY,
        released: int = 0,
    ) -> bytes:
        return build_batch(
            gateway=gateway, key_epoch=0, stream=self.stream, first=first, prev=prev,
            anchor=anchor, records=records, key=key, compress=True, maps=None, released=released,
        )  # fmt: skip


class Collector:
    """An intake over a database in a folder of its own."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "collector.db"
        self.quarantine = directory / "quarantine"
        self.database = Database(self.path)
        public = GATEWAY_KEY.public_key()
        self.receiver = BatchReceiver(
            self.database,
            COLLECTOR_KEY,
            {GATEWAY: {key_id(public): public}},
            {(UID, 1): HmacSha256(NODE_KEY)},
            self.quarantine,
            lambda: WALL_MS,
        )

    def take(self, data: bytes, verdict: str) -> Receipt | None:
        """Offer a message; its receipt, opened."""
        outcome = self.receiver.receive(data, GATEWAY)
        assert outcome.verdict == verdict, outcome
        if outcome.receipt is None:
            return None
        return open_receipt(outcome.receipt, COLLECTOR_KEY.public_key())

    def rows(self, query: str) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    made = Collector(tmp_path)
    yield made
    made.database.close()


def test_a_batch_becomes_rows_and_a_receipt(collector: Collector) -> None:
    chain = Chain()
    receipt = collector.take(chain.batch(readings(1, 3)), ACCEPTED)
    assert receipt == Receipt(GATEWAY, 1, 3, chain.head, WALL_MS)
    assert collector.rows(
        "SELECT seq, device, name, value, unit, time_ms, auth FROM measurements ORDER BY seq, name"
    ) == [
        (1, "gw-1.co2", "co2", 2, "ppm", WALL_MS + 11_000, "none"),
        (1, "gw-1.co2", "temperature", 0.1, "Cel", WALL_MS + 11_000, "none"),
        (2, "gw-1.co2", "co2", 4, "ppm", WALL_MS + 12_000, "none"),
        (2, "gw-1.co2", "temperature", 0.2, "Cel", WALL_MS + 12_000, "none"),
        (3, "gw-1.co2", "co2", 6, "ppm", WALL_MS + 13_000, "none"),
        (3, "gw-1.co2", "temperature", 0.3, "Cel", WALL_MS + 13_000, "none"),
    ]


def test_a_replayed_batch_has_no_second_effect_and_gets_its_receipt(collector: Collector) -> None:
    chain = Chain()
    batch = chain.batch(readings(1, 3))
    first = collector.take(batch, ACCEPTED)
    assert collector.take(batch, DUPLICATE) == first
    figures = read_figures(collector.path)
    assert (figures["readings_verified"], figures["readings_stored"]) == (6, 6)
    assert figures["duplicates"] == 1


def test_a_batch_cut_anew_over_the_same_records_adds_only_what_is_new(
    collector: Collector,
) -> None:
    chain = Chain()
    collector.take(chain.batch(readings(1, 3)), ACCEPTED)
    records = [record.data for record in readings(1, 5)]
    again = chain.build(2, fold(GENESIS, records[:1]), records[1:])
    receipt = collector.take(again, ACCEPTED)
    assert receipt is not None
    assert (receipt.contiguous_to, receipt.head) == (5, fold(GENESIS, records))
    assert read_figures(collector.path)["readings_stored"] == 10


def test_a_batch_that_comes_too_early_is_not_taken_and_the_receipt_says_where_to_go_on(
    collector: Collector,
) -> None:
    chain = Chain()
    receipt = collector.take(chain.batch(readings(1, 2)), ACCEPTED)
    missing = chain.batch(readings(3, 4))
    early = chain.batch(readings(5, 6))
    assert collector.take(early, EARLY) == receipt
    collector.take(missing, ACCEPTED)
    last = collector.take(early, ACCEPTED)
    assert last is not None
    assert last.contiguous_to == 6


def test_every_flipped_byte_is_refused_and_nothing_of_it_stored(collector: Collector) -> None:
    batch = Chain().batch(readings(1, 2))
    verdicts = set()
    for at in range(len(batch)):
        flipped = bytearray(batch)
        flipped[at] ^= 0x01
        outcome = collector.receiver.receive(bytes(flipped), GATEWAY)
        assert outcome.receipt is None, at
        verdicts.add(outcome.verdict)
    assert verdicts == {BAD_SIGNATURE, UNKNOWN_KEY, MALFORMED}
    figures = read_figures(collector.path)
    assert figures["readings_stored"] == 0
    counted = [figures[name] for name in verdicts]
    assert sum(count for count in counted if isinstance(count, int)) == len(batch)
    for kind in ("*.cose", "*.txt"):
        assert len(list(collector.quarantine.glob(kind))) == QUARANTINE_FILES
    # The true batch is taken all the same.
    collector.take(batch, ACCEPTED)


def test_an_unknown_key_is_refused_and_named(collector: Collector) -> None:
    chain = Chain()
    stranger = Ed25519PrivateKey.from_private_bytes(b"x" * 32)
    records = [record.data for record in readings(1, 1)]
    outcome = collector.receiver.receive(chain.build(1, GENESIS, records, key=stranger), GATEWAY)
    assert outcome.verdict == UNKNOWN_KEY
    assert key_id(stranger.public_key()).hex() in outcome.detail
    assert GATEWAY in outcome.detail


def test_a_gateway_may_not_speak_on_the_topic_of_another(collector: Collector) -> None:
    outcome = collector.receiver.receive(Chain().batch(readings(1, 1)), "gw-2")
    assert (outcome.verdict, outcome.receipt) == (WRONG_TOPIC, None)
    assert read_figures(collector.path)["readings_stored"] == 0


@pytest.mark.parametrize("whole", [True, False])
def test_two_histories_of_one_stream_are_an_alarm(collector: Collector, whole: bool) -> None:
    chain = Chain()
    collector.take(chain.batch(readings(1, 4)), ACCEPTED)
    other = [record.data for record in readings(11, 14 if whole else 16)]
    receipt = collector.take(chain.build(1, GENESIS, other), FORK)
    # Its head shows the gateway that this is another history than its own.
    assert receipt == Receipt(GATEWAY, 1, 4, chain.head, WALL_MS)
    figures = read_figures(collector.path)
    assert (figures["forks"], figures["readings_stored"]) == (1, 8)


def test_node_records_are_verified_here_once_more(collector: Collector) -> None:
    collector.take(Chain().batch([node_record(1)]), ACCEPTED)
    assert collector.rows("SELECT auth, boot_epoch, sample_seq FROM records") == [("node", 3, 1)]
    assert collector.rows("SELECT name, quality FROM failures") == [("particles_0_3", "timeout")]
    assert collector.rows("SELECT name, value FROM measurements WHERE name = 'temperature'") == [
        ("temperature", -5.12)
    ]


def test_a_bad_node_tag_never_becomes_data_and_the_rest_flows(collector: Collector) -> None:
    records = [node_record(1), node_record(2, b"forged" * 6), node_record(3)]
    receipt = collector.take(Chain().batch(records), ACCEPTED)
    assert receipt is not None
    assert receipt.contiguous_to == 3
    assert collector.rows("SELECT seq, sample_seq FROM records ORDER BY seq") == [(1, 1), (3, 3)]
    ((seq, data, reason),) = collector.rows("SELECT seq, data, reason FROM refused")
    assert (seq, data) == (2, records[1].data)
    assert "tag" in str(reason)
    figures = read_figures(collector.path)
    assert (figures["node_tag_failures"], figures["records_refused"]) == (1, 1)
    assert figures["readings_verified"] == figures["readings_stored"] == 12


def test_a_record_nobody_can_read_is_kept_and_named_and_the_rest_flows(
    collector: Collector,
) -> None:
    records = [record.data for record in readings(1, 3)]
    records[1] = b"\xa1\x00\x00"  # a map, and no record
    receipt = collector.take(Chain().build(1, GENESIS, records), ACCEPTED)
    assert receipt is not None
    assert receipt.head == fold(GENESIS, records)
    assert collector.rows("SELECT seq, data FROM refused") == [(2, b"\xa1\x00\x00")]
    assert read_figures(collector.path)["readings_stored"] == 4


def test_gaps_are_stored_with_their_cause(collector: Collector) -> None:
    gap = Gap("bus_timeout", 3, 7, 9, "unit 1: no answer within 500 ms")
    collector.take(Chain().batch([gap_record(f"tf-{UID.hex()}", gap, stamp(1))]), ACCEPTED)
    assert collector.rows("SELECT cause, boot_epoch, first, last, detail FROM gaps") == [
        ("bus_timeout", 3, 7, 9, "unit 1: no answer within 500 ms")
    ]
    figures = read_figures(collector.path)
    assert (figures["gaps"], figures["gaps_by_cause"]) == (1, {"bus_timeout": 1})


def test_gaps_are_stored_with_the_polls_they_name(collector: Collector) -> None:
    gap = Gap("gateway_down", None, None, None, "", 20, -95_000, -500)
    collector.take(Chain().batch([gap_record("gw-1.s8", gap, stamp(1))]), ACCEPTED)
    assert collector.rows("SELECT slots, from_ms, to_ms FROM gaps") == [(20, -95_000, -500)]


def test_records_without_a_clock_get_their_time_from_a_later_anchor(collector: Collector) -> None:
    chain = Chain()
    collector.take(chain.batch(readings(1, 2, clock=False), NO_CLOCK), ACCEPTED)
    assert collector.rows("SELECT time_ms, clock FROM records") == [(None, "none")] * 2
    collector.take(chain.batch(readings(3, 3)), ACCEPTED)
    # The anchor: 0 ms of boot time is WALL_MS; record 1 was answered at 11,030 ms. A clock may run
    # off by 100 ppm between the two.
    assert collector.rows("SELECT seq, time_ms, unc_ms, clock FROM records ORDER BY seq") == [
        (1, WALL_MS + 11_030, 24, "synchronised"),
        (2, WALL_MS + 12_030, 24, "synchronised"),
        (3, WALL_MS + 13_000, 20, "synchronised"),
    ]


def test_a_lost_database_asks_for_the_beginning_and_makes_up_no_gap(collector: Collector) -> None:
    """The first batch may be on its way still: what is gone only its gateway can find."""
    chain = Chain()
    first = chain.batch(readings(1, 5))
    batch = chain.batch(readings(6, 7))
    for _ in range(10):
        assert collector.take(batch, EARLY) == Receipt(GATEWAY, 1, 0, GENESIS, WALL_MS)
    assert collector.rows("SELECT * FROM gaps") == []
    collector.take(first, ACCEPTED)
    collector.take(batch, ACCEPTED)
    assert read_figures(collector.path)["readings_stored"] == 14


def test_a_refused_commit_leaves_nothing_and_the_same_batch_is_taken_later(
    collector: Collector,
) -> None:
    batch = Chain().batch(readings(1, 200))
    connection = collector.database._db
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        collector.receiver.receive(batch, GATEWAY)
    assert collector.rows("SELECT count(*) FROM records") == [(0,)]
    assert collector.database.counters() == {}, "a full medium is not the message's fault"
    assert not collector.quarantine.exists()
    connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
    collector.take(batch, ACCEPTED)
    assert read_figures(collector.path)["readings_stored"] == 400


def test_the_database_goes_on_where_it_was_after_a_restart(tmp_path: Path) -> None:
    chain = Chain()
    before = Collector(tmp_path)
    before.take(chain.batch(readings(1, 2)), ACCEPTED)
    before.database.close()
    after = Collector(tmp_path)
    (outcome,) = after.receiver.receipts()
    assert outcome.receipt is not None
    receipt = open_receipt(outcome.receipt, COLLECTOR_KEY.public_key())
    assert (receipt.contiguous_to, receipt.head) == (2, chain.head)
    after.take(chain.batch(readings(3, 4)), ACCEPTED)
    assert read_figures(after.path)["readings_stored"] == 8
    after.database.close()


def test_a_huge_message_costs_no_more_than_a_batch_in_quarantine(collector: Collector) -> None:
    collector.take(bytes(5 * MAX_BATCH_BYTES), MALFORMED)
    (kept,) = collector.quarantine.glob("*.cose")
    assert kept.stat().st_size == QUARANTINE_BYTES <= MAX_BATCH_BYTES + 1


def test_files_in_quarantine_are_their_owner_s_alone(collector: Collector) -> None:
    mask = os.umask(0)
    try:
        collector.take(b"readings of a gateway", MALFORMED)
    finally:
        os.umask(mask)
    files = list(collector.quarantine.iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_the_database_is_its_owners_alone_unless_he_says_otherwise(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    collector.take(Chain().batch(readings(1, 2)), ACCEPTED)
    files = [collector.path, *tmp_path.glob(f"{collector.path.name}-*")]
    assert len(files) > 1
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    collector.database.close()

    collector.path.chmod(0o640)
    Collector(tmp_path).database.close()
    assert stat.S_IMODE(collector.path.stat().st_mode) == 0o640


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA application_id = 7")
    connection.execute("CREATE TABLE mine (value)")
    connection.close()
    with pytest.raises(sqlite3.DatabaseError, match="name another file"):
        Database(path)


def test_a_file_of_a_newer_release_is_left_for_that_release(tmp_path: Path) -> None:
    Database(tmp_path / "c.db").close()
    connection = sqlite3.connect(tmp_path / "c.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = (tmp_path / "c.db").read_bytes()
    with pytest.raises(sqlite3.DatabaseError, match="version 99; install the newer release"):
        Database(tmp_path / "c.db")
    assert (tmp_path / "c.db").read_bytes() == before


def test_the_vector_of_a_float_survives_storage(collector: Collector) -> None:
    template = ProfileTemplate("gw-1.ph", (("ph", "pH", 0),))
    (value,) = struct.unpack(">f", bytes.fromhex("40f33333"))
    collector.take(Chain().batch([template.record((value,), stamp(1))]), ACCEPTED)
    assert collector.rows("SELECT value FROM readings") == [(value,)]
