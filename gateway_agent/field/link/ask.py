"""Asks who speaks the link on a port, for ``discover``: the HELLO of a node says who it is.

No session is opened and nothing is refused, so the node takes no notice.
"""

import asyncio
import os
from dataclasses import dataclass
from typing import Final

from gateway_agent.config import LinkBus, RtuOverTcpBus, SerialBus
from gateway_agent.counters import Counters
from gateway_agent.field.bus_port import BusPort
from protocols.wire.link.gateway import GatewayEnd
from protocols.wire.link.handshake import NOT_CONFIGURED, Hello
from protocols.wire.registers import MAPS

ANSWER_S: Final = 2.5  # a node without a session offers one every second


@dataclass(frozen=True, slots=True)
class LinkFound:
    """What answers on a port: a node, or bytes that are no frame of the link."""

    baudrate: int
    noise_bytes: int
    hello: Hello | None = None

    @property
    def role(self) -> str:
        """Return the role of the node; empty without a node or for an unknown map."""
        hello = self.hello
        return "" if hello is None else _ROLES.get(hello.map_id, "")

    @property
    def uid(self) -> str:
        """Return the unique id of the node, 24 hex digits, else an empty text."""
        return "" if self.hello is None else self.hello.uid.hex()

    @property
    def key_id(self) -> int:
        """Return the id of the node's key; 0 if it has none."""
        return 0 if self.hello is None else self.hello.key_id

    @property
    def detail(self) -> str:
        """Return what was found, for people."""
        hello = self.hello
        if hello is None:
            return f"{self.noise_bytes} bytes that are no frame of the link: wrong speed?"
        key = f"key {hello.key_id}" if hello.key_id else "no key: provision it"
        return f"node of ours on the link, {key}, boot {hello.boot_epoch}"


_ROLES: Final = {map.map_id: map.role for map in MAPS}


class _Listener(asyncio.Protocol):
    """Sends one question and keeps the first HELLO."""

    def __init__(self) -> None:
        self.heard: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self.end = GatewayEnd(self._keep, os.urandom)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        size = self.end.poll(self._now_ms())
        transport.write(bytes(self.end.tx[:size]))

    def data_received(self, data: bytes) -> None:
        self.end.feed(data, len(data), self._now_ms())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.heard.done():
            self.heard.cancel()

    def _keep(self, hello: Hello) -> int:
        if not self.heard.done():
            self.heard.set_result(hello)
        return NOT_CONFIGURED  # which is never sent

    @staticmethod
    def _now_ms() -> int:
        return int(asyncio.get_running_loop().time() * 1000)


async def ask(way: SerialBus | RtuOverTcpBus, counters: Counters) -> LinkFound | None:
    """Return what speaks on a port; None if nothing does. BusDownError: it cannot be used."""
    listener = _Listener()
    transport = await BusPort(way, counters).open(listener)
    try:
        await asyncio.wait({listener.heard}, timeout=ANSWER_S)
    finally:
        transport.close()
    noise = listener.end.noise_bytes()
    if listener.heard.done() and not listener.heard.cancelled():
        return LinkFound(way.baudrate, noise, listener.heard.result())
    listener.heard.cancel()
    return LinkFound(way.baudrate, noise) if noise else None


def link_block(link: LinkBus, found: LinkFound) -> str:
    """Return TOML for the configuration of a node that was found."""
    lines = ["[[bus]]", f'name = "{link.name}"', 'type = "link"']
    if link.host is not None:
        lines += [f'host = "{link.host}"', f"port = {link.port}"]
    else:
        lines += [f'port = "{link.port}"', f"baudrate = {found.baudrate}"]
    name = f"{found.role or 'node'}-1"
    lines += [] if found.key_id else ['auth = "none"']
    lines += ["", "[[bus.device]]", f'name = "{name}"', 'kind = "node"']
    lines += [f'role = "{found.role}"', f'uid = "{found.uid}"']
    lines += [f'key = "{name}.key"'] if found.key_id else []
    return "\n".join(lines) + "\n"
