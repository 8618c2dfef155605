"""Integers at and beyond the limits of their fields, and exceptions nobody foresaw.

Whatever one message raises, its reason is kept and the next message is taken. The messages are made
by the naive encoder of the vectors, since the product's own writer refuses to make them.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.collector import receiver as receiver_module
from gateway_agent.collector import rows as rows_module
from gateway_agent.collector import shapes as shapes_module
from gateway_agent.collector.database import Database
from gateway_agent.collector.receiver import ACCEPTED, FAILED, MALFORMED, BatchReceiver
from gateway_agent.collector.rows import digest_of
from gateway_agent.collector.shapes import MAX_SHAPES
from gateway_agent.store.errors import ReceiptRefused
from protocols.uplink import FormatError, open_receipt
from tests.unit.gateway_agent.store_help import StillClock, open_box, records
from tests.unit.protocols.uplink.made_parts import (
    COLLECTOR_SECRET,
    GATEWAY_SECRET,
    kid_of,
    point,
    sign,
)
from tests.unit.protocols.uplink.plain_cbor import fraction, head, plain

GATEWAY = "gw-1"
WALL_MS = 1_764_000_000_123  # a float of seconds that fits no shorter form
U32 = 2**32 - 1
U48 = 2**48 - 1
I63 = 2**63 - 1
GENESIS = bytes(32)

STAMP = {"req_ms": 7000, "resp_delta_ms": 1, "clock_state": 3, "unc_ms": 20, "bt": WALL_MS}
GAP = {"boot_epoch": 3, "first": 7, "last": 9}
HEADER = {"key_epoch": 0, "stream": 1, "first": 1, "last": 1}
ANCHOR = {"mono_ms": 9000, "wall_ms": WALL_MS, "unc_ms": 20, "clock_state": 3}

Fields = dict[str, int]


def record(stamp: Fields, gap: Fields | None = None, points: bytes = b"") -> bytes:
    items: list[object] = [stamp[name] for name in list(STAMP)[:4]]
    entry: dict[int | str, object] = {-2: f"{GATEWAY}.probe/", -3: stamp["bt"] / 1000}
    if gap is None:
        entry |= {0: "status", 2: 0, "tf": [0, *items]}
    else:
        entry |= {0: "gap", 3: "crc", "tf": [3, *items, *gap.values(), "x"]}
    return plain(entry) + points


def batch(pieces: list[bytes], header: Fields, anchor: Fields) -> bytes:
    prev = GENESIS if header["first"] == 1 else bytes([7]) * 32
    chain = prev
    for piece in pieces:
        chain = hashlib.sha256(chain + piece).digest()
    fields = [
        GATEWAY, *header.values(), chain, prev, [bytes(16), *anchor.values()],
        [len(piece) for piece in pieces], 0,
    ]  # fmt: skip
    protected: dict[int | str, object] = {
        1: -19, 3: "application/senml+cbor", 4: kid_of(GATEWAY_SECRET), "tf": fields,
    }  # fmt: skip
    return sign(protected, head(4, len(pieces)) + b"".join(pieces), GATEWAY_SECRET)


class Collector:
    """A receiver over a database in a folder of its own."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "collector.db"
        self.quarantine = directory / "quarantine"
        self.database = Database(self.path)
        secret = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(GATEWAY_SECRET))
        self.receiver = BatchReceiver(
            self.database,
            Ed25519PrivateKey.from_private_bytes(bytes.fromhex(COLLECTOR_SECRET)),
            {GATEWAY: {kid_of(GATEWAY_SECRET): secret.public_key()}},
            {},
            self.quarantine,
            lambda: WALL_MS,
        )

    def rows(self, query: str) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def begin(self, to: int) -> None:
        """Store that record ``to`` is the last one of stream 1 so far."""
        connection = sqlite3.connect(self.path)
        try:
            with connection:
                row = (GATEWAY, 1, to, bytes([7]) * 32)
                sql = "INSERT INTO streams (gateway, stream, contiguous_to, head) VALUES (?,?,?,?)"
                connection.execute(sql, row)
        finally:
            connection.close()

    def take_good(self) -> None:
        """Offer a batch of another stream that must be taken, whatever came before it."""
        stream = HEADER | {"stream": 99}
        good = batch([record(STAMP, points=point("good", "", 5))], stream, ANCHOR)
        assert self.receiver.receive(good, GATEWAY).verdict == ACCEPTED
        assert self.rows("SELECT value FROM measurements WHERE name = 'good'") == [(5,)]


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    made = Collector(tmp_path)
    yield made
    made.database.close()


STAMP_LIMITS = [
    ({"req_ms": U48, "resp_delta_ms": 0}, "req_ms"),
    ({"resp_delta_ms": U32}, "resp_delta_ms"),
    ({"clock_state": 3}, "clock_state"),
    ({"unc_ms": U48}, "unc_ms"),
    ({"bt": U48}, "bt"),
]
GAP_LIMITS = [
    ({"boot_epoch": U32}, "boot_epoch"),
    ({"first": U32, "last": U32}, "first"),
    ({"last": U32}, "last"),
]


