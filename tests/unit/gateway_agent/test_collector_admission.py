"""Whose records become data: a device has its gateway, a frame of a node is stored once."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.collector.config import load
from gateway_agent.collector.database import Database
from gateway_agent.collector.new_record import FrameId
from gateway_agent.collector.receiver import ACCEPTED, BatchReceiver
from gateway_agent.tables import ConfigError
from protocols.uplink import (
    CLOCK_SYNCHRONISED,
    GENESIS,
    Anchor,
    Gap,
    ProfileTemplate,
    Record,
    Stamp,
    build_batch,
    fold,
    gap_record,
    key_id,
    sample_record,
)
from protocols.wire import sample
from protocols.wire.hmac import HmacSha256
from protocols.wire.registers import AIR

WALL_MS = 1_764_000_000_000
COLLECTOR_KEY = Ed25519PrivateKey.from_private_bytes(b"c" * 32)
KEYS = {
    name: Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"-"))
    for name in ("gw-1", "gw-1.east", "gw-2")
}
UID = bytes(range(1, 13))
NODE = f"tf-{UID.hex()}"
NODE_KEY = b"n" * 32


def stamp(number: int) -> Stamp:
    at = 10_000 + 1000 * number
    return Stamp(at, at + 30, WALL_MS + at, 20, CLOCK_SYNCHRONISED)


def node_record(seq: int, polled: int, key_number: int = 1, epoch: int = 3) -> Record:
    """A sample of the node, read at the moment ``polled``."""
    frame = bytearray(2 * AIR.words)
    sample.pack_header(frame, AIR.map_id, AIR.version, epoch, seq, 1000 * seq, 0, 0)
    sample.pack_values(AIR, frame, [0] * 7, [1, 18, 20, 5, 608, -512, 4400])
    sample.seal(frame, key_number, HmacSha256(NODE_KEY), UID)
    return sample_record(NODE, sample.decode(frame), bytes(frame), stamp(polled))


def device_record(device: str, number: int) -> Record:
    return ProfileTemplate(device, (("co2", "ppm", 0),)).record((number,), stamp(number))


class Gateway:
    """Sends batches to a collector that has two gateways configured."""

    def __init__(self, name: str, receiver: BatchReceiver, stream: int = 1) -> None:
        self.name = name
        self.stream = stream
        self._receiver = receiver
        self._last = 0
        self._head = GENESIS

    def send(self, *records: Record) -> None:
        data = [record.data for record in records]
        batch = build_batch(
            gateway=self.name, key_epoch=0, stream=self.stream, first=self._last + 1,
            prev=self._head, anchor=Anchor(bytes(16), 50_000, WALL_MS, 20, CLOCK_SYNCHRONISED),
            records=data, key=KEYS[self.name], compress=True,
        )  # fmt: skip
        outcome = self._receiver.receive(batch, self.name)
        assert outcome.verdict == ACCEPTED, outcome
        assert outcome.receipt is not None
        self._last += len(records)
        self._head = fold(self._head, data)


class Platform:
    def __init__(
        self,
        directory: Path,
        allowed: Mapping[str, tuple[str, ...]] | None = None,
        known: bool = False,
    ) -> None:
        self.database = Database(directory / "collector.db")
        nodes = {(UID, number): HmacSha256(NODE_KEY) for number in (1, 2)} if known else {}
        self.receiver = BatchReceiver(
            self.database,
            COLLECTOR_KEY,
            {name: {key_id(key.public_key()): key.public_key()} for name, key in KEYS.items()},
            nodes,
            directory / "quarantine",
            allowed=allowed,
        )
        self.one = Gateway("gw-1", self.receiver)
        self.two = Gateway("gw-2", self.receiver)

    def stored(self) -> list[tuple[object, ...]]:
        return self.database._db.execute(
            "SELECT gateway, device, sample_seq FROM records JOIN streams ON streams.id = stream_id"
            " ORDER BY gateway, stream, seq"
        ).fetchall()

    def refused(self) -> list[str]:
        rows = self.database._db.execute("SELECT reason FROM refused ORDER BY stream_id, seq")
        return [reason for (reason,) in rows]


@pytest.fixture(params=[False, True], ids=["node key unknown", "node key known"])
def platform(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Platform]:
    made = Platform(tmp_path, known=request.param)
    yield made
    made.database.close()


def test_a_frame_under_a_new_number_is_stored_once(platform: Platform) -> None:
    platform.one.send(node_record(1, 1), node_record(2, 2))
    platform.one.send(node_record(2, 3), node_record(3, 4))  # the second again, polled later
    assert platform.stored() == [("gw-1", NODE, 1), ("gw-1", NODE, 2), ("gw-1", NODE, 3)]
    (reason,) = platform.refused()
    assert "sample frame 2 of boot 3 under key 1 is stored already" in reason
    assert "record 2 of stream 1 of gw-1" in reason
    counters = platform.database.counters()
    assert (counters["frames_repeated"], counters["records_refused"]) == (1, 1)


def test_a_frame_twice_in_one_batch_is_stored_once(platform: Platform) -> None:
    platform.one.send(node_record(1, 1), node_record(1, 2), node_record(2, 3))
    assert platform.stored() == [("gw-1", NODE, 1), ("gw-1", NODE, 2)]
    assert "in this batch" in platform.refused()[0]


def test_a_frame_in_another_stream_of_its_gateway_is_stored_once(platform: Platform) -> None:
    """As of a gateway whose disk was restored: the node still shows the sample it showed before."""
    platform.one.send(node_record(1, 1))
    Gateway("gw-1", platform.receiver, stream=2).send(node_record(1, 5), node_record(2, 6))
    assert platform.stored() == [("gw-1", NODE, 1), ("gw-1", NODE, 2)]
    assert platform.database.counters()["frames_repeated"] == 1


def test_the_same_numbers_under_another_key_or_boot_are_others(platform: Platform) -> None:
    platform.one.send(
        node_record(1, 1), node_record(1, 2, key_number=2), node_record(1, 3, epoch=4)
    )
    assert len(platform.stored()) == 3
    assert platform.refused() == []


def test_a_node_belongs_to_the_gateway_that_brought_it_first(platform: Platform) -> None:
    platform.one.send(node_record(1, 1))
    platform.two.send(node_record(1, 2), node_record(2, 3), device_record("gw-2.s8", 4))
    assert platform.stored() == [("gw-1", NODE, 1), ("gw-2", "gw-2.s8", None)]
    reasons = platform.refused()
    assert len(reasons) == 2
    assert all(f"{NODE}: belongs to gw-1" in reason for reason in reasons)
    assert all("[[device]]" in reason for reason in reasons)
    assert platform.database.counters()["records_foreign"] == 2
    assert [alarm for alarm in platform.receiver.alarms if "gw-2" in alarm and NODE in alarm]
    platform.one.send(node_record(2, 5))
    assert platform.stored()[:2] == [("gw-1", NODE, 1), ("gw-1", NODE, 2)]


@pytest.mark.parametrize("device", ["gw-1.s8", "gw-1", "s8", "gw-20.s8"])
@pytest.mark.parametrize("kind", ["data", "gap"])
def test_a_gateway_brings_no_device_with_the_name_of_another(
    platform: Platform, device: str, kind: str
) -> None:
    gap = gap_record(device, Gap("bus_timeout", None, None, None, "x"), stamp(1))
    platform.two.send(gap if kind == "gap" else device_record(device, 1))
    assert platform.stored() == []
    assert platform.refused() == [f"{device}: expected a device of gw-2, named gw-2.<device>"]


@pytest.mark.parametrize("device", ["gw-1.east", "gw-1.east.s8"])
def test_a_gateway_whose_id_begins_that_of_another_brings_nothing_of_it(
    platform: Platform, device: str
) -> None:
    platform.one.send(gap_record(device, Gap("crc", None, None, None, "x"), stamp(1)))
    assert platform.refused() == [f"{device}: belongs to the gateway gw-1.east"]
    Gateway("gw-1.east", platform.receiver).send(device_record("gw-1.east.s8", 2))
    platform.one.send(device_record("gw-1.eastern", 3))
    assert [device for _, device, _ in platform.stored()] == ["gw-1.eastern", "gw-1.east.s8"]


def test_a_gap_gives_no_right_to_a_node(platform: Platform) -> None:
    """A node that stands in the wrong gateway's configuration never answers there."""
    gap = gap_record(NODE, Gap("bus_timeout", None, None, None, "x"), stamp(1))
    platform.two.send(gap)
    platform.one.send(node_record(1, 2))
    assert platform.stored() == [("gw-1", NODE, 1), ("gw-2", NODE, None)]
    platform.two.send(gap)
    assert f"{NODE}: belongs to gw-1" in platform.refused()[0]


