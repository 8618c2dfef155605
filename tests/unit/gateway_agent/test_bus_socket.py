"""The socket of turns: who may open it, what it takes, and how many at a time."""

import asyncio
import grp
import json
import os
import pwd
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest

from boards.node_port import open_node_port
from gateway_agent import bus_socket, question_socket
from gateway_agent.bus_socket import MAX_CLIENTS, serve_turns
from gateway_agent.clock import SystemClock
from gateway_agent.commands.desk import CommandDesk
from gateway_agent.counters import Counters
from protocols.modbus_client import Read, read_request
from protocols.modbus_client.turn import MAX_QUESTION, SOCKET_NAME, TurnAnswer, TurnQuestion
from protocols.uplink import Action
from protocols.wire.registers import SIGNED_ADDRESS

from .slave import until

REQUEST = read_request(7, Read(3, 0, 1))
OWN_GROUP = grp.getgrgid(os.getgid()).gr_name


class Agent:
    """Keeps what it is asked for, and answers when ``gate`` is open."""

    def __init__(self) -> None:
        self.asked: list[tuple[TurnQuestion, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.answer = TurnAnswer("03021234")

    async def turn(self, question: TurnQuestion, who: str) -> TurnAnswer:
        self.asked.append((question, who))
        await self.gate.wait()
        return self.answer


@asynccontextmanager
async def served(folder: Path, group: str | None = None) -> AsyncIterator[Agent]:
    agent = Agent()
    async with serve_turns(folder, group, agent.turn):
        yield agent


async def told(folder: Path, line: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(folder / SOCKET_NAME))
    writer.write(line)
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_request_passes_with_the_name_of_who_asks(tmp_path: Path) -> None:
    frames: list[tuple[bool, bytes]] = []
    async with served(tmp_path) as agent:
        assert (tmp_path / SOCKET_NAME).stat().st_mode & 0o777 == 0o600
        port = open_node_port(
            f"gateway:{tmp_path}/line", 9600, lambda sent, data: frames.append((sent, data))
        )
        answer = await asyncio.to_thread(port.exchange, REQUEST, 1.0)
        assert answer == bytes.fromhex("03021234")
    user = pwd.getpwuid(os.getuid()).pw_name
    assert agent.asked == [(TurnQuestion("line", 7, "0300000001", 9600), user)]
    # Modbus over Serial Line V1.02: address, PDU, CRC with the low byte first.
    assert frames == [
        (True, bytes.fromhex("070300000001846c")),
        (False, bytes.fromhex("07030212343d33")),
    ]
    assert not (tmp_path / SOCKET_NAME).exists()


async def test_a_group_is_let_through_and_nobody_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    async with served(state, OWN_GROUP):
        found = (state / SOCKET_NAME).stat()
        assert (found.st_mode & 0o777, found.st_gid) == (0o660, os.getgid())
        assert state.stat().st_mode & 0o777 == 0o710
    async with served(tmp_path, "no-such-group"):
        assert (tmp_path / SOCKET_NAME).stat().st_mode & 0o777 == 0o600
    assert "gateway.site_group: group no-such-group gets no access" in caplog.text


async def test_a_question_that_is_none_gets_its_reason_or_the_end(tmp_path: Path) -> None:
    async with served(tmp_path) as agent:
        for line in (b"\n", b"{}\n", b"[1]\n", b"\xff\n", b'{"bus": 7}\n'):
            answer = json.loads(await told(tmp_path, line))
            assert "the request cannot be read" in answer["error"], line
        assert await told(tmp_path, b"x" * (MAX_QUESTION + 1)) == b""
        assert agent.asked == []


async def test_who_says_nothing_or_waits_too_long_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question_socket, "QUESTION_S", 0.02)
    monkeypatch.setattr(bus_socket, "_WAIT_S", 0.02)
    async with served(tmp_path) as agent:
        assert await told(tmp_path, b"{") == b""
        agent.gate.clear()
        answer = json.loads(await told(tmp_path, b'{"bus": "line", "pdu": "00"}\n'))
        assert "had no turn" in answer["error"]


async def test_more_than_a_few_at_a_time_are_closed(tmp_path: Path) -> None:
    async with served(tmp_path) as agent:
        agent.gate.clear()
        waiting = [
            asyncio.ensure_future(told(tmp_path, b'{"bus": "line", "pdu": "00"}\n'))
            for _ in range(MAX_CLIENTS)
        ]
        async with asyncio.timeout(10):
            while len(agent.asked) < MAX_CLIENTS:
                await asyncio.sleep(0.002)
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, str(tmp_path / SOCKET_NAME))
            assert await loop.sock_recv(client, 1) == b""
        agent.gate.set()
        answers = await asyncio.gather(*waiting)
        assert len(agent.asked) == MAX_CLIENTS
        assert {json.loads(answer)["pdu"] for answer in answers} == {"03021234"}


async def test_the_end_of_the_agent_ends_those_who_wait(tmp_path: Path) -> None:
    async with served(tmp_path) as agent:
        agent.gate.clear()
        waiting = asyncio.ensure_future(told(tmp_path, b'{"bus": "line", "pdu": "00"}\n'))
        async with asyncio.timeout(10):
            while not agent.asked:
                await asyncio.sleep(0.002)
    assert await waiting == b""


class Noted:
    """A field that keeps what is recorded, and has no device of its own."""

    def __init__(self) -> None:
        self.actions: list[Action] = []

    def find(self, _name: str) -> None: ...

    def at(self, _bus: str, _unit: int) -> None: ...

    async def fetch(self, node: str, file: int, progress: object) -> NoReturn:
        raise AssertionError((node, file, progress))

    def note(self, _device_id: str, action: Action, _committed: object = None) -> None:
        self.actions.append(action)


async def test_a_signed_write_is_recorded_though_who_asked_has_left(tmp_path: Path) -> None:
    """It is on the line then, and nothing calls it back."""
    desk, field, agent = CommandDesk("g", SystemClock(), Counters()), Noted(), Agent()
    desk.open(field)
    agent.gate.clear()
    # Write multiple registers (10h) at the register of signed writes, for register 0x0002.
    block = bytes(8) + b"\x00\x02" + bytes(6)
    pdu = b"\x10" + SIGNED_ADDRESS.to_bytes(2, "big") + b"\x00\x08\x10" + block
    line = msgspec.json.encode(TurnQuestion("line", 7, pdu.hex(), 9600)) + b"\n"
    async with serve_turns(tmp_path, None, lambda ask, who: desk.turn(agent.turn, ask, who)):
        _, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
        writer.write(line)
        await until(lambda: agent.asked)
        writer.close()
        await until(lambda: field.actions)
    (action,) = field.actions
    assert action.name == "command-failed"
    assert action.operator == pwd.getpwuid(os.getuid()).pw_name
    assert "unit 7 of bus line: a signed write of register 0x0002" in action.detail
    assert "it may be done" in action.detail
