"""What passes on a bus, live, on a unix domain socket of the agent: a line of JSON for each frame.

A client that reads too slowly loses frames and is told how many; the bus waits for nobody.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from gateway_agent.field.line_tap import ViewersError
from gateway_agent.question_socket import (
    QuestionClient,
    QuestionError,
    QuestionSocket,
    read_question,
    serve_questions,
)
from gateway_agent.status_socket import connected
from protocols.modbus_client.listener import HeardFrame

SOCKET_NAME: Final = "frames.sock"
MAX_CLIENTS: Final = 8
SEND_S: Final = 5.0
QUIET_S: Final = 5.0  # without a frame an empty line shows that the agent is there
_CLIENT_S: Final = 30.0
_MAX_LINE: Final = 256
_MAX_UNSENT: Final = 64 * 1024  # bytes for one client; more are not sent, and counted

Watch: TypeAlias = Callable[[str], AsyncGenerator[HeardFrame | int, None]]


class FramesQuestion(Struct, frozen=True, forbid_unknown_fields=True):
    """Look at a bus, by its name in the configuration."""

    bus: str


class FrameLine(Struct, frozen=True, omit_defaults=True):
    """One frame: ``kind`` is request, answer, exception or damaged; ``text`` says it in words.

    ``lost`` frames before it did not fit. A line with an ``error`` is the last one.
    """

    at_ms: int = 0
    kind: str = ""
    text: str = ""
    data: str = ""  # its bytes as hex digits
    lost: int = 0
    error: str = ""


def line_of(frame: HeardFrame, lost: int = 0) -> FrameLine:
    """Return a frame as it is sent."""
    return FrameLine(frame.at_ms, str(frame.kind), frame.describe(), frame.data.hex(), lost)


def serve_frames(
    directory: Path, group: str | None, watch: Watch
) -> AbstractAsyncContextManager[None]:
    """Serve while the block runs. ``group``: of users who may look."""

    async def answer(line: bytes, client: QuestionClient) -> None:
        error = "the bus is gone, or its line was changed: look again"
        try:
            question = read_question(line, FramesQuestion)
            async with aclosing(watch(question.bus)) as frames:
                await _send(frames, client)
        except (QuestionError, LookupError, ViewersError) as wrong:
            error = str(wrong)
        client.write(msgspec.json.encode(FrameLine(error=error)) + b"\n")

    kind = QuestionSocket(SOCKET_NAME, "frames", _MAX_LINE, MAX_CLIENTS, SEND_S, group)
    return serve_questions(directory, kind, answer)


async def _send(frames: AsyncGenerator[HeardFrame | int, None], client: QuestionClient) -> None:
    lost, loop, timers = 0, asyncio.get_running_loop(), list[asyncio.TimerHandle]()

    def quiet() -> None:
        timers[:] = [loop.call_later(QUIET_S, quiet)]
        if client.unsent < _MAX_UNSENT:
            client.write(b"\n")

    quiet()
    try:
        async for frame in frames:
            if isinstance(frame, int):
                lost += frame
            elif client.unsent >= _MAX_UNSENT:
                lost += 1
            else:
                client.write(msgspec.json.encode(line_of(frame, lost)) + b"\n")
                lost = 0
    finally:
        timers[0].cancel()


def watched_frames(directory: Path, bus: str) -> Iterator[FrameLine]:
    """Yield what passes on a bus of the agent with this state directory. StatusError: none is."""
    with connected(directory / SOCKET_NAME, "agent", "run", _CLIENT_S) as client:
        client.sendall(msgspec.json.encode(FramesQuestion(bus)) + b"\n")
        with client.makefile("rb") as stream:
            for line in stream:
                if line.strip():
                    yield msgspec.json.decode(line, type=FrameLine)
