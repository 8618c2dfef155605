"""A gateway of one logging device, a collector and a broker: real processes that faults are for."""

import asyncio
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway_agent.keys import generate_signing_key
from gateway_agent.status import Reconciliation, Status
from gateway_agent.status_socket import StatusError, read_status
from hil.site.mosquitto import MosquittoBroker
from protocols.uplink import Gap
from tests.paths import ROOT
from tests.unit.gateway_agent.slave import TcpSlave

from .device import LoggingDevice, boot_ms

SCRIPT: Final = "from gateway_agent.__main__ import main; main()"
COMMAND: Final = (sys.executable, "-c", SCRIPT)
GATEWAY: Final = "gw-1"
PROFILE: Final = """
[profile]
name = "counter"
title = "A counter"
source = "this test"
[[point]]
name = "count"
unit = "count"
table = "input"
register = 0
type = "u32"
what = "rises with every request"
"""
_WRONG_BOOKS: Final = re.compile(r"unaccounted for.*(?:sequence|schedule|receipts)=[1-9]")
STOP_S: Final = 10.0  # the bound of the documentation for a stop after SIGTERM


async def until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until ``condition()`` holds; AssertionError naming ``what`` if it does not."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.01)


async def passed(milliseconds: float) -> None:
    """Wait until so much time has passed: it is what a process misses while it is away."""
    end = boot_ms() + milliseconds
    await until(lambda: boot_ms() >= end, "time passes")


@dataclass(frozen=True)
class Account:
    """What the collector has of one unit."""

    values: list[int]  # the index into the device's log of each, in the order of the streams
    gaps: list[Gap]

    def missed(self, *causes: str) -> int:
        """The slots that gaps of these causes name; of all if none is given."""
        return sum(gap.slots or 0 for gap in self.gaps if not causes or gap.cause in causes)


class Program:
    """One command of tianfu-gateway: faults end it, and it is started again."""

    def __init__(self, log: Path, *arguments: object) -> None:
        self.name = log.stem
        self.log = log  # everything that it printed in all its lives
        self.command: tuple[str, ...] = COMMAND
        self.launcher: Sequence[str] = ()  # words before it, each time
        self.is_whole = True  # nothing of it was broken on purpose
        self._arguments = [str(argument) for argument in arguments]
        self._process: asyncio.subprocess.Process | None = None

    def patch(self, code: str) -> None:
        """Run ``code`` in the process before the command."""
        self.is_whole = False
        self.command = (sys.executable, "-c", f"{code}\n{SCRIPT}")

    @property
    def pid(self) -> int:
        """The process id while it runs, 0 else."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else 0

    async def start(self, *launcher: str) -> None:
        """Start it; ``launcher`` are words before the command, which replace themselves by it."""
        assert not self.pid, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*launcher, *self.launcher, *self.command, *self._arguments),
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    def send(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.pid:
            assert self._process is not None
            self._process.send_signal(number)

    async def kill(self) -> None:
        """Send SIGKILL and wait until it has ended."""
        self.send(signal.SIGKILL)
        await self.ended()

    async def ended(self, seconds: float = 30.0) -> int:
        """Wait until it has ended; return its exit status. AssertionError after the deadline."""
        assert self._process is not None
        try:
            return await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            raise AssertionError(f"{self.name} has not ended within {seconds} s") from None


class PromiseSite:
    """Keys, configuration and processes of a gateway with one device of several units."""

    def __init__(self, root: Path, broker: MosquittoBroker) -> None:
        self.root = root
        self.broker = broker
        self.device = LoggingDevice()
        self.slave = TcpSlave(self.device.answer)
        self.state = root / "state"
        self.database = root / "collector.db"
        self.gateway_toml = root / "gateway.toml"
        self.collector_toml = root / "collector.toml"
        self.readable: Callable[[], Path] = lambda: self.database  # what the test itself reads
        self.periods: Sequence[int] = ()
        self.gateway = Program(root / "gateway.log", "run", "--config", self.gateway_toml)
        self.collector = Program(root / "collector.log", "collect", "--config", self.collector_toml)
        for name in ("gateway.pem", "collector.pem"):
            generate_signing_key(root / name)
        (root / "counter.toml").write_text(PROFILE)

    def configure(
        self,
        periods: Sequence[int],
        timeout_ms: int = 500,
        outbox: str = "",
        state: str = "state",
        database: str = "collector.db",
    ) -> None:
        """Unit n + 1 is polled with the n-th period."""
        self.periods = periods
        devices = "".join(
            f'[[bus.device]]\nname = "d{unit}"\nunit = {unit}\nkind = "profile"\n'
            f'profile = "counter.toml"\nperiod_ms = {period}\n'
            for unit, period in enumerate(periods, 1)
        )
        self.gateway_toml.write_text(f"""
