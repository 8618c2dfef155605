"""Pictures over the link: whole or not at all, also after a break, and only for who may ask."""

import asyncio
import hashlib
import json
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway_agent.cli import app
from gateway_agent.config import LinkBus
from gateway_agent.field.link.file_fetch import FetchError, FileFetch
from gateway_agent.file_socket import MAX_CLIENTS, SOCKET_NAME, serve_files
from protocols.uplink import FILE, MAX_FILE_BYTES

from .link_node import LinkNode, PtyWire
from .slave import until
from .test_config_link import HEAD, WITH_KEY
from .test_link import DEVICE, Gateway, device, running
from .test_poller import Memory

PICTURE = b"\xff\xd8" + random.Random(7).randbytes(5000) + b"\xff\xd9"


@asynccontextmanager
async def site(folder: Path, node: LinkNode) -> AsyncIterator[tuple[Gateway, PtyWire]]:
    """A gateway with one node on a pty, its file socket in ``folder``/state."""
    (folder / "state").mkdir()
    with PtyWire(folder, node) as wire:
        link = LinkBus(name="l", port=str(wire.path), device=(device(folder),))
        async with (
            running(folder, Memory(), link) as gateway,
            serve_files(folder / "state", gateway.field.fetch),
        ):
            await until(gateway.has_session)
            yield gateway, wire


async def command(folder: Path, node: str = "air", *more: str) -> Result:
    config = folder / "g.toml"
    config.write_text(f'{HEAD}[[bus]]\nname = "l"\ntype = "link"\nport = "/dev/x"\n{WITH_KEY}')
    arguments = ["snapshot", node, "--config", str(config), "--out", str(folder / "x.jpg"), *more]
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


async def test_a_picture_is_written_whole(tmp_path: Path) -> None:
    node = LinkNode()
    node.files[1] = PICTURE
    async with site(tmp_path, node):
        assert (tmp_path / "state" / SOCKET_NAME).stat().st_mode & 0o777 == 0o600
        result = await command(tmp_path, "air", "--json")
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["sha256"] == hashlib.sha256(PICTURE).hexdigest()
    assert (shown["number"], shown["size"]) == (7, len(PICTURE))
    assert (tmp_path / "x.jpg").read_bytes() == PICTURE
    assert (tmp_path / "x.jpg").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "state" / SOCKET_NAME).exists()


@pytest.mark.parametrize(
    ("reason", "words"),
    [(1, "the node has none"), (2, "its image switch (setting image_export) is off")],
)
async def test_the_node_gives_its_reason(tmp_path: Path, reason: int, words: str) -> None:
    node = LinkNode()
    node.files[1], node.file_error = PICTURE, reason
    async with site(tmp_path, node):
        result = await command(tmp_path)
    assert result.exit_code == 1
    assert words in result.output
    assert not (tmp_path / "x.jpg").exists()


async def test_who_is_no_node_on_a_link(tmp_path: Path) -> None:
    async with site(tmp_path, LinkNode()):
        result = await command(tmp_path, "pump")
    assert result.exit_code == 1
    assert "pump is no node on a link" in result.output


async def test_without_an_agent_nothing_is_written(tmp_path: Path) -> None:
    result = await command(tmp_path)
    assert result.exit_code == 1
    assert "no agent answers there" in result.output
    assert not (tmp_path / "x.jpg").exists()


async def test_a_picture_goes_on_after_the_port_was_gone(tmp_path: Path) -> None:
    node = LinkNode()
    node.files[1] = PICTURE
    async with site(tmp_path, node) as (gateway, wire):
        seen: list[int] = []

        def progress(have: int, size: int) -> None:
            seen.append(have)
            if len(seen) == 10:
                wire.close()
                asyncio.get_running_loop().call_later(0.05, wire.open)

        found = await gateway.field.fetch("air", 1, progress)
        await gateway.field.fetch("air", 1, lambda *_: None)  # again: recorded once
    assert found.data == PICTURE
    parts = [record.part for record in gateway.sink.of(DEVICE) if record.kind == FILE]
    assert b"".join(part.data for part in parts if part is not None) == PICTURE
    assert {(part.boot_epoch, part.number) for part in parts if part is not None} == {(5, 7)}
    assert seen == sorted(seen), "it began again"
    assert max(node.asked_from) >= 900


