"""Console, descriptor wires and deadlines: waits end by what happens, bounds hold, errors quote."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

import pytest

from hil.engines.console import MAX_LINES, MAX_UNREAD, Console
from hil.engines.deadline import LEAST_HOST_S, Deadline
from hil.engines.repl import Repl
from hil.errors import ConsoleError, HostTooSlow, WireError
from hil.wires.descriptor import DescriptorWire


async def test_waits_find_lines_prompts_and_objects_once(tmp_path: Path) -> None:
    console = Console("n", tmp_path / "log")
    waiting = asyncio.create_task(console.wait_for("b(.)", 5))
    await asyncio.sleep(0)
    console.feed(b'a1\r\nb2\r\nb3\r\n{"x": 1}\n{"y": 2}\n[1]\n>>> ')
    assert (await waiting).group(1) == "2"
    assert (await console.wait_for("b(.)", 5)).group(1) == "3"
    assert await console.wait_json("y", 5) == {"y": 2}
    await console.wait_for(">>> $", 5)
    with pytest.raises(ConsoleError, match=r'no JSON line with "x" within 0.01 s.*\n    a1\n'):
        await console.wait_json("x", 0.01)
    console.end("lost power")
    with pytest.raises(ConsoleError, match="node n lost power before it printed"):
        await console.wait_for("more", 5)
    console.close()
    console.close()
    assert "] b2\n" in (tmp_path / "log").read_text()


def test_babbling_console_is_bounded() -> None:
    console = Console("n")
    for _ in range(2 * MAX_LINES):
        console.feed(b"x" * 300 + b"\n")
    console.feed(b"y" * 10_000)
    assert len(console.lines) == MAX_LINES
    assert len(console._unread) <= MAX_UNREAD
    assert console.forgotten == 2 * MAX_LINES * 301 + 10_000 - MAX_UNREAD


async def test_terminal_shows_the_node_while_the_bench_reads() -> None:
    near, far = socket.socketpair()
    wire = DescriptorWire()
    wire.attach(near.detach())
    console = Console("n")
    repl = Repl(console, wire)
    repl.listen()
    tool = os.open(repl.path, os.O_RDWR | os.O_NOCTTY)
    os.write(tool, b"help\r")
    far.setblocking(False)
    assert await asyncio.get_running_loop().sock_recv(far, 100) == b"help\r"
    far.send(b"z" * 9000 + b"\n")
    got = b""
    deadline = Deadline(5)
    while len(got) < 9001:
        assert not deadline.over()
        await deadline.look()
        got += os.read(tool, 4096)
    assert got == b"z" * 9000 + b"\n"
    os.close(tool)
    repl.close()
    repl.close()
    far.close()


async def test_a_wire_outlives_its_emulator() -> None:
    wire = DescriptorWire(tx_limit=10)
    heard = bytearray()
    wire.listen(heard.extend)
    assert wire.write(b"off") == 0
    assert wire.overrun == 3
    for _ in range(2):
        near, far = socket.socketpair()
        wire.attach(near.detach())
        heard.clear()
        far.send(b"hello")
        await Deadline(5).until(lambda: heard == b"hello", "hello")
        assert wire.write(b"there") == 5
        assert far.recv(10) == b"there"
        sent = wire.write(b"x" * 4_000_000)
        assert sent < 4_000_000
        assert wire.pending() == 10
        wire.flush()
        assert wire.pending() == 0
        far.close()
        await Deadline(5).until(lambda: not wire.connected, "the end")
    wire.close()
    wire.close()
    near, far = socket.socketpair()
    with pytest.raises(WireError, match="a wire that is still in use"):
        wire.attach(near.detach())
    assert far.recv(1) == b"", "a closed wire closes what it is given"
    far.close()


async def test_deadline_counts_the_boards_time() -> None:
    clock = iter(range(100))
    deadline = Deadline(3.0, lambda: float(next(clock)))
    with pytest.raises(TimeoutError, match="expected a sign within 3 s of the board"):
        await deadline.until(lambda: False, "a sign")


def test_host_that_is_too_slow_is_told_from_a_node_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline(1.0, lambda: 0.01, patience=2)
    assert deadline.left_s() == 1
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + LEAST_HOST_S + 1)
    with pytest.raises(HostTooSlow, match=r"only 0\.00 of 1 s of the board"):
        deadline.left_s()


async def test_what_a_board_lags_is_added_to_its_time() -> None:
    lags = iter((0.2, 0.3, 0.0))  # the board lags further, then resets itself

    async def lag() -> float:
        return next(lags)

    deadline = Deadline(0.1, lag=lag)
    with pytest.raises(TimeoutError, match="a sign"):
        await deadline.until(lambda: False, "a sign")
    assert 0.4 <= deadline.host_s() < 3
    assert not list(lags)


async def test_what_a_board_lagged_before_a_reset_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hil.engines.deadline._ASK_S", 0.1)
    begun = time.monotonic()

    async def lag() -> float:
        passed = time.monotonic() - begun
        return passed / 2 if passed < 0.9 else 0.0  # the board has half of the time, then resets

    deadline = Deadline(0.6, lag=lag)
    with pytest.raises(TimeoutError, match="a sign"):
        await deadline.until(lambda: False, "a sign")
    assert deadline.host_s() > 0.95


async def test_what_timers_are_late_is_no_time_of_the_board() -> None:
    deadline = Deadline(10.0)
    asyncio.get_running_loop().call_soon(time.sleep, 0.4)  # a host that is busy elsewhere
    await deadline.look()
    assert deadline.host_s() >= 0.4
    assert deadline.elapsed_s() < 0.2
    assert deadline.speed() < 0.6
