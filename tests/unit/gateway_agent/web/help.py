"""What the tests of the console share: an agent with a console, and a plain HTTP client."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gateway_agent.agent import GatewayAgent
from gateway_agent.clock import SystemClock
from gateway_agent.counters import Counters
from gateway_agent.reload.in_force import source_at_start
from tests.unit.gateway_agent.slave import Handler, TcpSlave, until
from tests.unit.gateway_agent.test_agent import answer, stopped, write_site


class Answer(NamedTuple):
    """Status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


async def fetch(
    port: int,
    path: str,
    method: str = "GET",
    body: bytes = b"",
    tls: ssl.SSLContext | None = None,
    **headers: str,
) -> Answer:
    """Ask once, in a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    asked = {"Host": f"127.0.0.1:{port}", "Connection": "close", **headers}
    if body:
        asked["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in asked.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
    data = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    found = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)
    }
    if found.get("transfer-encoding") == "chunked":
        body = b"".join(_chunks(body))
    return Answer(int(first.split()[1]), found, body)


async def _shown(port: int) -> None:
    """Wait until the console shows three records: what it has is half a second old."""
    async with asyncio.timeout(20):
        while (await fetch(port, "/api/v1/outbox")).json()["counters"]["records_recorded"] < 3:
            await asyncio.sleep(0.02)


def _chunks(body: bytes) -> list[bytes]:
    chunks = []
    while body:
        size, _, body = body.partition(b"\r\n")
        chunks.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]
    return chunks


def add_web(path: Path, lines: str = "") -> Path:
    """Add a console on a free port to a configuration."""
    path.write_text(path.read_text() + f'\n[web]\nlisten = "127.0.0.1:0"\n{lines}')
    return path


@asynccontextmanager
async def running(
    root: Path, handler: Handler = answer, lines: str = ""
) -> AsyncIterator[GatewayAgent]:
    """Run an agent with a device that ``handler`` answers for, no broker, and a console.

    ``lines``: more of ``[web]``, and tables after it.
    """
    slave = await TcpSlave(handler).start()
    source = source_at_start(add_web(write_site(root, slave.port), lines))
    counters = Counters()
    agent = GatewayAgent(source.config, SystemClock(), counters, source)
    task = asyncio.create_task(agent.run())
    await until(lambda: counters.records_recorded >= 3)
    if agent.web_port and "users" not in lines:
        await _shown(agent.web_port)
    try:
        yield agent
    finally:
        await stopped(agent, task)
        await slave.close()
