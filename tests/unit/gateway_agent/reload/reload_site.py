"""An agent in this process with two Modbus TCP buses and a file that is edited while it runs."""

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from gateway_agent.agent import GatewayAgent
from gateway_agent.clock import SystemClock, Wall
from gateway_agent.counters import Counters
from gateway_agent.keys import generate_signing_key
from gateway_agent.reload.in_force import source_at_start
from gateway_agent.reload.reloader import Reloader
from protocols.uplink import Action, decode_record
from tests.unit.gateway_agent.slave import TcpSlave, mbap, until
from tests.unit.gateway_agent.store_help import open_box

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
HEAD = """
[gateway]
id = "gw-1"
state_dir = "state"
key = "gateway.pem"
[uplink]
host = "127.0.0.1"
port = 1
receipt = "puback"
[outbox]
commit_ms = 1
"""


class SetClock(SystemClock):
    """A clock that somebody vouches for, as exporters need it."""

    def wall(self) -> Wall:
        return Wall(1_790_000_000_000 + self.boot_ms(), 5, 3)


class Units:
    """What answers on one connection, and how often each unit was asked."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()
        self.dead: set[int] = set()

    def __call__(self, segment: bytes) -> Iterable[tuple[float, bytes]]:
        (tid,) = struct.unpack(">H", segment[:2])
        self.asked[segment[6]] += 1
        if segment[6] not in self.dead:
            yield 0.0, mbap(tid, segment[6], bytes((segment[7], 2, 0x01, 0x02)))


class ReloadSite:
    """Files, devices and, within :meth:`running`, the agent."""

    def __init__(self, root: Path) -> None:
        self.path = root / "gateway.toml"
        self.units = {"a": Units(), "b": Units()}
        self.slaves: dict[str, TcpSlave] = {}
        self.agent: GatewayAgent | None = None
        self._root = root
        generate_signing_key(root / "gateway.pem")
        (root / "probe.toml").write_text(PROFILE)

    def text(self, *buses: tuple[str, tuple[int, ...]], more: str = "", period_ms: int = 20) -> str:
        """A configuration in which each bus has these units."""
        parts = [HEAD, more]
        for name, units in buses:
            parts.append(f"""
[[bus]]
name = "{name}"
type = "tcp"
host = "127.0.0.1"
port = {self.slaves[name].port}
timeout_ms = 50
""")
            parts += [f"""
[[bus.device]]
name = "{name}{unit}"
unit = {unit}
kind = "profile"
profile = "probe.toml"
period_ms = {period_ms}
""" for unit in units]  # fmt: skip
        return "".join(parts)

    @property
    def reloader(self) -> Reloader:
        """The reloader of the running agent."""
        assert self.agent is not None
        assert self.agent.reloader is not None
        return self.agent.reloader

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ReloadSite"]:
        """The devices."""
        for name, units in self.units.items():
            self.slaves[name] = await TcpSlave(units).start()
        try:
            yield self
        finally:
            for slave in self.slaves.values():
                await slave.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[GatewayAgent]:
        """The agent, with a good answer of every device."""
        source = source_at_start(self.path)
        agent = self.agent = GatewayAgent(source.config, SetClock(), Counters(), source)
        task = asyncio.create_task(agent.run())
        try:
            await until(lambda: task.done() or (agent.running.is_set() and self.is_good()))
            assert not task.done(), task
            yield agent
            assert not task.done()
            reconciliation = agent.snapshot().reconciliation
            assert reconciliation is not None
            assert reconciliation.unaccounted == 0
        finally:
            agent.request_stop()
            await asyncio.wait({task}, timeout=20)

    def is_good(self) -> bool:
        """Whether every device of the configuration has answered."""
        assert self.agent is not None
        nodes = self.agent.snapshot().nodes
        return bool(nodes) and all(node.state == "ok" for node in nodes)

    def names(self) -> list[str]:
        """The devices that are polled."""
        assert self.agent is not None
        return [node.name for node in self.agent.snapshot().nodes]

    def actions(self) -> list[Action]:
        """What is in the stream, in its order; the agent has to be stopped."""
        box = open_box(self._root / "state")
        try:
            found = box.slice(0, 1_000_000, 1 << 30)
            records = [] if found is None else [decode_record(one.data) for one in found.records]
        finally:
            box.close()
        return [record.action for record in records if record.action is not None]
