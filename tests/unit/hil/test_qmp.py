"""The control connection to a QEMU that refuses, is silent, or goes: over a real socket pair."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping

import pytest

from hil.engines.qmp import Qmp
from hil.errors import EngineError

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\n'


class Machine:
    """QEMU's end of the connection."""

    def __init__(self, far: socket.socket) -> None:
        self.far = far
        self.asked = b""

    async def get(self) -> dict[str, object]:
        """Return the next command."""
        loop = asyncio.get_running_loop()
        while b"\n" not in self.asked:
            self.asked += await loop.sock_recv(self.far, 4096)
        line, _, self.asked = self.asked.partition(b"\n")
        command: dict[str, object] = json.loads(line)
        return command

    async def answer(self, line: bytes) -> dict[str, object]:
        """Send a line when the next command has come; return the command."""
        command = await self.get()
        self.far.sendall(line + b"\n")
        return command


@pytest.fixture
async def ends() -> AsyncIterator[tuple[socket.socket, Machine]]:
    near, far = socket.socketpair()
    far.setblocking(False)
    yield near, Machine(far)
    near.close()
    far.close()


@pytest.fixture
async def events() -> list[Mapping[str, object]]:
    return []


@pytest.fixture
async def qmp(
    ends: tuple[socket.socket, Machine], events: list[Mapping[str, object]]
) -> AsyncIterator[Qmp]:
    near, machine = ends
    machine.far.sendall(GREETING)
    made, command = await asyncio.gather(
        Qmp.over(near, events.append), machine.answer(b'{"return": {}}')
    )
    assert command == {"execute": "qmp_capabilities", "arguments": {}}
    yield made
    await made.close()


async def test_an_event_before_the_answer_is_no_answer(
    qmp: Qmp, ends: tuple[socket.socket, Machine], events: list[Mapping[str, object]]
) -> None:
    lines = b'{"event": "STOP"}\n{"return": {"running": false}}'
    answer, command = await asyncio.gather(
        qmp.run("human-monitor-command", command_line="stop"), ends[1].answer(lines)
    )
    assert answer == {"running": False}
    assert command["arguments"] == {"command-line": "stop"}
    assert events == [{"event": "STOP"}]


async def test_a_refusal_carries_what_qemu_wrote(
    qmp: Qmp, ends: tuple[socket.socket, Machine]
) -> None:
    refusal = b'{"error": {"class": "GenericError", "desc": "no such path"}}'
    with pytest.raises(EngineError, match=r"refused qom-get .*'path': '/x'.*no such path"):
        await asyncio.gather(qmp.run("qom-get", path="/x"), ends[1].answer(refusal))


async def test_a_silent_qemu_is_reported_with_the_limit(qmp: Qmp) -> None:
    with pytest.raises(EngineError, match=r"no answer to stop within 0\.01 s"):
        await qmp.run("stop", limit_s=0.01)


async def test_a_qemu_that_has_gone_answers_no_command(
    qmp: Qmp, ends: tuple[socket.socket, Machine]
) -> None:
    waiting = asyncio.create_task(qmp.run("cont"))
    await ends[1].get()
    ends[1].far.close()
    with pytest.raises(EngineError, match="ended before it answered cont"):
        await waiting
    with pytest.raises(EngineError, match="QEMU is gone: stop was not sent"):
        await qmp.run("stop")


async def test_a_line_cut_by_the_end_of_qemu(qmp: Qmp, ends: tuple[socket.socket, Machine]) -> None:
    with pytest.raises(EngineError, match="ended before it answered quit"):
        await asyncio.gather(qmp.run("quit"), ends[1].answer(b'{"return": {'))


async def test_a_qemu_that_ends_without_a_greeting(ends: tuple[socket.socket, Machine]) -> None:
    ends[1].far.close()
    with pytest.raises(EngineError, match="ended before it answered a greeting"):
        await Qmp.over(ends[0], lambda _event: None)
    assert ends[0].fileno() == -1  # nothing of the connection stays open
