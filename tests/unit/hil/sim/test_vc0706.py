"""VC0706 against the commands and answers of its protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil.sim.part import PartFault, Steady
from hil.sim.vc0706 import Scene, Vc0706

from .wired import Node, wired


async def picture(node: Node) -> bytes:
    assert await node.ask(bytes.fromhex("5600360100"), 5) == bytes.fromhex("7600360000")
    size = int.from_bytes((await node.ask(bytes.fromhex("5600340100"), 9))[5:], "big")
    data = b""
    while len(data) < size:
        count = min(128, (size - len(data) + 7) & ~7)
        ask = bytes.fromhex("5600320c000a") + len(data).to_bytes(4, "big")
        answer = await node.ask(ask + count.to_bytes(4, "big") + b"\x00\x0a", count + 10)
        assert answer[:5] == answer[-5:] == bytes.fromhex("7600320000")
        data += answer[5:-5]
    assert await node.ask(bytes.fromhex("5600360103"), 5) == bytes.fromhex("7600360000")
    return data[:size]


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    for name in ("day0", "day1", "dark0", "covered0"):
        body = name.encode() * 60
        (tmp_path / f"{name}.jpg").write_bytes(b"\xff\xd8" + body + b"\xff\xd9")
    return tmp_path


async def test_vc0706_reset_version_and_size() -> None:
    with wired(Vc0706(Steady())) as node:
        assert (await node.ask(bytes.fromhex("56002600"), 5)) == bytes.fromhex("7600260000")
        assert b"Init end" in await node.take(23)
        version = await node.ask(bytes.fromhex("56001100"), 16)
        assert version[:5] == bytes.fromhex("760011000b")
        command = bytes.fromhex("560031050401001922")
        assert await node.ask(command, 5) == bytes.fromhex("7600310000")


async def test_vc0706_serves_whole_images_scene_by_scene(frames: Path) -> None:
    part = Vc0706(Steady(), frames)
    with wired(part) as node:
        day = [await picture(node) for _ in range(3)]
        assert {day[0], day[1]} == {
            (frames / "day0.jpg").read_bytes(),
            (frames / "day1.jpg").read_bytes(),
        }
        assert day[2] == day[0]
        part.scene = Scene.FROZEN
        assert await picture(node) == await picture(node) == day[2]
        part.scene = Scene.COVERED
        assert await picture(node) == (frames / "covered0.jpg").read_bytes()
        part.scene = Scene.DARK
        assert await picture(node) == (frames / "dark0.jpg").read_bytes()
        assert part.snapshots == 7


async def test_vc0706_without_frames_still_has_a_jpeg(tmp_path: Path) -> None:
    with wired(Vc0706(Steady(), tmp_path)) as node:
        image = await picture(node)
        assert image[:2] == b"\xff\xd8"
        assert image[-2:] == b"\xff\xd9"


async def test_vc0706_reports_motion_only_while_detection_is_on() -> None:
    part = Vc0706(Steady())
    part.moving = True
    with wired(part) as node:
        part.tick()
        assert part.motion_events == 0
        assert await node.ask(bytes.fromhex("5600370101"), 5) == bytes.fromhex("7600370000")
        part.tick()
        assert await node.take(5) == bytes.fromhex("7600390000")
        assert await node.ask(bytes.fromhex("56003800"), 6) == bytes.fromhex("760038000101")
        await node.ask(bytes.fromhex("5600370100"), 5)
        events = part.motion_events
        part.tick()
        assert part.motion_events == events


async def test_vc0706_refuses_unknown_commands_and_finds_the_next_command() -> None:
    with wired(Vc0706(Steady())) as node:
        assert await node.ask(bytes.fromhex("56009900"), 5) == bytes.fromhex("7600990100")
        assert await node.ask(bytes.fromhex("560034020000"), 5) == bytes.fromhex("7600340300")
        node.send(bytes.fromhex("000056"))
        answer = await node.ask(bytes.fromhex("0034ff" + "56003800"), 6)
        assert answer == bytes.fromhex("760038000100")


async def test_vc0706_damaged_picture() -> None:
    part = Vc0706(Steady())
    part.fault = PartFault.CHECKSUM
    with wired(part) as node:
        assert (await picture(node))[:2] == b"\x00\x27"
