"""The service manager hears of a start, of progress and of its end, and of nothing else."""

import asyncio
import itertools
import os
import socket
import time
from pathlib import Path

import pytest

from gateway_agent.supervisor import ServiceState, Supervisor

WORKS = ServiceState(is_started=True, is_alive=True, text="data flows")


class Manager:
    """What a service manager receives."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """Return the lines that have come since the last call."""
        lines = []
        while True:
            try:
                lines += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return lines


@pytest.mark.parametrize("name", ["notify", "@tianfu-test-of-notify"])
def test_start_progress_and_stop_are_reported(name: str, tmp_path: Path) -> None:
    address = name if name.startswith("@") else str(tmp_path / name)
    manager, ours = Manager(address), Supervisor({"NOTIFY_SOCKET": address})
    ours.report(WORKS._replace(is_started=False, text="starting:\nthe outbox"))
    assert manager.heard() == [
        "EXTEND_TIMEOUT_USEC=60000000",
        "WATCHDOG=1",
        "STATUS=starting: the outbox",
    ]
    ours.report(WORKS)
    assert manager.heard() == ["READY=1", "WATCHDOG=1", "STATUS=data flows"]
    ours.report(WORKS)
    assert manager.heard() == ["WATCHDOG=1"], "a state is reported once"
    ours.stopping()
    assert manager.heard() == ["STOPPING=1"]
    manager.socket.close()


def test_a_reload_is_reported_with_its_begin_and_its_end(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    manager, ours = Manager(address), Supervisor({"NOTIFY_SOCKET": address})
    before = time.monotonic_ns() // 1000
    with ours.reloading():
        first, second = manager.heard()
        assert first == "RELOADING=1"
        name, _, micros = second.partition("=")
        assert name == "MONOTONIC_USEC"
        assert before <= int(micros) <= time.monotonic_ns() // 1000
    assert manager.heard() == ["READY=1"]
    manager.socket.close()


def test_the_watchdog_gets_nothing_while_nothing_makes_progress(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = str(tmp_path / "notify")
    manager, ours = Manager(address), Supervisor({"NOTIFY_SOCKET": address})
    ours.report(WORKS)
    manager.heard()
    for _ in range(3):
        ours.report(ServiceState(is_started=True, is_alive=False, text="no commit for 61 s"))
    assert manager.heard() == ["STATUS=no commit for 61 s"]
    assert caplog.messages == ["only a new start may help: no commit for 61 s"], "once"
    manager.socket.close()


async def test_it_is_fed_three_times_in_the_time_of_the_watchdog(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    manager = Manager(address)
    ours = Supervisor({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "90000"})
    fed: list[float] = []

    def state() -> ServiceState:
        fed.append(asyncio.get_running_loop().time())
        return WORKS

    with ours.following(state):
        while len(fed) < 6:
            await asyncio.sleep(0.005)
    assert max(b - a for a, b in itertools.pairwise(fed)) >= 0.03
    assert manager.heard().count("WATCHDOG=1") >= 6
    count = len(fed)
    await asyncio.sleep(0.05)
    assert len(fed) == count, "nothing is reported after the end"
    manager.socket.close()


async def test_without_a_manager_nothing_is_looked_at() -> None:
    def state() -> ServiceState:
        raise AssertionError("nobody asked")

    with Supervisor({}).following(state):
        await asyncio.sleep(0)


def test_a_manager_that_is_gone_or_deaf_does_no_harm(tmp_path: Path) -> None:
    Supervisor({"NOTIFY_SOCKET": str(tmp_path / "gone")}).report(WORKS)
    manager = Manager(str(tmp_path / "deaf"))
    ours = Supervisor({"NOTIFY_SOCKET": str(tmp_path / "deaf")})
    for _ in range(2000):  # more than its queue holds
        ours.report(WORKS)
    manager.socket.close()


def test_the_watchdog_of_another_process_is_not_ours() -> None:
    there = {"WATCHDOG_USEC": "30000000"}
    assert Supervisor({**there, "WATCHDOG_PID": str(os.getpid())}).watchdog_s == 30
    assert Supervisor(there).watchdog_s == 30
    assert Supervisor({**there, "WATCHDOG_PID": "1"}).watchdog_s == 0
    assert Supervisor({"WATCHDOG_USEC": "soon"}).watchdog_s == 0
