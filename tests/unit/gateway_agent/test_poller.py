"""The whole field side on a real pty: nodes and strangers that misbehave, and a store that does."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway_agent.clock import SystemClock
from gateway_agent.config import (
    GatewayConfig,
    GatewayIdentity,
    MqttUplink,
    NodeDevice,
    OutboxConfig,
    ProfileDevice,
    SerialBus,
)
from gateway_agent.counters import Counters
from gateway_agent.field import slot_account
from gateway_agent.field.cuts import CutFile
from gateway_agent.field.devices import OpenProfile
from gateway_agent.field.field import Field
from gateway_agent.field.master import Master
from gateway_agent.field.profile import load_profile
from gateway_agent.field.profile_reader import ProfileReader
from gateway_agent.status import PointValue
from gateway_agent.store.mark import Mark
from gateway_agent.tables import ConfigError
from protocols.uplink import Decoded, Gap, Record, decode_record

from .frames_of_nodes import AIR_WORDS, KEY, KEY_ID, UID, air_frame, event_frame
from .slave import PtySlave, Reply, raw_answer, refusal, registers, until

NODE = "tf-" + UID.hex()
OTHER = "g.co2"
PERIOD_MS = 20
TIMEOUT_MS = 60


class Memory:
    """A sink that keeps what it takes; ``gate`` closed: it takes nothing."""

    def __init__(self) -> None:
        self.records: list[Decoded] = []
        self.marks: dict[str, Mark] = {}
        self.commits = 0
        self.held = 0  # commits under way
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def put(self, records: Sequence[Record], marks: Mapping[str, Mark]) -> None:
        self.held += 1
        await self.gate.wait()
        self.held -= 1
        if self.error is not None:
            raise self.error
        self.commits += 1
        self.records += [decode_record(record.data) for record in records]
        self.marks.update(marks)

    def of(self, device: str) -> list[Decoded]:
        return [record for record in self.records if record.device_id == device]

    def gaps(self, device: str) -> list[Gap]:
        return [record.gap for record in self.of(device) if record.gap is not None]

    def gaps_of(self, device: str, cause: str) -> list[Gap]:
        return [gap for gap in self.gaps(device) if gap.cause == cause]

    def seqs(self) -> list[int]:
        """Sample numbers recorded of the node, out of the frames."""
        frames = [item.frame for item in self.of(NODE) if item.kind == 1 and item.frame]
        return [int.from_bytes(frame[8:12], "big") for frame in frames]


@dataclass
class Line:
    """A node (unit 1) and a carbon dioxide sensor (unit 2) on one line."""

    epoch: int = 5
    seq: int = 1
    events: int = 0
    dead: set[int] = field(default_factory=set)
    spoil: list[Callable[[bytes], list[Reply]]] = field(default_factory=list)
    spoil_unit: int = 1
    refuse: bool = False

    def __call__(self, request: bytes) -> list[Reply]:
        unit, _, address, count = registers(request)
        if unit in self.dead:
            return []
        if unit == 2:
            if self.refuse:
                return [(0, refusal(2, 4, 2))]
            reply = raw_answer(2, b"\x00\x00\x00\x00\x00\x00\x01\x9f"[: 2 * count])
        elif address == 0x100:
            reply = raw_answer(1, event_frame(self.epoch, self.events, (1,) * self.events))
        elif count == AIR_WORDS:
            reply = raw_answer(1, air_frame(self.epoch, self.seq, self.events))
        else:
            reply = raw_answer(1, air_frame(self.epoch, self.seq, self.events)[: 2 * count])
        if self.spoil and unit == self.spoil_unit:
            return self.spoil.pop(0)(reply)
        return [(0, reply)]


def config_of(
    folder: Path, port: Path, devices: str = "both", replaces: int | None = None
) -> GatewayConfig:
    key = folder / "node.key"
    key.write_text(json.dumps({"key_id": KEY_ID, "key": KEY.hex()}), encoding="ascii")
    key.chmod(0o600)
    node = NodeDevice(
        name="air",
        unit=1,
        role="air",
        uid=UID.hex(),
        key=key,
        replaces=replaces,
        period_ms=PERIOD_MS,
    )
    co2 = ProfileDevice(name="co2", unit=2, profile="senseair-s8", period_ms=PERIOD_MS)
    bus = SerialBus(
        name="line",
        port=str(port),
        baudrate=115200,
        timeout_ms=TIMEOUT_MS,
        quiet_ms=10,
        device=(node, co2) if devices == "both" else (node,),
    )
    return GatewayConfig(
        gateway=GatewayIdentity(id="g", state_dir=folder, key=folder / "g.key"),
        uplink=MqttUplink(host="h"),
        outbox=OutboxConfig(commit_ms=1),  # 0: nothing is polled before the commit
        bus=(bus,),
    )


@dataclass
class Bench:
    line: Line
    slave: PtySlave
    sink: Memory
    counters: Counters
    field: Field


async def run(
    folder: Path,
    test: Callable[[Bench], Awaitable[None]],
    marks: Mapping[str, Mark] | None = None,
    devices: str = "both",
    replaces: int | None = None,
) -> Bench:
    """Poll a Line while the test runs, then cancel; returns what is left to look at."""
    line = Line()
    slave = PtySlave(folder, line)
    counters = Counters()
    sink = Memory()
    config = config_of(folder, slave.path, devices, replaces)
    field_ = Field(config, SystemClock(), sink, marks or {}, counters)
    bench = Bench(line, slave, sink, counters, field_)
    task = asyncio.create_task(field_.run())
    watched = asyncio.ensure_future(test(bench))
    try:
        done, _ = await asyncio.wait({task, watched}, return_when=asyncio.FIRST_COMPLETED)
        if watched in done:
            await watched
        else:
            await task
    finally:
        watched.cancel()
        task.cancel()
        await asyncio.wait({task})
        slave.close()
    return bench


async def samples(bench: Bench, count: int) -> None:
    """Let the node measure ``count`` times, each sample seen before the next."""
    for _ in range(count):
        bench.line.seq += 1
        await until(lambda: bench.line.seq in bench.sink.seqs())


async def test_samples_and_values_are_recorded_with_their_marks(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        await samples(bench, 5)
        await until(lambda: len(bench.sink.of(OTHER)) >= 3)

    bench = await run(tmp_path, test)
    assert bench.sink.seqs() == [1, 2, 3, 4, 5, 6]
    assert bench.sink.marks[NODE]._replace(slots=None) == Mark(5, 6, 0, KEY_ID)
    assert set(bench.counters.gaps) <= {"bus_busy"}
    assert not bench.counters.poll_errors
    assert [value.value for value in bench.sink.of(OTHER)[0].values] == [0, 415]
    air, co2 = bench.field.status(0)
    assert (air.auth, co2.auth) == ("ok", "none")
    assert air.state == co2.state == "ok"
    assert PointValue("co2", "ppm", 415.0) in co2.values
    assert PointValue("temperature", "Cel", -12.34) in air.values


async def test_a_node_that_vanishes_and_returns(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        bench.line.dead = {1}
        await until(lambda: bench.field.status(0)[0].state == "quarantined")
        before = len(bench.sink.of(OTHER))
        await until(lambda: len(bench.sink.of(OTHER)) > before + 10)
        bench.line.seq = 40
        bench.line.dead = set()
        await until(lambda: 40 in bench.sink.seqs())
        await samples(bench, 2)
        assert bench.field.status(0)[0].state == "ok"

    bench = await run(tmp_path, test)
    (gap,) = bench.sink.gaps(NODE)
    assert (gap.cause, gap.boot_epoch, gap.first, gap.last) == ("bus_timeout", 5, 2, 39)
    assert bench.sink.seqs() == [1, 40, 41, 42]
    # It cost the other device only what the bus had no time for.
    assert {gap.cause for gap in bench.sink.gaps(OTHER)} <= {"bus_busy"}
    assert bench.counters.poll_errors["bus_timeout"] >= 3


async def test_a_third_party_device_that_vanishes_and_returns(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        await until(lambda: len(bench.sink.of(OTHER)) > 2)
        bench.line.dead = {2}
        await until(lambda: bench.field.status(0)[1].state == "quarantined")
        bench.line.dead = set()
        await until(lambda: bench.sink.gaps_of(OTHER, "bus_timeout"))
        await until(lambda: bench.sink.of(OTHER)[-1].readings)

    bench = await run(tmp_path, test)
    (gap,) = bench.sink.gaps_of(OTHER, "bus_timeout")
    assert gap.first is None
    assert "no answer" in gap.detail
    assert bench.sink.gaps(NODE) == []


async def test_a_refused_read_is_no_silence(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        bench.line.refuse = True
        await until(lambda: bench.counters.poll_errors["exception_02"] > 5)
        bench.line.refuse = False
        await until(lambda: bench.sink.gaps_of(OTHER, "exception"))

    bench = await run(tmp_path, test)
    gap = bench.sink.gaps_of(OTHER, "exception")[0]
    assert "registers 0 + 4" in gap.detail


async def test_each_block_of_a_device_records_why_it_has_no_values(tmp_path: Path) -> None:
    text = '[profile]\nname = "own"\ntitle = "Own"\nsource = "manual"\n'
    for name, at in (("good", 0), ("high", 1), ("refused", 100), ("silent", 200)):
        text += f'[[point]]\nname = "{name}"\nregister = {at}\ntype = "u16"\nhigh = 500\n'
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")

    def own(request: bytes) -> list[Reply]:
        _, function, address, _ = registers(request)
        if address == 100:
            return [(0, refusal(1, function, 2))]
        return [] if address else [(0, raw_answer(1, b"\x01\xf4\x01\xf5", function))]

    slave = PtySlave(tmp_path, own)
    bus = config_of(tmp_path, slave.path).bus[0]
    device = ProfileDevice(name="own", unit=1, profile=str(path), period_ms=PERIOD_MS)
    opened = OpenProfile(device, load_profile(device.profile))
    reader = ProfileReader(bus, opened, "g.own", SystemClock(), Counters(), CutFile(tmp_path))
    master = Master(bus, Counters())
    try:
        (record,), values = (await reader.poll(master)).records, reader.values()
    finally:
        master.close()
        slave.close()
    read = decode_record(record.data)
    assert [(item.name, item.value) for item in read.values] == [("good", 500)]
    assert {item.name: item.quality for item in read.failures} == {
        "high": "out-of-range",
        "refused": "fault",
        "silent": "timeout",
    }
    assert [item.value for item in values] == [500, None, None, None]


async def test_a_node_provisioned_anew_is_taken_under_its_new_key(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        await samples(bench, 1)

    bench = await run(tmp_path, test, {NODE: Mark(80, 9000, 12, KEY_ID - 1)}, devices="node")
    assert bench.sink.seqs() == [1, 2]
    (gap,) = bench.sink.gaps(NODE)
    assert (gap.cause, gap.boot_epoch) == ("node_reset", 80)
    assert "key 7 came into force" in gap.detail
    assert bench.sink.marks[NODE]._replace(slots=None) == Mark(5, 2, 0, KEY_ID)
    assert bench.counters.replayed == 0


async def test_a_damaged_answer_is_asked_for_again_at_once(tmp_path: Path) -> None:
    """So noise costs a device without sequence numbers nothing."""

    def damage(reply: bytes) -> list[Reply]:
        return [(0, reply[:-1] + bytes((reply[-1] ^ 1,)))]

    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.of(OTHER))
        bench.line.spoil_unit = 2
        bench.line.spoil = [damage]
        await until(lambda: not bench.line.spoil)
        before = len(bench.sink.of(OTHER))
        await until(lambda: len(bench.sink.of(OTHER)) > before + 2)

    bench = await run(tmp_path, test)
    assert bench.counters.poll_errors == {"crc": 1}
    assert set(bench.counters.gaps) <= {"bus_busy"}


@pytest.mark.parametrize(
    ("spoil", "cause", "counted"),
    [
        (lambda reply: [(0, b"\xfe" * 30)], "crc", "noise"),
        (lambda reply: [(0, reply[:4])], "crc", "cut"),
        (lambda reply: [(0, reply[:-1] + bytes((reply[-1] ^ 1,)))], "crc", "crc"),
        (lambda reply: [(0, raw_answer(9, reply[3:-2]))], "wrong_unit", "foreign"),
        (lambda reply: [(0, raw_answer(1, reply[3:-3] + b"\x00"))], "bad_tag", "tag"),
        (lambda reply: [(0, raw_answer(1, air_frame(5, 1)))], "replayed", "replay"),
    ],
    ids=["noise", "cut", "crc", "foreign", "tag", "replayed"],
)
async def test_what_the_line_costs_is_named(
    tmp_path: Path, spoil: Callable[[bytes], list[Reply]], cause: str, counted: str
) -> None:
    """While answers are spoiled, samples pass by; the next gap gives the cause."""

    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        await samples(bench, 1)

        def last(reply: bytes) -> list[Reply]:
            bench.line.seq = 7
            return spoil(reply)

        # Two, because a damaged answer is asked for twice.
        bench.line.spoil = [spoil, last]
        await until(lambda: 7 in bench.sink.seqs())

    bench = await run(tmp_path, test, devices="node")
    (gap,) = bench.sink.gaps(NODE)
    assert (gap.cause, gap.boot_epoch, gap.first, gap.last) == (cause, 5, 3, 6)
    figures = {
        "noise": bench.counters.poll_errors["crc"],
        "cut": bench.counters.poll_errors["crc"],
        "crc": bench.counters.poll_errors["crc"],
        "foreign": bench.counters.foreign_answers,
        "tag": bench.counters.node_tag_failures,
        "replay": bench.counters.replayed,
    }
    assert figures[counted] >= 1
    assert bench.sink.seqs() == [1, 2, 7]


async def test_two_resets_in_a_row(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        bench.line.epoch += 2
        bench.line.seq = 3
        await until(lambda: len(bench.sink.gaps(NODE)) == 2)

    bench = await run(tmp_path, test, devices="node")
    first, second = bench.sink.gaps(NODE)
    assert (first.cause, first.boot_epoch) == ("node_reset", 5)
    assert "1 boots between" in first.detail
    assert (second.boot_epoch, second.first, second.last) == (7, 1, 2)


async def test_events_are_fetched_when_the_sample_announces_them(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        bench.line.events = 3
        await until(lambda: bench.sink.marks[NODE].event_seq == 3)
        await samples(bench, 2)

    bench = await run(tmp_path, test, devices="node")
    (record,) = [item for item in bench.sink.of(NODE) if item.events]
    assert [event.number for event in record.events] == [1, 2, 3]
    reads = [registers(request)[2] for request in bench.slave.requests]
    assert reads.count(0x100) == 1


async def test_a_start_names_what_passed_while_the_gateway_was_down(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])

    bench = await run(tmp_path, test, {NODE: Mark(4, 9, 0)}, devices="node")
    assert [gap.cause for gap in bench.sink.gaps(NODE)] == ["node_reset"]

    async def later(bench: Bench) -> None:
        bench.line.seq = 10
        await until(bench.sink.seqs)

    bench = await run(tmp_path, later, {NODE: Mark(5, 4, 0)}, devices="node")
    gap = bench.sink.gaps(NODE)[0]
    assert (gap.cause, gap.first) == ("gateway_down", 5)


async def test_the_port_goes_and_comes_back(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        bench.slave.unplug()
        await until(lambda: bench.counters.poll_errors["bus_down"])
        bench.slave.plug()
        bench.line.seq = 9
        await until(lambda: 9 in bench.sink.seqs())
        await until(lambda: bench.sink.gaps_of(OTHER, "bus_timeout"))

    bench = await run(tmp_path, test)
    (gap,) = bench.sink.gaps(NODE)
    assert (gap.cause, gap.first, gap.last) == ("bus_timeout", 2, 8)
    # Which of the two comes last before the return depends on when it returns.
    detail = bench.sink.gaps_of(OTHER, "bus_timeout")[0].detail
    assert "cannot be opened" in detail or "was lost" in detail


async def test_what_was_polled_before_the_end_is_committed_once(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        # One commit is under way and slow when the end comes, and more records are waiting.
        slow = bench.sink.gate = asyncio.Event()
        bench.line.seq = 2
        await until(lambda: bench.sink.held and bench.field.queue.waiting >= 4)
        bench.sink.gate = asyncio.Event()
        bench.sink.gate.set()
        asyncio.get_running_loop().call_later(0.1, slow.set)

    bench = await run(tmp_path, test)
    assert bench.sink.seqs() == [1, 2]
    assert bench.sink.marks[NODE]._replace(slots=None) == Mark(5, 2, 0, KEY_ID)
    times = [record.stamp.req_ms for record in bench.sink.of(OTHER)]
    assert len(times) == len(set(times))


async def test_a_store_that_fails_ends_the_field(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.commits)
        bench.sink.error = OSError("the medium is gone")
        await asyncio.sleep(30)

    with pytest.raises(ExceptionGroup) as caught:
        await run(tmp_path, test)
    assert caught.group_contains(OSError, match="the medium is gone")


async def test_a_full_store_holds_the_pollers_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_account, "NOTICE_MS", 1000)

    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        monkeypatch.setattr(bench.field.queue, "_max_bytes", 1000)
        bench.sink.gate.clear()
        await until(lambda: bench.field.queue.full)
        polls = bench.counters.polls
        loop = asyncio.get_running_loop()
        opened = loop.time() + 0.4
        await until(lambda: loop.time() > opened)
        assert bench.counters.polls <= polls + 1  # nothing is asked that could not be kept
        bench.line.seq = 30
        bench.sink.gate.set()
        await until(lambda: 30 in bench.sink.seqs())
        await until(lambda: bench.sink.gaps_of(OTHER, "outbox_full"))

    bench = await run(tmp_path, test)
    assert bench.sink.gaps(NODE)[-1].cause == "outbox_full"
    (full,) = bench.sink.gaps_of(OTHER, "outbox_full")
    assert "the store took no record for" in full.detail


async def test_key_files_and_profiles_are_checked_before_anything_is_opened(tmp_path: Path) -> None:
    config = config_of(tmp_path, tmp_path / "none")
    (tmp_path / "node.key").unlink()

    with pytest.raises(ConfigError, match="keygen"):
        Field(config, SystemClock(), Memory(), {}, Counters())
