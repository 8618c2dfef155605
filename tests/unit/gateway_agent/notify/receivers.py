"""A web server and a mail server that a test can make refuse, on loopback."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self


class Posted(NamedTuple):
    """One request that came, with its header names in lower case."""

    headers: dict[str, str]
    body: bytes


class Server:
    """Answers on a port of its own while its block runs."""

    def __init__(self) -> None:
        self.port = 0
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._safe, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        await asyncio.sleep(0)  # a connection that was just accepted gets its task
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    async def _safe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self.serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self._serving.discard(task)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""


class WebServer(Server):
    """``status`` gives the answer to the request of this number."""

    def __init__(self, status: Callable[[int], int] = lambda _: 204) -> None:
        super().__init__()
        self.requests: list[Posted] = []
        self._status = status

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
        fields = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in fields}
        body = await reader.readexactly(int(headers["content-length"]))
        status = self._status(len(self.requests))
        self.requests.append(Posted(headers, body))
        writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % status)
        await writer.drain()


class MailServer(Server):
    """Takes mails; ``rcpt`` is its answer to the mail of this number."""

    def __init__(self, rcpt: Callable[[int], str] = lambda _: "250 ok") -> None:
        super().__init__()
        self.mails: list[str] = []
        self.tried = 0
        self.asked: list[str] = []  # the address of each RCPT
        self._rcpt = rcpt

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode().strip():
            word = line.upper()
            if word.startswith("RCPT"):
                self.asked.append(line.partition("<")[2].partition(">")[0])
                writer.write(self._rcpt(self.tried).encode() + b"\r\n")
                self.tried += 1
            elif word == "DATA":
                writer.write(b"354 go on\r\n")
                self.mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                writer.write(b"250 taken\r\n")
            else:
                writer.write(b"221 bye\r\n" if word == "QUIT" else b"250 ok\r\n")
            if word == "QUIT":
                return
