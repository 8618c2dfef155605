"""QEMU's machine protocol (QMP): one JSON object a line, both ways, events in between."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from typing import Final, cast

from hil.errors import EngineError

_LIMIT_S: Final = 10.0
_LINE_LIMIT: Final = 1024 * 1024

Event = Mapping[str, object]


class Qmp:
    """The control connection to one QEMU. ``on_event`` gets every event as QEMU sends it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_event: Callable[[Event], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._on_event = on_event
        self._answers: asyncio.Queue[Mapping[str, object] | None] = asyncio.Queue()
        self._one = asyncio.Lock()
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def over(cls, near: socket.socket, on_event: Callable[[Event], None]) -> Qmp:
        """Use a connected socket: negotiate, so that commands work. EngineError."""
        reader, writer = await asyncio.open_connection(sock=near, limit=_LINE_LIMIT)
        qmp = cls(reader, writer, on_event)
        try:
            await qmp._answer("a greeting", _LIMIT_S)
            await qmp.run("qmp_capabilities")
        except BaseException:
            await qmp.close()
            raise
        return qmp

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                value = cast(Mapping[str, object], json.loads(line))
                if "event" in value:
                    self._on_event(value)
                else:
                    self._answers.put_nowait(value)
        except (OSError, ValueError):
            pass  # killed in the middle of a line
        self._answers.put_nowait(None)

    async def _answer(self, what: str, limit_s: float) -> Mapping[str, object]:
        try:
            answer = await asyncio.wait_for(self._answers.get(), limit_s)
        except TimeoutError:
            raise EngineError(f"QEMU gave no answer to {what} within {limit_s:g} s") from None
        if answer is None:
            self._answers.put_nowait(None)
            raise EngineError(f"QEMU ended before it answered {what}")
        return answer

    async def run(self, command: str, limit_s: float = _LIMIT_S, **arguments: object) -> object:
        """Run one command; return its result. EngineError with QEMU's text if it fails.

        An underscore in an argument's name stands for QMP's hyphen.
        """
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        request = {"execute": command, "arguments": named}
        async with self._one:
            try:
                self._writer.write(json.dumps(request).encode() + b"\n")
                await self._writer.drain()
            except OSError as error:
                raise EngineError(f"QEMU is gone: {command} was not sent ({error})") from None
            answer = await self._answer(command, limit_s)
        if "error" in answer:
            raise EngineError(f"QEMU refused {command} {named}: {answer['error']}")
        return answer.get("return")

    async def close(self) -> None:
        """Close the connection; QEMU runs on."""
        self._task.cancel()
        self._writer.close()
        await asyncio.wait((self._task,))