async def test_another_picture_meanwhile_is_taken_from_its_beginning(tmp_path: Path) -> None:
    node, other = LinkNode(), PICTURE[::-1]
    node.files[1] = PICTURE
    async with site(tmp_path, node) as (gateway, wire):
        calls = 0

        def progress(have: int, size: int) -> None:
            nonlocal calls
            calls += 1
            if calls == 10:
                node.files[1] = other
                wire.close()
                asyncio.get_running_loop().call_later(0.05, wire.open)

        found = await gateway.field.fetch("air", 1, progress)
    assert found.data == other


def _announced(size: int, digest: bytes, offset: int = 0) -> bytes:
    return bytes((3, 1)) + (7).to_bytes(4) + size.to_bytes(4) + digest + offset.to_bytes(4)


def _part(offset: int, data: bytes) -> bytes:
    return bytes((4,)) + offset.to_bytes(4) + data


@pytest.mark.parametrize(
    "messages",
    [
        [_announced(4, bytes(32)), _part(0, b"abcd")],
        [_announced(4, hashlib.sha256(b"abcd").digest()), _part(0, b"abcde")],
        [_announced(4, hashlib.sha256(b"abcd").digest()), _part(1, b"bcd")],
        [_announced(MAX_FILE_BYTES + 1, bytes(32))],
    ],
    ids=["another SHA-256", "longer than promised", "a hole", "too large"],
)
async def test_a_file_that_is_not_what_was_promised_is_not_taken(messages: list[bytes]) -> None:
    sent: list[bytes] = []

    def send(message: bytes) -> bool:
        sent.append(message)
        return True

    fetch = FileFetch(send)
    getting = asyncio.create_task(fetch.get(1, lambda have, size: None))
    await until(lambda: sent)
    for message in messages:
        fetch.message(message)
    with pytest.raises(FetchError, match="it is not taken"):
        await getting
    assert sent[-1] == b"\x02"
    fetch.message(_part(0, b"late"))  # costs nothing


async def test_one_at_a_time_and_strangers_are_bounded(tmp_path: Path) -> None:
    node = LinkNode()
    async with site(tmp_path, node) as (gateway, _):
        node.part_bytes = 0  # it announces and never sends
        node.files[1] = PICTURE
        first = asyncio.create_task(gateway.field.fetch("air", 1, lambda *_: None))
        await asyncio.sleep(0)
        with pytest.raises(FetchError, match="another file of this node is on its way"):
            await gateway.field.fetch("air", 1, lambda *_: None)
        first.cancel()
        await asyncio.wait({first})
        path = str(tmp_path / "state" / SOCKET_NAME)
        clients = [await asyncio.open_unix_connection(path) for _ in range(MAX_CLIENTS + 1)]
        assert await clients[-1][0].read() == b""
        clients[0][1].write(b"x" * 4096)
        assert await clients[0][0].read() == b""
        clients[1][1].write(b"{}\n")
        assert b"the request cannot be read" in await clients[1][0].read()
        for _, writer in clients:
            writer.close()


async def test_a_client_that_leaves_ends_its_file(tmp_path: Path) -> None:
    node = LinkNode()
    node.files[1], node.part_bytes = PICTURE, 0
    async with site(tmp_path, node) as (gateway, _):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "state" / SOCKET_NAME))
            client.sendall(b'{"node": "air"}\n')
            fetch = gateway.field.links[0].nodes[0].fetch
            await until(lambda: fetch.is_busy)
        await until(lambda: not fetch.is_busy)


async def test_a_picture_is_recorded_whole_though_a_client_left_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = LinkNode()
    node.files[1] = picture = random.Random(8).randbytes(20_000)
    waits, calls = asyncio.Event(), 0

    async def room() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:  # the store is behind when the second part comes
            waits.set()
            await asyncio.Event().wait()

    def ignore(have: int, size: int) -> None:
        pass

    async with site(tmp_path, node) as (gateway, _):
        monkeypatch.setattr(gateway.field.queue, "room", room)
        leaving = asyncio.create_task(gateway.field.fetch("air", 1, ignore))
        await asyncio.wait_for(waits.wait(), 20)
        leaving.cancel()
        await asyncio.wait({leaving})
        for _ in range(2):  # the second time all of it is recorded
            assert (await gateway.field.fetch("air", 1, ignore)).data == picture

        def parts() -> dict[int, bytes]:
            found = [item.part for item in gateway.sink.of(DEVICE) if item.kind == FILE]
            return {part.offset: part.data for part in found if part is not None}

        await until(lambda: b"".join(data for _, data in sorted(parts().items())) == picture)
    assert calls == 5
