"""The status socket: private, bounded, and of use in deep directories and after a kill."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from gateway_agent.cli.status import age, render
from gateway_agent.status import MAX_BYTES, SOCKET_NAME, StatusError, read_status, serve_status


async def ask(directory: Path, snapshot: Callable[[], dict[str, object]]) -> dict[str, object]:
    async with serve_status(directory, snapshot):
        path = directory / SOCKET_NAME
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        return await asyncio.to_thread(read_status, directory)


async def test_one_object_per_connection_and_a_private_socket(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        assert await ask(tmp_path, lambda: {"a": [1, None, "x"]}) == {"a": [1, None, "x"]}
    finally:
        os.umask(mask)
    assert not (tmp_path / SOCKET_NAME).exists()


async def test_a_directory_deeper_than_a_socket_address(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    assert await ask(deep, lambda: {"deep": True}) == {"deep": True}


async def test_a_socket_that_a_killed_agent_left_behind(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / SOCKET_NAME))
    left.close()
    with pytest.raises(StatusError, match="no agent answers there"):
        read_status(tmp_path)
    assert await ask(tmp_path, lambda: {"new": 1}) == {"new": 1}


async def test_where_no_socket_can_be_made_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / SOCKET_NAME).mkdir()

    reached = False
    async with serve_status(tmp_path, dict):
        reached = True
    assert reached
    assert "there will be no status" in caplog.text
    assert (tmp_path / SOCKET_NAME).is_dir()


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(StatusError, match="is `tianfu-gateway run` running"):
        read_status(tmp_path)
    with pytest.raises(StatusError, match="no agent answers there"):
        read_status(tmp_path / "no" / "such")


@pytest.mark.parametrize("said", [b"", b"nonsense\n", b"[1]\n", b"x" * (MAX_BYTES + 10)])
async def test_an_answer_that_is_none(tmp_path: Path, said: bytes) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    async with await asyncio.start_unix_server(answer, tmp_path / SOCKET_NAME):
        with pytest.raises(StatusError, match=r"expected|longer than"):
            await asyncio.to_thread(read_status, tmp_path)


SNAPSHOT: dict[str, object] = {
    "gateway": "gw-1",
    "running_ms": 5000,
    "nodes": [
        {
            "id": "tf-00",
            "name": "air-1",
            "bus": "roof",
            "unit": 1,
            "kind": "node",
            "role": "air",
            "auth": "ok",
            "state": "failing",
            "values": [
                {"name": "pm2_5", "unit": "ug/m3", "value": 35},
                {"name": "temperature", "unit": "Cel", "value": 21.35},
                {"name": "co2", "unit": "ppm", "value": None},
            ],
            "age_ms": 1234,
            "polls": 10,
            "errors": 2,
            "skipped": 0,
            "problem": "bus_timeout [red]x[/red]",
        }
    ],
    "counters": {"polls": 10, "repeats": 0, "poll_errors": {"crc": 2}},
    "outbox": {"stream": 9, "last": 50, "receipted_to": 40, "depth": 10, "full": "no room"},
    "uplink": {"broker": "b:1", "connected": False, "problem": "refused", "receipt": "puback"},
}


def shown(snapshot: dict[str, object]) -> str:
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(render(snapshot))
        return console.export_text()


def test_the_table_says_what_the_snapshot_says() -> None:
    text = shown(json.loads(json.dumps(SNAPSHOT)))
    for part in (
        "gateway gw-1", "air-1", "pm2_5 35 ug/m3, temperature 21.35 Cel, co2 - ppm", "1.2 s", "ok",
        "failing: bus_timeout [red]x[/red]", "10 records wait", "receipted to 40 of stream 9",
        "no space, new records wait: no room", "down: refused", "not a database",
        "polls 10, poll_errors (crc 2)",
    ):  # fmt: skip
        assert part in text, part
    assert "repeats" not in text


def test_a_snapshot_of_an_agent_that_waits_for_room() -> None:
    text = shown({"gateway": "gw-1", "nodes": [], "counters": {}, "waiting_for": "disk full"})
    assert "outbox not open: disk full" in text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(None, "-"), (0, "0.0 s"), (119_000, "119.0 s"), (300_000, "5 min"), (10_800_000, "3 h")],
)
def test_ages(milliseconds: int | None, text: str) -> None:
    assert age(milliseconds) == text
