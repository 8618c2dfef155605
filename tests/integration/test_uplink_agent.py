"""The real processes: agent and collector killed, stopped, starved, started again."""

import asyncio
import fcntl
import json
import os
import resource
import signal
import sqlite3
import stat
import struct
import termios
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway_agent.keys import generate_signing_key, public_path
from gateway_agent.status_socket import SOCKET_NAME
from gateway_agent.store.errors import EXIT_STORE_FAILED
from gateway_agent.store.outbox import Outbox
from hil.site.mosquitto import MosquittoBroker
from tests.integration.uplink_help import until
from tests.paths import ROOT
from tests.promise.site import COMMAND, GATEWAY, PROFILE
from tests.unit.gateway_agent.slave import TcpSlave, mbap
from tests.unit.gateway_agent.store_help import open_box

# A dozen processes come and go in some tests: on a busy machine that takes its time.
pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(180)]


class Counter:
    """A Modbus TCP device whose value rises with every request."""

    def __init__(self) -> None:
        self.value = 0

    def answer(self, segment: bytes) -> Iterable[tuple[float, bytes]]:
        tid, unit = struct.unpack(">H", segment[:2])[0], segment[6]
        self.value += 1
        yield 0.0, mbap(tid, unit, struct.pack(">BBI", segment[7], 4, self.value))


