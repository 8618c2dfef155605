"""Nodes call in through stunnel, with the very files that docs/modems.md shows.

Two stunnels run on loopback. Between them a relay notes what a listener on the network would see.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from gateway_agent.config import LinkBus
from hil.tools import TOOLS
from tests.free_port import free_port
from tests.unit.gateway_agent.frames_of_nodes import UID
from tests.unit.gateway_agent.link_node import Caller, LinkNode
from tests.unit.gateway_agent.slave import until
from tests.unit.gateway_agent.test_link import DEVICE, Gateway, device, running
from tests.unit.gateway_agent.test_poller import Memory

PAGE = Path(__file__).parents[2] / "docs/modems.md"
OUTER, INNER, NODES = "192.0.2.10:7743", "127.0.0.1:7700", "127.0.0.1:7701"

pytestmark = pytest.mark.tool("stunnel")


def shown(name: str) -> str:
    """Return the file that the page shows after its name."""
    text = PAGE.read_text(encoding="utf-8")
    return text[text.index(f"`/etc/stunnel/{name}`") :].split("```ini\n")[1].split("```")[0]


def here(config: str, places: Mapping[str, str]) -> str:
    """Return a file of the page with ports and paths of the test, run by the test's own user."""
    lines = [line for line in config.splitlines() if not line.startswith(("setuid", "setgid"))]
    config = "\n".join(lines) + "\n"
    for old, new in places.items():
        assert old in config, f"the page has no {old} any more"
        config = config.replace(old, new)
    return config


def secret_file(path: Path, *lines: str) -> Path:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


@asynccontextmanager
async def stunnel(folder: Path, name: str, config: str) -> AsyncIterator[Path]:
    """Run it until the end of the block; yields its log."""
    file, log = folder / f"{name}.conf", folder / f"{name}.log"
    file.write_text("debug = info\n" + config, encoding="ascii")
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            str(TOOLS["stunnel"].find()), str(file), stdout=output, stderr=output
        )
    try:
        await until(
            lambda: process.returncode is not None or "Configuration successful" in log.read_text()
        )
        assert process.returncode is None, log.read_text()
        yield log
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class CountingCaller(Caller):
    """Keeps what came from the gateway, and what went to it."""

    def __init__(self, node: LinkNode) -> None:
        super().__init__(node)
        self.came, self.sent = bytearray(), bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)

        def write(data: bytes) -> None:
            self.sent += data
            transport.write(data)

        self.node.plug(write)

    def data_received(self, data: bytes) -> None:
        self.came += data
        super().data_received(data)


class Site:
    """A gateway behind stunnel, its modems' keys, and what passed on the network."""

    def __init__(self, folder: Path, gateway: Gateway, log: Path, key: str) -> None:
        self.folder = folder
        self.gateway = gateway
        self.log = log
        self.key = key
        self.network = bytearray()
        self.outer = 0  # where the relay listens
        self.modems = 0

    @asynccontextmanager
    async def modem(
        self, node: LinkNode, identity: str, key: str, more: str = ""
    ) -> AsyncIterator[CountingCaller]:
        """Let a node call in through a stunnel of its own."""
        self.modems += 1
        name, port = f"modem-{self.modems}", free_port()
        secret = secret_file(self.folder / f"{name}.psk", f"{identity}:{key}")
        places = {
            NODES: f"127.0.0.1:{port}",
            OUTER: f"127.0.0.1:{self.outer}",
            "/etc/stunnel/water-7.psk": str(secret),
            "PSKidentity = water-7": f"PSKidentity = {identity}",
        }
        config = here(shown("water-7.conf"), places) + more
        async with stunnel(self.folder, name, config):
            _, caller = await asyncio.get_running_loop().create_connection(
                lambda: CountingCaller(node), "127.0.0.1", port
            )
            try:
                yield caller
            finally:
                caller.close()

    async def relay(self, near: asyncio.StreamReader, back: asyncio.StreamWriter, to: int) -> None:
        """Pass one connection on, both ways."""
        far, forth = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(self._pass(near, forth), self._pass(far, back))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                self.network += data
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def site(folder: Path, sink: Memory) -> AsyncIterator[Site]:
    inner, outer = free_port(), free_port()
    key = secrets.token_hex(32)
    file = secret_file(folder / "tianfu.psk", f"water-7:{key}", f"water-8:{secrets.token_hex(32)}")
    places = {
        OUTER: f"127.0.0.1:{outer}",
        INNER: f"127.0.0.1:{inner}",
        "/etc/stunnel/tianfu.psk": str(file),
    }
    link = LinkBus(name="modems", listen=f"127.0.0.1:{inner}", device=(device(folder),))
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(running(folder, sink, link))
        log = await stack.enter_async_context(
            stunnel(folder, "gateway", here(shown("tianfu.conf"), places))
        )
        found = Site(folder, gateway, log, key)
        server = await asyncio.start_server(
            lambda reader, writer: found.relay(reader, writer, outer), "127.0.0.1", 0
        )
        found.outer = server.sockets[0].getsockname()[1]
        try:
            yield found
        finally:
            server.close()


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_a_node_calls_in_and_the_network_sees_nothing(tmp_path: Path, version: str) -> None:
    sink, node = Memory(), LinkNode()
    async with site(tmp_path, sink) as found:
        more = f"sslVersionMax = {version}\n"
        async with found.modem(node, "water-7", found.key, more) as caller:
            await until(found.gateway.has_session)
            node.measure()
            node.measure()
            await until(lambda: len(sink.of(DEVICE)) == 2)
            await until(lambda: node.end.waiting(1) == 0)
            assert UID in caller.sent
        assert f"{version} ciphersuite" in found.log.read_text()
    assert sink.seqs() == [1, 2]
    assert len(found.network) > len(caller.sent)
    assert UID not in found.network


async def test_a_wrong_key_and_an_unknown_identity_get_nothing(tmp_path: Path) -> None:
    sink, good = Memory(), LinkNode()
    async with site(tmp_path, sink) as found, found.modem(good, "water-7", found.key):
        await until(found.gateway.has_session)
        wrong = secrets.token_hex(32)
        for identity, key in (("water-7", wrong), ("water-8", found.key), ("water-9", found.key)):
            for version in ("TLSv1.2", "TLSv1.3"):
                bad = LinkNode(uid=bytes(range(12)))
                more = f"sslVersionMax = {version}\n"
                async with found.modem(bad, identity, key, more) as caller:
                    await until(caller.lost.is_set)
                assert (bytes(caller.came), bad.opened, bad.refused) == (b"", 0, [])
        good.measure()
        await until(lambda: len(sink.of(DEVICE)) == 1)
        assert found.gateway.status().problem == ""
        assert good.opened == 1
    assert sink.seqs() == [1]


async def test_who_has_a_key_still_gets_no_cipher_that_hides_nothing(tmp_path: Path) -> None:
    async with site(tmp_path, Memory()) as found:
        node = LinkNode()
        more = "ciphers = PSK-NULL-SHA256\nsecurityLevel = 0\nsslVersionMax = TLSv1.2\n"
        async with found.modem(node, "water-7", found.key, more) as caller:
            await until(caller.lost.is_set)
        assert (bytes(caller.came), node.opened) == (b"", 0)
        await until(lambda: "no shared cipher" in found.log.read_text())
