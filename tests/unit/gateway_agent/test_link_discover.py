"""``discover --link`` says what speaks on a port, and its configuration block can be used."""

import asyncio
import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway_agent.cli import app
from gateway_agent.config import parse
from gateway_agent.field.link import ask

from .frames_of_nodes import KEY_ID, UID
from .link_node import LinkNode, PtyWire
from .test_config_link import HEAD


async def discover(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["discover", *arguments])


async def test_a_node_says_who_it_is(tmp_path: Path) -> None:
    node = LinkNode()
    with PtyWire(tmp_path, node) as wire:
        wire.write(b"MicroPython v1.25; type help()\r\n>>> ")
        result = await discover(str(wire.path), "--link", "--json")
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    (found,) = shown["found"]
    assert (found["kind"], found["role"], found["uid"]) == ("node", "air", UID.hex())
    assert (found["key_id"], found["baudrate"]) == (KEY_ID, 115_200)
    (block,) = shown["config"]
    (link,) = parse(tomllib.loads(HEAD + block), tmp_path / "g.toml").link
    assert link.where == str(wire.path)
    assert link.device[0].uid == UID.hex()
    assert node.opened == 0
    assert node.refused == []


async def test_a_node_without_a_key_says_so(tmp_path: Path) -> None:
    with PtyWire(tmp_path, LinkNode(key=None)) as wire:
        result = await discover(str(wire.path), "--link")
    assert "no key: provision it" in result.output
    assert 'auth = "none"' in result.output


async def test_what_is_no_frame_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "ANSWER_S", 0.5)
    node = LinkNode()
    with PtyWire(tmp_path, node) as wire:
        node.unplug()
        chatter = asyncio.create_task(_chatter(wire))
        result = await discover(str(wire.path), "--link")
        chatter.cancel()
    assert result.exit_code == 1
    assert "bytes that are no frame of the link" in result.output


async def _chatter(wire: PtyWire) -> None:
    while True:
        wire.write(b"U\x00" * 50)
        await asyncio.sleep(0.1)
