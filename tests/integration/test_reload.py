"""A real gateway gets other configurations: by command, by signal, and killed in the middle."""

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway_agent.status import ConfigurationStatus
from gateway_agent.status_socket import StatusError, read_status
from hil.site.mosquitto import MosquittoBroker
from tests.paths import ROOT
from tests.promise.site import COMMAND, PromiseSite, site_of, until
from tests.unit.gateway_agent.slave import PtySlave, Reply, answer, registers
from tests.unit.gateway_agent.slave import until as met

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(180)]
# Longer than a busy host holds a process up: a slot that is missed was missed for the reload.
LINE_PERIOD_MS = 250


class Line:
    """A device on a pty, which counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, request: bytes) -> Iterator[Reply]:
        unit, _, _, count = registers(request)
        self.asked += 1
        yield 0, answer(unit, *[1] * count, function=request[1])


class ReloadedGateway:
    """A site whose gateway has a TCP bus and a line, and a file that is edited."""

    def __init__(self, site: PromiseSite, slave: PtySlave, line: Line) -> None:
        self.site, self.slave, self.line = site, slave, line

    def write(self, *periods: int, probation_s: int = 2) -> str:
        self.site.configure(periods)
        text = self.site.gateway_toml.read_text() + f"""
[[bus]]
name = "line"
type = "rtu"
port = "{self.slave.path}"
baudrate = 115200
[[bus.device]]
name = "level"
unit = 7
kind = "profile"
profile = "counter.toml"
period_ms = {LINE_PERIOD_MS}
[reload]
probation_s = {probation_s}
"""  # fmt: skip
        self.site.gateway_toml.write_text(text)
        return text

    def edit(self, old: str, new: str) -> None:
        text = self.site.gateway_toml.read_text()
        assert old in text
        self.site.gateway_toml.write_text(text.replace(old, new, 1))

    async def reload(self, *more: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(*COMMAND, "reload", "--config", str(self.site.gateway_toml), *more),
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode()

    def state(self) -> ConfigurationStatus | None:
        try:
            return read_status(self.site.state).configuration
        except StatusError:
            return None

    def outcome(self) -> str:
        state = self.state()
        return "" if state is None else state.outcome

    def digest(self) -> str:
        state = self.state()
        return "" if state is None else state.digest

    def actions(self) -> list[str]:
        return [name for (name,) in self.site.rows(
            "SELECT name FROM actions WHERE name LIKE 'config-%' ORDER BY stream_id, seq"
        )]  # fmt: skip


@asynccontextmanager
async def gateway(broker: MosquittoBroker, root: Path) -> AsyncIterator[ReloadedGateway]:
    async with site_of(broker, root) as site:
        line = Line()
        slave = PtySlave(root, line)
        try:
            yield ReloadedGateway(site, slave, line)
        finally:
            slave.close()


async def test_other_buses_are_polled_on_and_a_dead_uplink_is_undone(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    async with gateway(broker, tmp_path) as it:
        site = it.site
        first = it.write(20)
        await site.collector.start()
        await site.gateway.start()
        await until(lambda: len(site.account(1).values) > 10, "readings arrive")
        it.write(20, 30)
        status, shown = await it.reload("--dry-run")
        assert (status, it.digest()) == (0, hashlib.sha256(first.encode()).hexdigest())
        assert "bus.plant.device.d2." in shown
        second = site.gateway_toml.read_text()
        status, shown = await it.reload()
        assert status == 0, shown
        assert "on probation for 2 s" in shown
        await until(lambda: len(site.account(2).values) > 5, "the new device is read")
        await until(lambda: "proved" in it.outcome(), "the probation is over")
        # The uplink to nowhere is given up, and nothing is lost meanwhile.
        it.edit(f"port = {broker.port}", "port = 1")
        site.gateway.send(signal.SIGHUP)
        await until(lambda: "undone" in it.outcome(), "the change is undone")
        assert "the uplink to the collector is not connected any more" in it.outcome()
        assert it.digest() == hashlib.sha256(second.encode()).hexdigest()
        before = len(site.account(1).values)
        await until(lambda: len(site.account(1).values) > before + 10, "readings arrive again")
        asked = it.line.asked
        await met(lambda: it.line.asked > asked + 3)
        site.gateway.send(signal.SIGTERM)
        assert await site.gateway.ended() == 0
        # Counted at the device: each request of the line is a record, and no slot was missed.
        device = "gw-1.level"
        sql = "SELECT count(*) FROM records WHERE device = ? AND kind = 'profile'"
        await until(lambda: site.rows(sql, device) == [(it.line.asked,)], "all of the line")
        assert site.rows("SELECT cause FROM gaps WHERE device = ?", device) == []
        assert it.actions() == [
            "config-in-force",
            "config-on-probation",
            "config-in-force",
            "config-on-probation",
            "config-undone",
            "config-in-force",
        ]


async def test_killed_in_a_probation_it_starts_with_what_worked(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    async with gateway(broker, tmp_path) as it:
        site = it.site
        first = it.write(20, probation_s=600)
        await site.collector.start()
        await site.gateway.start()
        await until(lambda: len(site.account(1).values) > 10, "readings arrive")
        it.write(20, 30, probation_s=600)
        assert (await it.reload())[0] == 0
        await until(lambda: len(site.account(2).values) > 5, "the new device is read")
        await site.gateway.kill()
        await site.gateway.start()
        await until(it.digest, "the agent answers")
        assert it.digest() == hashlib.sha256(first.encode()).hexdigest()
        await until(lambda: "is not in force" in site.gateway.log.read_text(), "it is logged")
        before = len(site.account(2).values)
        it.edit('id = "gw-1"', 'id = "gw-2"')
        status, shown = await it.reload()
        assert status == 1
        assert "gateway.id" in shown
        assert "nothing was changed" in shown
        it.edit('id = "gw-2"', 'id = "gw-1"')
        assert (await it.reload())[0] == 0
        await until(lambda: len(site.account(2).values) > before + 3, "it is tried again")
