"""The agent in one process, with a real Modbus TCP device and no broker: start, trouble, stop."""

import asyncio
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from unittest import mock

import pytest

from gateway_agent import agent as agent_module
from gateway_agent import outbox_start
from gateway_agent.agent import GatewayAgent
from gateway_agent.clock import SystemClock
from gateway_agent.config import load
from gateway_agent.counters import Counters
from gateway_agent.keys import KeyFileError, generate_signing_key
from gateway_agent.status import PointValue, Reconciliation
from gateway_agent.status_socket import StatusError, read_status
from gateway_agent.store.errors import StoreBusy, StoreFailed, StoreFull
from gateway_agent.store.mark import Mark
from gateway_agent.store.outbox import Outbox
from gateway_agent.tables import ConfigError
from protocols.uplink import Record

from .slave import TcpSlave, mbap, until
from .store_help import contents, open_box

PROFILE = """
[profile]
name = "probe"
title = "A probe"
source = "this test"
[[point]]
name = "level"
unit = "mm"
table = "input"
register = 0
type = "u16"
what = "a level"
"""


def answer(segment: bytes) -> Iterable[tuple[float, bytes]]:
    (tid,) = struct.unpack(">H", segment[:2])
    yield 0.0, mbap(tid, segment[6], bytes((segment[7], 2, 0x01, 0x02)))


def write_site(root: Path, modbus_port: int, receipt: str = "signed") -> Path:
    """A configuration whose broker refuses connections (port 1)."""
    if not (root / "gateway.pem").exists():
        generate_signing_key(root / "gateway.pem")
        generate_signing_key(root / "collector.pem")
    (root / "probe.toml").write_text(PROFILE)
    path = root / "gateway.toml"
    path.write_text(f"""
[gateway]
id = "gw-1"
state_dir = "state"
key = "gateway.pem"
[uplink]
host = "127.0.0.1"
port = 1
receipt = "{receipt}"
collector_key = "collector.pem.pub"
[outbox]
commit_ms = 1
[[bus]]
name = "plant"
type = "tcp"
host = "127.0.0.1"
port = {modbus_port}
[[bus.device]]
name = "basin"
unit = 1
kind = "profile"
profile = "probe.toml"
period_ms = 10
""")
    return path


def make(path: Path) -> tuple[GatewayAgent, Counters]:
    counters = Counters()
    return GatewayAgent(load(path), SystemClock(), counters), counters


