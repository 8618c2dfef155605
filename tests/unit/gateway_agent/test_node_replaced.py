"""A board takes the place of a broken one: one name, one series, two keys, and a named change."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_agent.collector import config as collector_config
from gateway_agent.collector.audit import Audit
from gateway_agent.collector.audit_tables import open_for_audit
from gateway_agent.collector.database import Database
from gateway_agent.collector.figures import read_figures
from gateway_agent.collector.keys import keys_of_nodes
from gateway_agent.collector.receiver import ACCEPTED, BatchReceiver
from gateway_agent.config import NodeDevice, load
from gateway_agent.counters import Counters
from gateway_agent.field.node import NodeTracker
from gateway_agent.keys import load_node_key
from gateway_agent.store.mark import Mark
from protocols.uplink import Record, key_id, sample_record
from protocols.wire.registers import AIR
from protocols.wire.sample import decode

from . import test_poller as poller
from .frames_of_nodes import KEY_ID, UID, air_body, seal
from .slave import until
from .test_collector import COLLECTOR_KEY, GATEWAY, GATEWAY_KEY, WALL_MS, Chain, stamp
from .test_enrolment import Site


class World:
    """A site whose gateway reads one node, by the configuration that ``enroll`` wrote."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.chain = Chain()
        self.polls = 0
        self.mark: Mark | None = None
        self.counters = Counters()
        self.database = Database(site.collector.parent / "collector.db")

    def tracker(self) -> NodeTracker:
        """Start the gateway: the device as the file has it now, the mark as it was left."""
        device = load(self.site.gateway).bus[0].device[1]
        assert isinstance(device, NodeDevice)
        assert device.name == "air-7"
        key = load_node_key(device.key, UID)
        name = device.device_id(GATEWAY)
        return NodeTracker(name, UID, key, AIR, self.mark, self.counters, device.replaces)

    def poll(self, tracker: NodeTracker, key: int, epoch: int, seq: int) -> list[Record]:
        """Take a frame that the board with this key makes; only the standard library signs it."""
        path = self.site.keys / f"{UID.hex()}-{key}.json"
        secret = bytes.fromhex(json.loads(path.read_text())["key"])
        self.polls += 1
        frame = seal(air_body(epoch, seq), secret, UID, key)
        tracker.slots.begin(stamp(self.polls).req_ms)
        records = tracker.sample(frame, stamp(self.polls))
        self.mark = tracker.mark
        return records

    def deliver(self, records: list[Record]) -> None:
        """Hand records to a collector that was started with its configuration of now."""
        public = GATEWAY_KEY.public_key()
        receiver = BatchReceiver(
            self.database,
            COLLECTOR_KEY,
            {GATEWAY: {key_id(public): public}},
            keys_of_nodes(collector_config.load(self.site.collector)),
            self.site.collector.parent / "quarantine",
            lambda: WALL_MS,
        )
        outcome = receiver.receive(self.chain.batch(records), GATEWAY)
        assert outcome.verdict == ACCEPTED, outcome


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    site = Site(tmp_path)
    site.prove(UID.hex())
    site.seal()
    assert site.enroll("--bus", "roof").exit_code == 0
    assert site.enroll(config=site.collector).exit_code == 0
    made = World(site)
    yield made
    made.database.close()


def test_readings_before_and_after_stand_under_one_name(world: World) -> None:
    old = world.tracker()
    world.deliver([*world.poll(old, 1, 4, 1), *world.poll(old, 1, 4, 2)])

    world.site.prove(UID.hex(), key_id=2)
    world.site.seal()
    assert world.site.enroll("--replace", "air-7").exit_code == 0
    assert world.site.enroll(config=world.site.collector).exit_code == 0
    new = world.tracker()
    world.deliver([*world.poll(new, 2, 1, 1), *world.poll(new, 2, 1, 2)])

    assert world.poll(new, 1, 4, 3) == []  # the old board, connected again
    assert "key file holds 2" in new.problem
    assert world.counters.gaps["node_replaced"] == 1

    path = world.site.collector.parent / "collector.db"
    with sqlite3.connect(path) as connection:
        series = connection.execute("SELECT count(DISTINCT device), count(*) FROM measurements")
        assert series.fetchone() == (1, 4 * 7)
        (gap,) = connection.execute("SELECT cause, boot_epoch, detail FROM gaps").fetchall()
    connection.close()
    assert gap[:2] == ("node_replaced", 4)
    assert "key 2 came into force" in gap[2]
    assert "under key 1 nothing is known after sample 4/2" in gap[2]
    assert read_figures(path)["gaps_by_cause"] == {"node_replaced": 1}