@pytest.mark.parametrize("known", [False, True])
def test_a_move_is_written_in_the_configuration(tmp_path: Path, known: bool) -> None:
    before = Platform(tmp_path, known=known)
    before.one.send(node_record(1, 1))
    before.database.close()
    after = Platform(tmp_path, {NODE: ("gw-1", "gw-2")}, known)
    after.two.send(node_record(3, 3))
    Gateway("gw-1", after.receiver, stream=2).send(node_record(2, 2))  # from its backlog
    # What both of them have read is stored once, also now.
    after.two.send(node_record(2, 4))
    assert sorted(after.stored()) == [
        ("gw-1", NODE, 1), ("gw-1", NODE, 2), ("gw-2", NODE, 3),
    ]  # fmt: skip
    after.database.close()


def test_a_node_may_be_bound_before_it_was_ever_seen(tmp_path: Path) -> None:
    platform = Platform(tmp_path, {NODE: ("gw-1",)})
    platform.two.send(node_record(1, 1))
    platform.one.send(node_record(1, 2))
    assert platform.stored() == [("gw-1", NODE, 1)]
    assert platform.refused() == [f"{NODE}: [[device]] names gw-1, not gw-2"]
    platform.database.close()


CONFIG = """[collector]
key = "c.pem"
database = "c.db"
[broker]
host = "h"
[[gateway]]
id = "gw-1"
keys = ["a"]
[[gateway]]
id = "gw-2"
keys = ["b"]
[[device]]
id = "{device}"
gateways = {gateways}
"""


