"""A node on a link, through a real pty and real TCP, up to the records that are committed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from gateway_agent.clock import SystemClock
from gateway_agent.config import LinkBus
from gateway_agent.config import LinkNode as LinkDevice
from gateway_agent.counters import Counters
from gateway_agent.field.field import Field
from gateway_agent.status import DeviceStatus
from tests.free_port import free_port

from .field_help import config_of
from .frames_of_nodes import KEY, KEY_ID, UID
from .link_node import Caller, LinkNode, PtyWire
from .slave import until
from .test_poller import Memory

DEVICE = "tf-" + UID.hex()


def device(folder: Path, name: str = "air", uid: bytes = UID, key: bytes = KEY) -> LinkDevice:
    file = folder / f"{name}.key"
    file.write_text(json.dumps({"key_id": KEY_ID, "key": key.hex()}), encoding="ascii")
    file.chmod(0o600)
    return LinkDevice(name=name, role="air", uid=uid.hex(), key=file, period_ms=60_000)


class Gateway:
    """A field that runs, with a store in memory."""

    def __init__(self, folder: Path, sink: Memory, *links: LinkBus) -> None:
        config = msgspec.structs.replace(config_of(folder), link=links)
        self.clock = SystemClock()
        self.counters = Counters()
        self.sink = sink
        self.field = Field(config, self.clock, sink, dict(sink.marks), self.counters)

    def status(self, name: str = "air") -> DeviceStatus:
        found = self.field.status(self.clock.boot_ms())
        return next(item for item in found if item.name == name)

    def has_session(self, name: str = "air") -> bool:
        link = self.status(name).link
        return link is not None and link.session


@asynccontextmanager
async def running(folder: Path, sink: Memory, *links: LinkBus) -> AsyncIterator[Gateway]:
    gateway = Gateway(folder, sink, *links)
    task = asyncio.create_task(gateway.field.run())
    try:
        yield gateway
    finally:
        assert not task.done(), task
        task.cancel()
        await asyncio.wait({task})
        assert gateway.field.samples_unaccounted() == 0
        assert gateway.field.slots_unaccounted() == 0


async def test_what_a_node_pushes_becomes_records(tmp_path: Path) -> None:
    sink, node = Memory(), LinkNode()
    with PtyWire(tmp_path, node) as wire:
        link = LinkBus(name="l", port=str(wire.path), device=(device(tmp_path),))
        async with running(tmp_path, sink, link) as gateway:
            await until(gateway.has_session)
            for _ in range(4):
                node.measure()
            node.event()  # it overtakes the samples: the next one shows that it is not taken yet
            node.measure()
            await until(lambda: len(sink.of(DEVICE)) >= 6)
            await until(lambda: node.end.waiting(1) == 0)
            shown = gateway.status()
            assert (shown.state, shown.auth, shown.polls) == ("ok", "ok", 5)
            assert shown.link is not None
            assert shown.link.round_trip_ms is not None
        assert sink.seqs() == [1, 2, 3, 4, 5]
        assert sink.gaps(DEVICE) == []
        (events,) = [record for record in sink.of(DEVICE) if record.kind == 2]
        assert [event.number for event in events.events] == [1]


async def test_a_serial_server_and_a_node_that_calls_in(tmp_path: Path) -> None:
    """Two nodes, one behind each, both with TCP."""
    loop, other = asyncio.get_running_loop(), bytes(12)
    sink, near, far = Memory(), LinkNode(), LinkNode(uid=other)
    server = await loop.create_server(lambda: Caller(near), "127.0.0.1", 0)
    port, listen = server.sockets[0].getsockname()[1], free_port()
    links = (
        LinkBus(name="s", host="127.0.0.1", port=port, device=(device(tmp_path),)),
        LinkBus(name="c", listen=f"127.0.0.1:{listen}", device=(device(tmp_path, "two", other),)),
    )
    async with running(tmp_path, sink, *links) as gateway:
        caller = await call(far, listen)
        near.measure()
        far.measure()
        far.measure()
        await until(lambda: gateway.status().polls == 1 and gateway.status("two").polls == 2)
        await until(lambda: len(sink.records) == 3)
        caller.close()
        await until(lambda: "no session: its connection ended" in gateway.status("two").problem)
        assert gateway.status().problem == ""
        server.close()
        near.close()
    assert sink.seqs() == [1]
    assert len(sink.of("tf-" + other.hex())) == 2


async def call(node: LinkNode, port: int) -> Caller:
    """Call in, as soon as somebody listens."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            _, caller = await loop.create_connection(lambda: Caller(node), "127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
        else:
            return caller


async def test_a_node_without_a_key_enters_as_a_device_that_proves_nothing(tmp_path: Path) -> None:
    sink, node = Memory(), LinkNode(key=None)
    own = LinkDevice(name="air", role="air", uid=UID.hex())
    with PtyWire(tmp_path, node) as wire:
        link = LinkBus(name="l", port=str(wire.path), auth="none", device=(own,))
        async with running(tmp_path, sink, link) as gateway:
            node.measure()
            node.measure()
            await until(lambda: len(sink.of("g.air")) == 2)
            assert gateway.status().auth == "none"
    assert [record.kind for record in sink.of("g.air")] == [0, 0]
    assert sink.of("g.air")[0].values[-1].value == 56.78


