"""Wrong input on a link: each is counted and explained, costs bounded memory, ends nothing else."""

import asyncio
import logging
import struct
import zlib
from pathlib import Path

import pytest

from gateway_agent.config import LinkBus
from gateway_agent.field.link import link_port
from protocols.wire.registers import EVENT_CONFIG
from tests.free_port import free_port

from .link_node import LinkNode, PtyWire
from .slave import until
from .test_link import DEVICE, call, device, running
from .test_poller import Memory


def frame(kind: int, payload: bytes) -> bytes:
    """An opening frame, built from the page."""
    content = struct.pack(">BBHH", kind, 0, 0, len(payload)) + payload
    content += struct.pack(">I", zlib.crc32(content))
    out, rest = bytearray(), content + b"\0"
    while rest:
        run = rest[:254].partition(b"\0")[0]
        out += bytes((len(run) + 1,)) + run
        rest = rest[len(run) + (len(run) < 254) :]
    return b"\0" + bytes(out) + b"\0"


def hello(version: int = 1, window: int = 4096, nonce: int = 0) -> bytes:
    return frame(
        2,
        struct.pack(">BH12sIHHH", version, 0x0101, bytes(12), 1, 7, 512, window)
        + nonce.to_bytes(16),
    )


async def test_hellos_that_are_wrong_are_counted_and_readings_go_on(tmp_path: Path) -> None:
    sink, node = Memory(), LinkNode()
    with PtyWire(tmp_path, node) as wire:
        link = LinkBus(name="l", port=str(wire.path), device=(device(tmp_path),))
        async with running(tmp_path, sink, link) as gateway:
            await until(gateway.has_session)
            for nonce in range(50):  # endless hellos, of another version, with a window of zero
                wire.write(hello(version=2) + hello(window=0) + hello(nonce=nonce))
                wire.write(b"\x00boot text, no frame\x00" * 3)
                node.measure()
                await asyncio.sleep(0)
            await until(lambda: len(sink.seqs()) == 50)
            shown = gateway.status().link
            assert shown is not None
            assert shown.session
            assert shown.flooded > 0
            assert shown.refused > 0
            assert shown.noise_bytes >= 50 * 3 * len("boot text, no frame")
    assert sink.seqs() == list(range(1, 51))


async def test_a_caller_without_a_session_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_port, "NO_SESSION_MS", 50)
    monkeypatch.setattr(link_port, "_TICK_S", 0.02)
    port = free_port()
    link = LinkBus(name="l", listen=f"127.0.0.1:{port}", device=(device(tmp_path),))
    async with running(tmp_path, Memory(), link) as gateway:
        stranger = await call(LinkNode(uid=bytes(12)), port)
        await asyncio.wait_for(stranger.lost.wait(), 10)
        assert gateway.field.links[0].nodes[0].line is None
        callers = [
            await call(LinkNode(uid=bytes(12)), port) for _ in range(2 + link_port.SPARE_LINES + 1)
        ]
        await asyncio.wait_for(callers[-1].lost.wait(), 10)
        for caller in (stranger, *callers):
            caller.close()


async def test_lines_of_the_node_are_logged_a_few_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sink, node = Memory(), LinkNode()
    with PtyWire(tmp_path, node) as wire:
        link = LinkBus(name="l", port=str(wire.path), device=(device(tmp_path),))
        async with running(tmp_path, sink, link) as gateway:
            await until(gateway.has_session)
            for number in range(30):
                node.log(2, f"line {number}\x1b[2J")
                await asyncio.sleep(0)
            node.measure()
            await until(lambda: sink.seqs() == [1])
            await until(lambda: node.end.waiting(6) == 0)
    lines = [item.getMessage() for item in caplog.records if "after its start" in item.message]
    assert 1 <= len(lines) <= 6
    assert "bus l: air: the node, " in lines[0]
    assert "line 0\\x1b[2J" in lines[0]


async def test_silence_is_a_gap_by_the_period_of_the_node(tmp_path: Path) -> None:
    sink, node = Memory(), LinkNode(period_ds=1)
    with PtyWire(tmp_path, node) as wire:
        link = LinkBus(name="l", port=str(wire.path), device=(device(tmp_path),))
        async with running(tmp_path, sink, link) as gateway:
            await until(lambda: gateway.field.links[0].nodes[0].period_ms == 100)
            node.measure()
            await until(lambda: gateway.field.links[0].nodes[0].slots.missed >= 3)
            shown = gateway.status()
            assert shown.state == "failing"
            assert "it has a session and has pushed no sample" in shown.problem
            node.seq += 4  # lost in the node
            node.measure()
            await until(lambda: len(sink.seqs()) == 2)
    (gap,) = sink.gaps(DEVICE)
    assert (gap.cause, gap.first, gap.last) == ("bus_timeout", 2, 5)
    assert gap.slots is not None
    assert gap.slots >= 3


async def test_a_changed_period_is_read_again(tmp_path: Path) -> None:
    sink, node = Memory(), LinkNode(period_ds=50)
    with PtyWire(tmp_path, node) as wire:
        link = LinkBus(name="l", port=str(wire.path), device=(device(tmp_path),))
        async with running(tmp_path, sink, link) as gateway:
            own = gateway.field.links[0].nodes[0]
            node.measure()
            await until(lambda: own.period_ms == 5000 and sink.seqs() == [1])
            node.period_ds = 20
            node.event(EVENT_CONFIG)
            await until(lambda: own.period_ms == 2000)


async def test_a_restarted_node_is_a_new_boot_and_its_events_are_asked_for(tmp_path: Path) -> None:
    sink, node = Memory(), LinkNode()
    with PtyWire(tmp_path, node) as wire:
        link = LinkBus(name="l", port=str(wire.path), device=(device(tmp_path),))
        async with running(tmp_path, sink, link):
            node.measure()
            await until(lambda: sink.seqs() == [1])
            node.close()
            wire.node = again = LinkNode(epoch=6)
            again.event()
            again.event(push=False)
            again.plug(wire.write)
            again.measure()
            await until(lambda: [record for record in sink.of(DEVICE) if record.events])
            again.close()
    (events,) = [record for record in sink.of(DEVICE) if record.events]
    assert [event.number for event in events.events] == [1, 2]
    assert [gap.cause for gap in sink.gaps(DEVICE)] == ["node_reset"]
