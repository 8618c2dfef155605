"""A simulated part with a node at the other end of its wire."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

from hil.sim.part import Part

LIMIT_S = 20


class Node:
    """The node's end of a part's wire."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.data = b""

    def poll(self) -> bytes:
        self.data += os.read(self._fd, 4096)
        return self.data

    async def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        async with asyncio.timeout(LIMIT_S):
            while len(self.poll()) < count:
                await asyncio.sleep(0.002)
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    async def ask(self, command: bytes, count: int) -> bytes:
        self.send(command)
        return await self.take(count)

    def send(self, command: bytes) -> None:
        os.write(self._fd, command)


@contextmanager
def wired(part: Part) -> Iterator[Node]:
    part.start()
    fd = os.open(part.path, os.O_RDWR | os.O_NOCTTY)
    try:
        yield Node(fd)
    finally:
        os.close(fd)
        part.close()


async def handled(part: Part, requests: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while part.requests < requests:
            await asyncio.sleep(0.002)
