"""The real processes: agent and collector killed, stopped, starved, started again."""

import asyncio
import fcntl
import json
import os
import resource
import signal
import stat
import termios
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway_agent.status_socket import SOCKET_NAME
from gateway_agent.store.errors import EXIT_STORE_FAILED
from gateway_agent.store.outbox import Outbox
from hil.site.mosquitto import MosquittoBroker
from tests.paths import ROOT
from tests.promise.site import COMMAND, GATEWAY, PromiseSite, site_of, until
from tests.unit.gateway_agent.store_help import open_box

# A dozen processes come and go in some tests: on a busy machine that takes its time.
pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(180)]


@asynccontextmanager
async def site_with(broker: MosquittoBroker, root: Path) -> AsyncIterator[PromiseSite]:
    async with site_of(broker, root) as site:
        site.configure([10])
        yield site


def values_of(site: PromiseSite) -> list[int]:
    """What the collector has, in the order of the stream."""
    return site.account(1).values


def polls_of(site: PromiseSite) -> int:
    """How many values the device has served."""
    return len(site.device.log[1].times) if site.device.log else 0


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
                before = len(values_of(site))
                async with site.process("run", "--config", site.gateway_toml):
                    await until(lambda b=before: len(values_of(site)) > b + 30, "readings arrive")  # type: ignore[misc] # bound now
                # both are killed here, the agent first
        async with (
            site.process("collect", "--config", site.collector_toml),
            site.process("run", "--config", site.gateway_toml) as agent,
        ):
            before = len(values_of(site))
            await until(lambda: len(values_of(site)) > before + 30, "readings arrive")
            await stop(agent)
            values = values_of(site)
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
        await until(lambda: len(values_of(site)) > 5, "readings arrive")
        for process in (collector, agent):
            process.send_signal(signal.SIGHUP)
        before = polls_of(site)
        await until(lambda: before + 30 in values_of(site), "readings arrive after the signals")
        assert "reload by SIGHUP: nothing differs" in await stop(agent)
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
            await until(lambda: len(values_of(site)) > 5, "readings arrive")
            while terminals:
                os.close(terminals.pop())
            before = polls_of(site)
            await until(lambda: before + 30 in values_of(site), "readings arrive without terminals")
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
            await until(lambda: polls_of(site) > 40, "polls")
            log = await stop(agent)
        assert "stay in the outbox for the next start" in log
        box = open_box(site.state)
        kept = readings_in(box)
        box.close()
        assert 30 < kept <= polls_of(site)
        broker.start()
        async with (
            site.process("collect", "--config", site.collector_toml),
            site.process("run", "--config", site.gateway_toml) as agent,
        ):
            await until(lambda: len(values_of(site)) > kept, "the backlog arrives")
            await stop(agent)
        values = values_of(site)
        assert values[:kept] == list(range(kept))


async def test_status_of_a_running_agent(broker: MosquittoBroker, tmp_path: Path) -> None:
    async with site_with(broker, tmp_path) as site:
        async with site.process("run", "--config", site.gateway_toml) as agent:
            await until(lambda: polls_of(site) > 5, "polls")
            mode = stat.S_IMODE((site.state / SOCKET_NAME).stat().st_mode)
            assert mode == 0o600
            async with site.process("status", "--json", "--config", site.gateway_toml) as asked:
                out, _ = await asked.communicate()
            status = json.loads(out)
            assert status["gateway"] == GATEWAY
            (node,) = status["nodes"]
            assert (node["id"], node["auth"]) == (f"{GATEWAY}.d1", "none")
            assert node["values"][0]["name"] == "count"
            assert node["values"][0]["value"] >= 1 << 24
            assert status["outbox"]["depth"] >= 1
            assert status["uplink"]["receipt"] == "signed"
            assert status["counters"]["readings_recorded"] >= 1
            async with site.process("status", "--config", site.gateway_toml) as asked:
                out, _ = await asked.communicate()
            assert b"d1" in out
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
            await until(lambda: len(values_of(site)) > kept, "it goes on")
            await stop(agent)
        assert values_of(site)[:kept] == list(range(kept))


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