@pytest.mark.parametrize(("limits", "field"), STAMP_LIMITS + GAP_LIMITS)
@pytest.mark.parametrize("value", ["limit", "one more", "2^63", "2^64 - 1"])
def test_a_number_in_a_record(collector: Collector, limits: Fields, field: str, value: str) -> None:
    changes = dict(limits)
    if value != "limit":
        changes[field] = {"one more": changes[field] + 1, "2^63": I63 + 1}.get(value, 2 * I63 + 1)
    of_gap = field in GAP
    made = record(STAMP | ({} if of_gap else changes), GAP | changes if of_gap else None)
    data = batch([made, record(STAMP, GAP)], HEADER | {"last": 2}, ANCHOR)
    outcome = collector.receiver.receive(data, GATEWAY)
    assert outcome.verdict == ACCEPTED
    stored = [(2,)] if value != "limit" else [(1,), (2,)]
    assert collector.rows("SELECT seq FROM records ORDER BY seq") == stored
    refused = collector.rows("SELECT data, reason FROM refused")
    if value == "limit":
        assert refused == []
    else:
        ((kept, reason),) = refused
        assert kept == made
        assert field in str(reason)
        assert collector.database.counters()["records_refused"] == 1
    collector.take_good()


@pytest.mark.parametrize(
    ("part", "limits", "field"),
    [
        (HEADER, {"key_epoch": U32}, "key_epoch"),
        (HEADER, {"stream": I63}, "stream"),
        (HEADER, {"first": I63, "last": I63}, "first"),
        (HEADER, {"first": I63, "last": I63}, "last"),
        (ANCHOR, {"mono_ms": U48}, "mono_ms"),
        (ANCHOR, {"wall_ms": U48}, "wall_ms"),
        (ANCHOR, {"unc_ms": U48}, "unc_ms"),
        (ANCHOR, {"clock_state": 3}, "clock_state"),
    ],
)
@pytest.mark.parametrize("value", ["limit", "one more", "2^64 - 1"])
def test_a_number_in_the_header_of_a_batch(
    collector: Collector, part: Fields, limits: Fields, field: str, value: str
) -> None:
    changes = dict(limits)
    if value != "limit":
        changes[field] = changes[field] + 1 if value == "one more" else 2 * I63 + 1
    header = HEADER | (changes if part is HEADER else {})
    anchor = ANCHOR | (changes if part is ANCHOR else {})
    data = batch([record(STAMP)], header, anchor)
    if value == "limit" and field in ("first", "last"):
        collector.begin(header["first"] - 1)
    outcome = collector.receiver.receive(data, GATEWAY)
    if value == "limit":
        assert outcome.verdict == ACCEPTED
        position = (header["stream"], header["last"])
        assert collector.rows("SELECT stream, contiguous_to FROM streams") == [position]
        assert collector.rows("SELECT seq FROM records") == [(header["last"],)]
    else:
        assert outcome.verdict == MALFORMED
        assert field in outcome.detail
        (reason,) = collector.quarantine.glob("*.txt")
        assert reason.read_text() == outcome.detail + "\n"
        assert reason.with_suffix(".cose").read_bytes() == data
    collector.take_good()


@pytest.mark.parametrize("value", [I63, -I63 - 1])
def test_a_value_at_the_limit_is_stored_as_it_is(collector: Collector, value: int) -> None:
    data = batch([record(STAMP, points=point("n", "", value))], HEADER, ANCHOR)
    assert collector.receiver.receive(data, GATEWAY).verdict == ACCEPTED
    assert collector.rows("SELECT value, typeof(value) FROM readings") == [(value, "integer")]
    collector.take_good()


@pytest.mark.parametrize(
    ("item", "value"),
    [
        (I63 + 1, I63 + 1),
        (2 * I63 + 1, 2 * I63 + 1),
        (-I63 - 2, -I63 - 2),
        (fraction(9, 2**62), 2**62 * 10**9),
    ],
)
def test_a_value_beyond_the_limit_is_refused_and_named(
    collector: Collector, item: object, value: int
) -> None:
    wide = record(STAMP, points=point("n", "ppm", item) + point("m", "", 1))
    pieces = [record(STAMP, points=point("m", "", 2)), wide, record(STAMP, GAP)]
    data = batch(pieces, HEADER | {"last": 3}, ANCHOR)
    outcome = collector.receiver.receive(data, GATEWAY)
    assert outcome.verdict == ACCEPTED
    assert outcome.receipt is not None
    assert collector.rows("SELECT seq, value FROM readings") == [(1, 2)]
    assert collector.rows("SELECT name FROM points") == [("m",)]
    assert collector.rows("SELECT seq, data, reason FROM refused") == [
        (2, wide, f"v of n: expected {-I63 - 1} to {I63}, as the database holds, got {value}")
    ]
    counters = collector.database.counters()
    assert counters["records_refused"] == 1
    assert (counters["records_verified"], counters["readings_verified"]) == (2, 1)
    assert counters["gaps"] == 1
    collector.take_good()