def frame_of_old_board(world: World, seq: int) -> list[Record]:
    """A record of the old board that a gateway signs although it was replaced."""
    body = seal(air_body(4, seq), old_secret(world), UID, 1)
    decoded = decode(bytes(body))
    return [sample_record(f"tf-{UID.hex()}", decoded, bytes(body), stamp(900 + seq))]


def old_secret(world: World) -> bytes:
    path = world.site.keys / f"{UID.hex()}-1.json"
    return bytes.fromhex(json.loads(path.read_text())["key"])


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_the_old_board_s_frames_are_refused_after_it_was_replaced(
    world: World, is_one_batch: bool
) -> None:
    world.deliver([*world.poll(world.tracker(), 1, 4, 1), *world.poll(world.tracker(), 1, 4, 2)])
    world.site.prove(UID.hex(), key_id=2)
    world.site.seal()
    world.site.enroll("--replace", "air-7")
    world.site.enroll(config=world.site.collector)
    new, old = world.poll(world.tracker(), 2, 1, 1), frame_of_old_board(world, 3)
    for records in [[*new, *old]] if is_one_batch else [new, old]:  # or after a restart
        world.deliver(records)
    path = world.site.collector.parent / "collector.db"
    with sqlite3.connect(path) as connection:
        stored = connection.execute(
            "SELECT key_id, sample_seq FROM records WHERE kind = 'sample' ORDER BY seq"
        ).fetchall()
        (reason,) = connection.execute("SELECT reason FROM refused").fetchone()
    connection.close()
    assert stored == [(1, 1), (1, 2), (2, 1)]
    assert "sample frame 3 of boot 4 under key 1: another board took its place" in reason
    public = GATEWAY_KEY.public_key()
    audited = open_for_audit(path)
    run = Audit(audited, lambda gateway, kid: public)
    assert list(run.run()) == []
    assert run.refused == 1
    audited.close()


def test_an_audit_proves_both_boards_each_by_its_own_key(world: World) -> None:
    world.deliver(world.poll(world.tracker(), 1, 4, 1))
    world.site.prove(UID.hex(), key_id=2)
    world.site.seal()
    world.site.enroll("--replace", "air-7")
    world.site.enroll(config=world.site.collector)
    world.deliver(world.poll(world.tracker(), 2, 1, 1))

    nodes = keys_of_nodes(collector_config.load(world.site.collector))
    assert sorted(number for _, number in nodes) == [1, 2]
    public = GATEWAY_KEY.public_key()
    connection = open_for_audit(world.site.collector.parent / "collector.db")
    for known, proven in ((nodes, 2), ({}, 0)):
        run = Audit(
            connection,
            lambda gateway, kid: public,
            lambda uid, number, known=known: known.get((uid, number)),  # type: ignore[misc]
        )
        assert list(run.run()) == []
        assert (run.gaps, run.tags) == (1, proven)
    connection.close()


@pytest.mark.parametrize(
    ("before", "replaces", "cause"),
    [
        (KEY_ID - 1, KEY_ID - 1, "node_replaced"),
        (KEY_ID - 1, KEY_ID - 2, "node_reset"),  # that was another board
        (KEY_ID, KEY_ID, "node_reset"),  # the same key: it restarted
    ],
)
async def test_another_board_in_a_nodes_place_is_named(
    tmp_path: Path, before: int, replaces: int, cause: str
) -> None:
    async def test(bench: poller.Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])

    marks = {poller.NODE: Mark(3, 9000, 12, before)}
    bench = await poller.run(tmp_path, test, marks, devices="node", replaces=replaces)
    gap = bench.sink.gaps(poller.NODE)[0]
    assert (gap.cause, gap.boot_epoch) == (cause, 3)
    assert ("another board took its place; key 7 came" in gap.detail) == (cause == "node_replaced")