class Site:
    """Files and processes of one gateway and one collector."""

    def __init__(self, root: Path, broker_port: int) -> None:
        self.root = root
        self.counter = Counter()
        self.slave = TcpSlave(self.counter.answer)
        self.broker_port = broker_port
        for name in ("gateway.pem", "collector.pem"):
            generate_signing_key(root / name)
        (root / "counter.toml").write_text(PROFILE)
        self.gateway_toml = root / "gateway.toml"
        self.collector_toml = root / "collector.toml"
        self.state = root / "state"
        self.database = root / "collector.db"

    async def start(self) -> None:
        await self.slave.start()
        self.gateway_toml.write_text(f"""
[gateway]
id = "{GATEWAY}"
state_dir = "state"
key = "gateway.pem"
[uplink]
host = "127.0.0.1"
port = {self.broker_port}
collector_key = "{public_path(Path("collector.pem"))}"
batch_records = 20
batch_interval_ms = 50
retry_ms = 500
[outbox]
commit_ms = 5
[[bus]]
name = "plant"
type = "tcp"
host = "127.0.0.1"
port = {self.slave.port}
[[bus.device]]
name = "counter"
unit = 1
kind = "profile"
profile = "counter.toml"
period_ms = 10
""")
        self.collector_toml.write_text(f"""
[collector]
key = "collector.pem"
database = "collector.db"
[broker]
host = "127.0.0.1"
port = {self.broker_port}
[[gateway]]
id = "{GATEWAY}"
keys = ["{public_path(Path("gateway.pem"))}"]
""")

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        if not self.database.exists():
            return []
        connection = sqlite3.connect(self.database, timeout=10)
        try:
            return connection.execute(sql).fetchall()
        except sqlite3.OperationalError:  # the collector has not made its tables yet
            return []
        finally:
            connection.close()

    def values(self) -> list[int]:
        """What the collector has, in the order of the stream."""
        rows = self.rows("SELECT value FROM readings ORDER BY stream_id, seq")
        return [int(str(value)) for (value,) in rows]

    @asynccontextmanager
    async def process(self, *arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
        """A command of tianfu-gateway; killed at the end of the block if it still runs."""
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *map(str, arguments),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@asynccontextmanager
async def site_with(broker: MosquittoBroker, root: Path) -> AsyncIterator[Site]:
    site = Site(root, broker.port)
    await site.start()
    try:
        yield site
    finally:
        await site.slave.close()


def readings_in(box: Outbox) -> int:
    """How many readings wait in an outbox; gaps are records too."""
    found = box.slice(0, 1_000_000, 1 << 30)
    return 0 if found is None else sum(record.readings for record in found.records)


async def stop(process: asyncio.subprocess.Process) -> str:
    """SIGTERM; its standard error. It must end well within 10 s."""
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert time.monotonic() - begin < 10, errors.decode()
    assert process.returncode == 0, errors.decode()
    assert b"Traceback" not in errors, errors.decode()
    return errors.decode()


async def test_agent_and_collector_killed_again_and_again(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """kill -9 of either, at any time: the chain has no hole and no reading is there twice."""
    async with site_with(broker, tmp_path) as site:
        for _ in range(3):
            async with site.process("collect", "--config", site.collector_toml):
                before = len(site.values())
                async with site.process("run", "--config", site.gateway_toml):
                    await until(lambda b=before: len(site.values()) > b + 30, "readings arrive")  # type: ignore[misc] # bound now
                # both are killed here, the agent first
        async with (
            site.process("collect", "--config", site.collector_toml),
            site.process("run", "--config", site.gateway_toml) as agent,
        ):
            before = len(site.values())
            await until(lambda: len(site.values()) > before + 30, "readings arrive")
            await stop(agent)
            values = site.values()
            assert values == sorted(set(values))
            assert len(values) > 120
            ((streams, last),) = site.rows("SELECT count(*), max(contiguous_to) FROM streams")
            assert streams == 1
            assert site.rows("SELECT count(*) FROM records") == [(last,)]
            assert site.rows("SELECT count(*) FROM refused") == [(0,)]
        box = open_box(site.state)
        assert box.stats().depth == 0, "a clean stop delivers what it has"
        assert box.stats().last == last
        box.close()


async def test_a_hangup_stops_neither_agent_nor_collector(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    async with (
        site_with(broker, tmp_path) as site,
        site.process("collect", "--config", site.collector_toml) as collector,
        site.process("run", "--config", site.gateway_toml) as agent,
    ):
        await until(lambda: len(site.values()) > 5, "readings arrive")
        for process in (collector, agent):
            process.send_signal(signal.SIGHUP)
        before = site.counter.value
        await until(lambda: before + 30 in site.values(), "readings arrive after the signals")
        assert "SIGHUP is ignored" in await stop(agent)
        assert "SIGHUP is ignored" in await stop(collector)


async def test_a_closed_terminal_stops_neither_agent_nor_collector(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """The kernel sends SIGHUP, and every line that is written from then on fails with EIO."""
    async with site_with(broker, tmp_path) as site:
        terminals, processes = [], []
        try:
            for words in (("collect", site.collector_toml), ("run", site.gateway_toml)):
                ours, theirs = os.openpty()
                terminals.append(ours)
                command = [*COMMAND, "-v", words[0], "--config", str(words[1])]
                processes.append(
                    await asyncio.create_subprocess_exec(
                        *command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs,
                        start_new_session=True,
                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                    )
                )  # fmt: skip
                os.close(theirs)
            await until(lambda: len(site.values()) > 5, "readings arrive")
            while terminals:
                os.close(terminals.pop())
            before = site.counter.value
            await until(lambda: before + 30 in site.values(), "readings arrive without terminals")
            for process in reversed(processes):
                process.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(process.wait(), 20) == 0
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
                await process.wait()
            for terminal in terminals:
                os.close(terminal)


async def test_a_stop_without_a_broker_is_clean_and_keeps_everything(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    async with site_with(broker, tmp_path) as site:
        broker.kill()
        async with site.process("-v", "run", "--config", site.gateway_toml) as agent:
            await until(lambda: site.counter.value > 40, "polls")
            log = await stop(agent)
        assert "stay in the outbox for the next start" in log
        box = open_box(site.state)
        kept = readings_in(box)
        box.close()
        assert 30 < kept <= site.counter.value
        broker.start()
        async with (
            site.process("collect", "--config", site.collector_toml),
            site.process("run", "--config", site.gateway_toml) as agent,
        ):
            await until(lambda: len(site.values()) > kept, "the backlog arrives")
            await stop(agent)
        values = site.values()
        assert values[:kept] == list(range(1, kept + 1))


async def test_status_of_a_running_agent(broker: MosquittoBroker, tmp_path: Path) -> None:
    async with site_with(broker, tmp_path) as site:
        async with site.process("run", "--config", site.gateway_toml) as agent:
            await until(lambda: site.counter.value > 5, "polls")
            mode = stat.S_IMODE((site.state / SOCKET_NAME).stat().st_mode)
            assert mode == 0o600
            async with site.process("status", "--json", "--config", site.gateway_toml) as asked:
                out, _ = await asked.communicate()
            status = json.loads(out)
            assert status["gateway"] == GATEWAY
            (node,) = status["nodes"]
            assert (node["id"], node["auth"]) == (f"{GATEWAY}.counter", "none")
            assert node["values"][0]["name"] == "count"
            assert node["values"][0]["value"] >= 1
            assert status["outbox"]["depth"] >= 1
            assert status["uplink"]["receipt"] == "signed"
            assert status["counters"]["readings_recorded"] >= 1
            async with site.process("status", "--config", site.gateway_toml) as asked:
                out, _ = await asked.communicate()
            assert b"counter" in out
            assert b"records wait" in out
            async with site.process("run", "--config", site.gateway_toml) as second:
                _, errors = await second.communicate()
            assert second.returncode == 1
            assert b"in use by another agent" in errors
            await stop(agent)
        async with site.process("status", "--config", site.gateway_toml) as asked:
            _, errors = await asked.communicate()
        assert asked.returncode == 1
        assert b"no agent answers there" in errors


async def test_a_medium_that_refuses_writes_ends_the_process_and_the_next_one_goes_on(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """The kernel refuses every write beyond a size from now on, in the running process."""
    async with site_with(broker, tmp_path) as site:
        broker.kill()
        async with site.process("run", "--config", site.gateway_toml) as agent:
            log = site.state / "outbox.db-wal"
            await until(lambda: log.exists() and log.stat().st_size > 150_000, "commits")
            size = log.stat().st_size
            resource.prlimit(agent.pid, resource.RLIMIT_FSIZE, (size, size))
            _, errors = await asyncio.wait_for(agent.communicate(), 20)
            assert agent.returncode == EXIT_STORE_FAILED, errors.decode()
            assert b"start again to recover" in errors
            assert b"Traceback" not in errors, errors.decode()
        box = open_box(site.state)
        kept = readings_in(box)
        box.close()
        assert kept > 5
        broker.start()
        async with (
            site.process("collect", "--config", site.collector_toml),
            site.process("run", "--config", site.gateway_toml) as agent,
        ):
            await until(lambda: len(site.values()) > kept, "it goes on")
            await stop(agent)
        assert site.values()[:kept] == list(range(1, kept + 1))


async def test_a_key_others_can_read_is_refused_with_the_remedy(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    async with site_with(broker, tmp_path) as site:
        (tmp_path / "gateway.pem").chmod(0o644)
        async with site.process("run", "--config", site.gateway_toml) as agent:
            _, errors = await agent.communicate()
        assert agent.returncode == 2
        assert b"chmod 600" in errors
        assert b"Traceback" not in errors
        assert not (site.state / "outbox.db").exists()
