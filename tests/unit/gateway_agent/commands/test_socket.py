"""The socket of commands: who may open it, who has commanded, and what is no command."""

import asyncio
import grp
import json
import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from gateway_agent.commands.command import Command, CommandResult
from gateway_agent.commands.socket import MAX_LINE, SOCKET_NAME, send_command, serve_commands

USER = pwd.getpwuid(os.getuid()).pw_name
OWN_GROUP = grp.getgrgid(os.getgid()).gr_name

Given: TypeAlias = tuple[Command, str]


@asynccontextmanager
async def served(
    folder: Path, group: str | None = None
) -> AsyncIterator[list[tuple[Command, str]]]:
    got: list[tuple[Command, str]] = []

    async def run(command: Command, by: str) -> CommandResult:
        got.append((command, by))
        return CommandResult(outcome="done", text="2 s -> 5 s")

    async with serve_commands(folder, group, run):
        yield got


async def told(folder: Path, line: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(folder / SOCKET_NAME))
    writer.write(line)
    answer = await reader.read()
    writer.close()
    return answer


async def test_the_kernel_names_who_commands_and_a_client_only_adds_a_note(tmp_path: Path) -> None:
    command = Command(action="set", device="air-1", point="sample_period", value="5 s")
    async with served(tmp_path) as got:
        assert (tmp_path / SOCKET_NAME).stat().st_mode & 0o777 == 0o600
        for note in ("", USER, "somebody else", "\x1b[2J"):
            result = await asyncio.to_thread(send_command, tmp_path, command, note)
            assert result.text == "2 s -> 5 s"
    assert [by for _, by in got] == [
        USER,
        USER,
        f"{USER} (somebody else)",
        f"{USER} (\\x1b[2J)",
    ]
    assert all(one == command for one, _ in got)


async def test_a_group_of_the_machine_may_command(tmp_path: Path) -> None:
    async with served(tmp_path, OWN_GROUP):
        found = (tmp_path / SOCKET_NAME).stat()
        assert (found.st_mode & 0o777, found.st_gid) == (0o660, os.getgid())


async def test_what_is_no_command_is_refused_with_its_reason(tmp_path: Path) -> None:
    async with served(tmp_path) as got:
        for line in (
            b"\n",
            b"{}\n",
            b"\xff\n",
            b'{"command": {"action": "get", "device": "\xff"}}\n',
            b"[" * 2000 + b"\n",
            b'{"command": {"action": "erase", "device": "a"}}\n',
            b'{"command": {"action": "get", "device": 5}}\n',
            b'{"command": {"action": "get", "device": "' + b"x" * 129 + b'"}}\n',
            b'{"command": {"action": "get", "device": "a", "by": "root"}}\n',
            b'{"command": {"action": "get", "device": "a"}, "by": "root"}\n',
        ):
            answer = json.loads(await told(tmp_path, line))
            assert answer["outcome"] == "refused", line
            assert "the request cannot be read" in answer["text"]
        assert await told(tmp_path, b"x" * (MAX_LINE + 1)) == b""
        assert got == []