async def test_the_wrong_key_is_refused_and_explained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink, node = Memory(), LinkNode(key=bytes(31) + b"x")
    with PtyWire(tmp_path, node) as wire:
        link = LinkBus(name="l", port=str(wire.path), device=(device(tmp_path),))
        async with running(tmp_path, sink, link) as gateway:
            node.measure()
            await until(lambda: "does not hold the node's key" in gateway.status().problem)
            shown = gateway.status()
            assert shown.link is not None
            assert shown.link.refused
            assert not shown.link.session
    assert sink.of(DEVICE) == []
    lines = [record for record in caplog.records if "does not hold" in record.getMessage()]
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("made", "words", "reason"),
    [
        ({"key_id": KEY_ID + 1}, "air has key 8, its key file holds key 7", 3),
        ({"uid": bytes(12)}, "000000000000000000000000 is not configured", 2),
        ({"key": None}, "air has no key, its key file holds key 7", 7),
        ({"map_id": 0x0102}, "expected role air, the node is water", 8),
    ],
)
async def test_a_node_that_gets_no_session_learns_why(
    tmp_path: Path, made: dict[str, object], words: str, reason: int
) -> None:
    node = LinkNode(**made)  # type: ignore[arg-type] # of its constructor
    with PtyWire(tmp_path, node) as wire:
        link = LinkBus(name="l", port=str(wire.path), device=(device(tmp_path),))
        async with running(tmp_path, Memory(), link) as gateway:
            await until(lambda: words in gateway.status().problem)
            await until(lambda: reason in node.refused)


async def test_a_second_node_with_the_id_of_a_first(tmp_path: Path) -> None:
    sink, first, second = Memory(), LinkNode(), LinkNode()
    other = bytes(12)
    (tmp_path / "b").mkdir()
    with PtyWire(tmp_path, first) as wire, PtyWire(tmp_path / "b", second) as wire_2:
        links = (
            LinkBus(name="l", port=str(wire.path), device=(device(tmp_path),)),
            LinkBus(name="m", port=str(wire_2.path), device=(device(tmp_path, "two", other),)),
        )
        async with running(tmp_path, sink, *links) as gateway:
            await until(lambda: 2 in second.refused or 6 in second.refused)
            await until(lambda: 6 in second.refused)
            first.measure()
            second.measure()
            await until(lambda: sink.seqs() == [1])
            assert f"has a session on {wire.path}" in gateway.status("two").problem
            assert f"a second node with its unique id is on {wire_2.path}" in (
                gateway.status().problem
            )
            assert gateway.has_session()
            assert not second.opened


async def test_a_port_that_disappears_in_a_frame_comes_back_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    sink, node = Memory(), LinkNode()
    wire = PtyWire(tmp_path, node)
    link = LinkBus(name="l", port=str(wire.path), device=(device(tmp_path),))
    async with running(tmp_path, sink, link) as gateway:
        await until(gateway.has_session)
        await until(lambda: gateway.field.links[0].nodes[0].period_ms == 100)
        node.measure()
        await until(lambda: sink.seqs() == [1])
        wire.write(b"\x00\x05\x10\x01")  # a frame begins
        wire.close()
        await until(lambda: "tty-link" in gateway.status().problem)
        for age in (800, 600, 400):
            node.measure(age_ms=age)
        slots = gateway.field.links[0].nodes[0].slots
        await until(lambda: slots.missed)
        wire.open()
        await until(lambda: sink.seqs() == [1, 2, 3, 4])
        await until(lambda: gateway.status().state == "ok")
        assert sink.gaps(DEVICE) == []
        assert (slots.missed > 0, slots.pending, slots.named) == (True, 0, 0)
        assert slots.excused == slots.missed
    wire.close()
    node.close()


async def test_samples_that_waited_are_dated_by_the_node(tmp_path: Path) -> None:
    sink, node = Memory(), LinkNode()
    for age in (7000, 5000, 3000):
        node.measure(age_ms=age)
    with PtyWire(tmp_path, node) as wire:
        link = LinkBus(name="l", port=str(wire.path), device=(device(tmp_path),))
        async with running(tmp_path, sink, link) as gateway:
            await until(lambda: len(sink.seqs()) == 3)
            now_ms = gateway.clock.boot_ms()
    times = [record.stamp.resp_ms for record in sink.of(DEVICE) if record.kind == 1]
    assert times[1] - times[0] == pytest.approx(2000, abs=5)
    assert times[2] - times[1] == pytest.approx(2000, abs=5)
    assert now_ms - times[2] >= 3000
    assert times[2] > now_ms - 3000 - 5000  # the test itself