[gateway]
id = "{GATEWAY}"
state_dir = "{state}"
key = "gateway.pem"
[uplink]
host = "127.0.0.1"
port = {self.broker.port}
collector_key = "collector.pem.pub"
batch_interval_ms = 50
retry_ms = 500
[outbox]
commit_ms = 5
{outbox}
[[bus]]
name = "plant"
type = "tcp"
host = "127.0.0.1"
port = {self.slave.port}
timeout_ms = {timeout_ms}
{devices}""")
        self.collector_toml.write_text(f"""
[collector]
key = "collector.pem"
database = "{database}"
[broker]
host = "127.0.0.1"
port = {self.broker.port}
[[gateway]]
id = "{GATEWAY}"
keys = ["gateway.pem.pub"]
""")

    # --- what the collector holds ------------------------------------------------------------

    def account(self, unit: int) -> Account:
        """What the collector has of a unit now; empty before it has made its tables."""
        device = f"{GATEWAY}.d{unit}"
        values = self.rows(
            "SELECT value FROM readings JOIN records USING (stream_id, seq)"
            " WHERE device = ? ORDER BY stream_id, seq",
            device,
        )
        gaps = self.rows(
            "SELECT cause, boot_epoch, first, last, detail, slots, from_ms, to_ms FROM gaps"
            " WHERE device = ? ORDER BY stream_id, seq",
            device,
        )
        indices = []
        for (value,) in values:
            assert value >> 24 == unit, f"value {value:#x} is not of unit {unit}"
            indices.append(value & 0xFFFFFF)
        return Account(indices, [Gap(*gap) for gap in gaps])

    def rows(self, sql: str, *arguments: object) -> list[Any]:
        """What the collector's database holds; nothing before it has made its tables."""
        path = self.readable()
        if not path.exists():
            return []
        # Read-only: the last writer that closes a database moves its log into the main file, and
        # that is the product's work, or its next start's.
        try:
            with closing(
                sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
            ) as database:
                return database.execute(sql, arguments).fetchall()
        except sqlite3.DatabaseError:
            return []

    def stored(self, unit: int = 1) -> int:
        """How many values of a unit are stored."""
        return len(self.account(unit).values)

    # --- what the gateway reports ------------------------------------------------------------

    def status(self) -> Status | None:
        """The status of the running gateway; None if none answers."""
        try:
            return read_status(self.state)
        except StatusError:
            return None

    def is_full(self) -> bool:
        """Whether the running gateway has no room for records."""
        status = self.status()
        return status is not None and status.outbox is not None and bool(status.outbox.full)

    def times_full(self) -> int:
        """How often the running gateway has found no room for records."""
        status = self.status()
        return 0 if status is None else status.counters.store_full

    def unaccounted(self) -> Reconciliation | None:
        """What the running agent cannot account for by its own books; None before they are open."""
        return read_status(self.state).reconciliation

    # --- its life ----------------------------------------------------------------------------

    async def stores(self, count: int = 3, seconds: float = 60.0) -> None:
        """Wait until every unit has ``count`` more values, read from now on, in the database."""
        log = self.device.log
        wanted = {
            unit: (len(log[unit].times) if unit in log else 0) + count - 1
            for unit in range(1, len(self.periods) + 1)
        }

        def stored() -> bool:
            accounts = {unit: self.account(unit).values for unit in wanted}
            return all(values and values[-1] >= wanted[unit] for unit, values in accounts.items())

        await until(stored, f"{count} more values of each unit are stored", seconds)

    async def close(self) -> None:
        """End everything. AssertionError: the gateway could not account for a reading."""
        books = None
        with suppress(StatusError):
            books = await asyncio.to_thread(self.unaccounted) if self.gateway.pid else None
        for program in (self.gateway, self.collector):
            if program.pid:
                await program.kill()
        await self.slave.close()
        if self.gateway.is_whole:
            # What it cannot fit to receipts is an alarm that some tests provoke.
            assert books is None or books.unaccounted == books.archive, books
            log = self.gateway.log
            assert not log.exists() or not _WRONG_BOOKS.search(log.read_text(errors="replace"))

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
async def site_of(broker: MosquittoBroker, root: Path) -> AsyncIterator[PromiseSite]:
    """A site whose device listens; everything that runs is ended with the block."""
    site = PromiseSite(root, broker)
    await site.slave.start()
    try:
        yield site
    finally:
        await site.close()