@pytest.mark.parametrize("field", ["stream", "contiguous_to", "server_ms"])
def test_a_number_in_a_receipt(tmp_path: Path, field: str) -> None:
    public = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(COLLECTOR_SECRET)).public_key()

    def made(value: int) -> bytes:
        own = {"stream": box.stats().stream, "contiguous_to": 1, "server_ms": WALL_MS}
        stream, to, server_ms = (own | {field: value}).values()
        protected: dict[int | str, object] = {
            1: -19, 3: "application/vnd.tianfu.receipt+cbor", 4: kid_of(COLLECTOR_SECRET),
        }  # fmt: skip
        payload = plain([GATEWAY, stream, to, bytes([7]) * 32, server_ms])
        return sign(protected, payload, COLLECTOR_SECRET)

    box = open_box(tmp_path, StillClock())
    try:
        box.append(records(1, 3), {})
        receipt = open_receipt(made(I63), public)
        assert getattr(receipt, field) == I63
        if field == "stream":
            assert box.apply_receipt(receipt).records == 0
        else:
            with pytest.raises(ReceiptRefused):  # none of these has the outbox's head
                box.apply_receipt(receipt)
        for above in (I63 + 1, 2 * I63 + 1):
            with pytest.raises(FormatError, match=field):
                open_receipt(made(above), public)
        assert box.stats().depth == 3
    finally:
        box.close()


def test_an_exception_while_one_record_is_stored_takes_that_record_only(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [record(STAMP, points=point("n", "", number)) for number in range(3)]

    def failing(gateway: str, boot_id: bytes, data: bytes) -> bytes:
        if data == pieces[1]:
            raise RuntimeError("injected")
        return digest_of(gateway, boot_id, data)

    monkeypatch.setattr(rows_module, "digest_of", failing)
    data = batch(pieces, HEADER | {"last": 3}, ANCHOR)
    assert collector.receiver.receive(data, GATEWAY).verdict == ACCEPTED
    assert collector.rows("SELECT seq, value FROM readings ORDER BY seq") == [(1, 0), (3, 2)]
    assert collector.rows("SELECT seq, data, reason FROM refused") == [
        (2, pieces[1], "RuntimeError: injected")
    ]
    collector.take_good()


@pytest.mark.parametrize("name", ["open_batch", "fold", "sign_receipt"])
def test_an_exception_on_a_whole_batch_is_counted_and_kept_with_its_reason(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = batch([record(STAMP)], HEADER, ANCHOR)
    collector.receiver.receive(data, GATEWAY)
    with monkeypatch.context() as patch:

        def failing(*_: object) -> None:
            raise RecursionError("line\nand \x1b[2J")

        patch.setattr(receiver_module, name, failing)
        outcome = collector.receiver.receive(data, GATEWAY)
    assert (outcome.verdict, outcome.receipt) == (FAILED, None)
    assert collector.database.counters()[FAILED] == 1
    (kept,) = collector.quarantine.glob("*.cose")
    assert kept.read_bytes() == data
    assert kept.with_suffix(".txt").read_text() == "RecursionError: line\\nand \\x1b[2J\n"
    collector.take_good()


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("disk I/O error"), OSError(5, "EIO"), MemoryError()]
)
def test_a_failure_of_the_medium_is_not_the_messages_fault(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    data = batch([record(STAMP)], HEADER, ANCHOR)
    with monkeypatch.context() as patch:

        def failing(*_: object) -> None:
            raise error

        patch.setattr(rows_module, "digest_of", failing)
        with pytest.raises(type(error)):
            collector.receiver.receive(data, GATEWAY)
    assert collector.database.counters() == {}
    assert not collector.quarantine.exists()
    assert collector.receiver.receive(data, GATEWAY).verdict == ACCEPTED


def test_a_flood_of_rejected_messages_has_few_lines(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(100):
        assert collector.receiver.receive(b"%d" % number).verdict == MALFORMED
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 20


def test_names_of_points_without_end_cost_bounded_memory(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway can give each value another name; each name keeps its one id."""
    monkeypatch.setattr(shapes_module, "MAX_POINTS", 10)
    streams = [range(8), range(25), range(8)]
    for stream, numbers in enumerate(streams, 1):
        pieces = [record(STAMP, points=point(f"p{n}", "", stream * 100 + n)) for n in numbers]
        header = HEADER | {"stream": stream, "last": len(pieces)}
        assert collector.receiver.receive(batch(pieces, header, ANCHOR)).verdict == ACCEPTED
        kept = collector.database._shapes._known.values()
        assert sum(len(shape.points) for known in kept for shape in known) <= 10 + MAX_SHAPES
    assert collector.rows("SELECT count(*), count(DISTINCT name) FROM points") == [(25, 25)]
    rows = collector.rows(
        "SELECT name, count(*) FROM readings JOIN points ON id = point_id GROUP BY name"
    )
    assert sorted(rows) == sorted((f"p{n}", 3 if n < 8 else 1) for n in range(25))