def test_the_table_of_a_device(tmp_path: Path) -> None:
    path = tmp_path / "collector.toml"
    path.write_text(CONFIG.format(device=NODE, gateways='["gw-1", "gw-2"]'))
    (device,) = load(path).device
    assert (device.id, device.gateways) == (NODE, ("gw-1", "gw-2"))
    path.write_text(CONFIG.format(device=NODE, gateways='["gw-3"]'))
    with pytest.raises(ConfigError, match=r"device\[0\]\.gateways.*gw-3"):
        load(path)
    path.write_text(
        CONFIG.format(device=NODE, gateways='["gw-1"]') * 1
        + f'[[device]]\nid = "{NODE}"\ngateways = ["gw-2"]\n'
    )
    with pytest.raises(ConfigError, match="no other device has"):
        load(path)


def test_a_frame_is_found_among_many_as_soon_as_among_few(tmp_path: Path) -> None:
    """SQLite's own steps are counted: they must not grow with what a node has sent before."""
    platform = Platform(tmp_path, known=True)
    platform.one.send(node_record(1, 1))
    connection = platform.database._db
    steps = []
    for many in (10, 3000):
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT OR IGNORE INTO records SELECT stream_id, i, device, kind, time_ms, unc_ms,"
            " clock, auth, status, boot_epoch, i, boot_id, resp_ms, randomblob(16), key_id"
            " FROM records, n WHERE seq = 1",
            (many,),
        )
        counted = 0

        def count() -> int:
            nonlocal counted
            counted += 1
            return 0

        connection.set_progress_handler(count, 1)
        for seq, expected in ((10, "record 10 of stream 1 of gw-1"), (9999, "")):
            assert platform.database.where_is(FrameId(NODE, "sample", 1, 3, seq)) == expected
        connection.set_progress_handler(None, 0)
        steps.append(counted)
    assert steps[1] < 2 * steps[0]
    platform.database.close()
