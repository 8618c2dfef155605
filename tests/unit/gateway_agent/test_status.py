"""The status socket: private, bounded, and of use in deep directories and after a kill."""

import asyncio
import os
import socket
import stat
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from gateway_agent.cli.status import age, render
from gateway_agent.counters import Counters
from gateway_agent.status import (
    DeviceStatus,
    OutboxStatus,
    PointValue,
    Status,
    UplinkStatus,
    to_json,
)
from gateway_agent.status_socket import (
    MAX_BYTES,
    SOCKET_NAME,
    StatusError,
    read_status,
    serve_status,
)
from tests.paths import ROOT

NODE = DeviceStatus(
    id="tf-00",
    name="air-1",
    bus="roof",
    unit=1,
    kind="node",
    role="air",
    auth="ok",
    state="failing",
    values=[
        PointValue("pm2_5", "ug/m3", 35),
        PointValue("temperature", "Cel", 21.35),
        PointValue("co2", "ppm", None),
    ],
    age_ms=1234,
    polls=10,
    errors=2,
    skipped=0,
    problem="bus_timeout [red]x[/red]",
)
FULL = Status(
    gateway="gw-1",
    running_ms=5000,
    nodes=[NODE],
    counters=Counters(polls=10, poll_errors=Counter(crc=2)),
    outbox=OutboxStatus(
        stream=9, last=50, receipted_to=40, depth=10, file_bytes=1, max_bytes=2, full="no room"
    ),
    uplink=UplinkStatus(broker="b:1", connected=False, problem="refused", receipt="puback"),
)
CONFIG = (
    '[gateway]\nid = "gw-1"\nstate_dir = "."\nkey = "k"\n'
    '[uplink]\nhost = "h"\nreceipt = "puback"\n'
    '[[bus]]\nname = "b"\ntype = "tcp"\nhost = "h"\nport = 502\n'
    '[[bus.device]]\nname = "d"\nunit = 1\nkind = "profile"\nprofile = "senseair-s8"\n'
)
CLI = "from gateway_agent.cli import app; app()"
WAITING = Status(
    gateway="gw-1", running_ms=1, nodes=[], counters=Counters(), waiting_for="disk full"
)


async def ask(directory: Path, status: Status) -> Status:
    async with serve_status(directory, lambda: [to_json(status)]):
        path = directory / SOCKET_NAME
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        return await asyncio.to_thread(read_status, directory)


async def test_one_object_per_connection_and_a_private_socket(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        assert await ask(tmp_path, FULL) == FULL
    finally:
        os.umask(mask)
    assert not (tmp_path / SOCKET_NAME).exists()


async def test_a_directory_deeper_than_a_socket_address(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    assert await ask(deep, WAITING) == WAITING


async def test_a_socket_that_a_killed_agent_left_behind(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / SOCKET_NAME))
    left.close()
    with pytest.raises(StatusError, match="no agent answers there"):
        read_status(tmp_path)
    assert await ask(tmp_path, FULL) == FULL


async def test_where_no_socket_can_be_made_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / SOCKET_NAME).mkdir()

    reached = False
    async with serve_status(tmp_path, lambda: [to_json(FULL)]):
        reached = True
    assert reached
    assert "`status` will not work" in caplog.text
    assert (tmp_path / SOCKET_NAME).is_dir()


def test_no_agent_is_running(tmp_path: Path) -> None:
    with pytest.raises(StatusError, match="is `tianfu-gateway run` running"):
        read_status(tmp_path)
    with pytest.raises(StatusError, match="no agent answers there"):
        read_status(tmp_path / "no" / "such")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"nonsense\n",
        b"[1]\n",
        b'{"gateway": 1}',
        to_json(FULL).replace('"crc": 2', '"crc": "many"').encode(),
        b"x" * (MAX_BYTES + 10),
    ],
)
async def test_an_answer_that_is_no_status(tmp_path: Path, sent: bytes) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        writer.close()

    async with await asyncio.start_unix_server(answer, tmp_path / SOCKET_NAME):
        with pytest.raises(StatusError, match=r"expected|longer than"):
            await asyncio.to_thread(read_status, tmp_path)


def shown(status: Status) -> str:
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(render(status))
        return console.export_text()


def test_the_table_shows_what_the_status_holds() -> None:
    text = shown(FULL)
    for part in (
        "gateway gw-1", "air-1", "pm2_5 35 ug/m3, temperature 21.35 Cel, co2 - ppm", "1.2 s", "ok",
        "failing: bus_timeout [red]x[/red]", "10 records wait", "receipted to 40 of stream 9",
        "no space, new records wait: no room", "down: refused", "not a database",
        "polls 10, poll_errors (crc 2)",
    ):  # fmt: skip
        assert part in text, part
    assert "repeats" not in text


@pytest.mark.parametrize("words", [[], ["--json"]])
async def test_an_alarm_is_shown_and_the_exit_status_is_one(
    tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "gateway.toml").write_text(CONFIG)
    command = "status", "--config", str(tmp_path / "gateway.toml"), *words
    for status, expected in (
        (FULL, 0),
        (msgspec.structs.replace(FULL, alarms=["the collector went back"]), 1),
    ):
        async with serve_status(tmp_path, lambda found=status: [to_json(found)]):  # type: ignore[misc] # bound now
            asked = await asyncio.create_subprocess_exec(
                sys.executable, "-c", CLI, *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE
            )
            out, _ = await asked.communicate()
        assert asked.returncode == expected
        assert (b"the collector went back" in out) == bool(expected)


async def test_the_status_is_not_cut_in_a_pipe(tmp_path: Path) -> None:
    problem = "/dev/serial/by-id/usb-" + "0123456789" * 9 + " cannot be opened"
    status = msgspec.structs.replace(FULL, nodes=[msgspec.structs.replace(NODE, problem=problem)])
    (tmp_path / "gateway.toml").write_text(CONFIG)
    async with serve_status(tmp_path, lambda: [to_json(status)]):
        asked = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLI, "status", "--config", str(tmp_path / "gateway.toml"),
            cwd=ROOT, env={**os.environ, "COLUMNS": "80"}, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await asked.communicate()
    (row,) = [line for line in out.decode().splitlines() if "air-1" in line]
    assert "pm2_5 35 ug/m3, temperature 21.35 Cel, co2 - ppm" in row
    assert problem in row


def test_the_table_of_an_agent_that_waits_for_room() -> None:
    assert "outbox not open: disk full" in shown(WAITING)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(None, "-"), (0, "0.0 s"), (119_000, "119.0 s"), (300_000, "5 min"), (10_800_000, "3 h")],
)
def test_ages(milliseconds: int | None, text: str) -> None:
    assert age(milliseconds) == text