async def stopped(agent: GatewayAgent, task: "asyncio.Task[None]") -> float:
    """Seconds from the request to the end."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    agent.request_stop()
    await asyncio.wait_for(task, 20)
    return loop.time() - begin


async def test_an_agent_that_cannot_account_for_a_reading_says_it_when_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slave = await TcpSlave(answer).start()
    agent, _ = make(write_site(tmp_path, slave.port))
    task = asyncio.create_task(agent.run())
    await until(agent.running.is_set)
    books = Reconciliation(unaccounted=2, sequence=0, schedule=2, receipts=0, archive=0)
    monkeypatch.setattr(agent_module, "reconciliation", lambda *_: books)
    with mock.patch.object(agent_module, "log") as log:  # else every test with it fails
        await stopped(agent, task)
    (text, count, found), _ = log.error.call_args
    assert "%d readings are unaccounted for" in text
    assert (count, found) == (2, books)
    await slave.close()


async def test_polls_are_recorded_shown_and_kept(tmp_path: Path) -> None:
    slave = await TcpSlave(answer).start()
    agent, counters = make(write_site(tmp_path, slave.port))
    before = agent.snapshot()
    assert before.nodes == []
    task = asyncio.create_task(agent.run())

    def twenty_are_shown() -> bool:
        status = agent.snapshot()
        # On a busy machine some of the records are gaps.
        return (
            status.outbox is not None
            and status.outbox.last >= 20
            and status.counters.readings_recorded >= 20
        )

    await until(twenty_are_shown)
    status = agent.snapshot()
    (node,) = status.nodes
    assert node.values == [PointValue("level", "mm", 258)]
    assert (node.id, node.role, node.auth) == ("gw-1.basin", "probe", "none")
    assert node.age_ms is not None
    assert 0 <= node.age_ms < 5000
    assert node.polls >= 20
    assert node.errors == 0
    assert status.outbox is not None
    assert status.outbox.depth == status.outbox.last >= 20
    assert status.uplink is not None
    assert not status.uplink.connected
    assert "refused" in status.uplink.problem
    assert status.counters.readings_recorded >= 20
    assert await stopped(agent, task) < 5
    await slave.close()
    box = open_box(tmp_path / "state")
    assert len(contents(box, 500)) == counters.records_recorded
    box.close()


async def test_a_failed_medium_ends_it_with_that_error_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Outbox.append

    def failing(self: Outbox, records: Sequence[Record], marks: Mapping[str, Mark]) -> int:
        if self.stats().last >= 5:
            self.failed = True
            raise StoreFailed("fsync failed")
        return append(self, records, marks)

    monkeypatch.setattr(Outbox, "append", failing)
    slave = await TcpSlave(answer).start()
    agent, counters = make(write_site(tmp_path, slave.port))
    with pytest.raises(StoreFailed, match="fsync failed"):
        await asyncio.wait_for(agent.run(), 20)
    await slave.close()
    monkeypatch.setattr(Outbox, "append", append)
    box = open_box(tmp_path / "state")
    assert len(contents(box)) == counters.records_recorded >= 5
    box.close()


async def test_it_stops_in_time_while_the_medium_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Outbox, *_: object) -> int:
        raise StoreFull("no room")

    monkeypatch.setattr(Outbox, "append", full)
    slave = await TcpSlave(answer).start()
    agent, counters = make(write_site(tmp_path, slave.port))
    task = asyncio.create_task(agent.run())
    await until(lambda: counters.store_full)
    outbox = agent.snapshot().outbox
    assert outbox is not None
    assert outbox.full == "no room"
    assert await stopped(agent, task) < 10
    assert counters.records_recorded == 0
    await slave.close()


async def test_it_waits_for_room_to_open_its_outbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = Outbox.open
    left = 2

    def without_room(*arguments: object) -> Outbox:
        nonlocal left
        if left:
            left -= 1
            raise StoreFull("a repair needs room")
        return opening(*arguments)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(Outbox, "open", without_room)
    monkeypatch.setattr(outbox_start, "FULL_RETRY_S", 0.05)
    slave = await TcpSlave(answer).start()
    agent, counters = make(write_site(tmp_path, slave.port))
    task = asyncio.create_task(agent.run())
    await until(lambda: agent.snapshot().waiting_for or agent.running.is_set())
    await until(lambda: counters.records_recorded)
    assert left == 0
    assert not agent.snapshot().waiting_for
    await stopped(agent, task)
    await slave.close()


async def test_while_it_waits_for_room_status_shows_it_and_no_other_agent_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_room(*_: object) -> Outbox:
        raise StoreFull("a repair needs room")

    monkeypatch.setattr(Outbox, "open", without_room)
    path = write_site(tmp_path, 1)
    agent, _ = make(path)
    task = asyncio.create_task(agent.run())
    await until(lambda: agent.snapshot().waiting_for)
    second, _ = make(path)
    with pytest.raises(StoreBusy, match="in use by another agent"):
        await second.run()
    status = await asyncio.to_thread(read_status, tmp_path / "state")
    assert status.waiting_for == "a repair needs room"
    await stopped(agent, task)
    with pytest.raises(StatusError):
        read_status(tmp_path / "state")


async def test_a_stop_while_it_waits_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_room(*_: object) -> Outbox:
        raise StoreFull("a repair needs room")

    monkeypatch.setattr(Outbox, "open", without_room)
    agent, _ = make(write_site(tmp_path, 1))
    task = asyncio.create_task(agent.run())
    await until(lambda: agent.snapshot().waiting_for == "a repair needs room")
    assert await stopped(agent, task) < 1


async def test_a_device_that_is_not_there_stops_nothing(tmp_path: Path) -> None:
    agent, counters = make(write_site(tmp_path, 1))
    task = asyncio.create_task(agent.run())
    await until(agent.running.is_set)
    await until(lambda: agent.snapshot().nodes)
    assert await stopped(agent, task) < 10
    assert counters.readings_recorded == 0


def test_keys_are_read_before_anything_is_opened(tmp_path: Path) -> None:
    path = write_site(tmp_path, 1)
    (tmp_path / "collector.pem.pub").write_text("no key")
    with pytest.raises(KeyFileError, match="expected a public key"):
        make(path)
    make(write_site(tmp_path, 1, receipt="puback"))
    assert not (tmp_path / "state").exists()


async def test_a_profile_that_cannot_be_used_releases_the_outbox(tmp_path: Path) -> None:
    path = write_site(tmp_path, 1)
    (tmp_path / "probe.toml").write_text("[profile]\n")
    agent, _ = make(path)
    with pytest.raises(ConfigError):
        await agent.run()
    open_box(tmp_path / "state").close()
