"""A Modbus TCP device that logs what it serves, and a gateway of it in real processes.

The log is the oracle: a value is served once, so the tables of the collector can be compared with
it value by value, and its times show how many polls the configured period promised.
"""

import asyncio
import sqlite3
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway_agent.keys import generate_signing_key
from gateway_agent.status import Reconciliation
from gateway_agent.status_socket import read_status
from protocols.uplink import Gap
from tests.paths import ROOT
from tests.unit.gateway_agent.slave import Reply, TcpSlave, mbap

COMMAND: Final = (sys.executable, "-c", "from gateway_agent.cli import app; app()")
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


def boot_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


@dataclass
class Served:
    """What one unit of the device has served: value i at ``times[i]``, ms since boot."""

    times: list[int] = field(default_factory=list)


class LoggingDevice:
    """Answers each read with a number that no read before got.

    ``delay_s`` is how long a unit takes; a unit in ``silent`` gives no answer, and serves nothing.
    """

    def __init__(self) -> None:
        self.log: dict[int, Served] = {}
        self.silent: set[int] = set()
        self.delay_s: dict[int, float] = {}
        self.asked: list[tuple[int, int]] = []  # unit, time

    def answer(self, segment: bytes) -> Iterable[Reply]:
        tid, unit = struct.unpack(">H", segment[:2])[0], segment[6]
        self.asked.append((unit, boot_ms()))
        if unit in self.silent:
            return
        served = self.log.setdefault(unit, Served())
        served.times.append(boot_ms())
        value = unit << 24 | len(served.times) - 1
        pdu = struct.pack(">BBI", segment[7], 4, value)
        yield self.delay_s.get(unit, 0.0), mbap(tid, unit, pdu)


@dataclass(frozen=True)
class Account:
    """What the collector has of one unit."""

    values: list[int]  # the index into the device's log of each, in the order of the stream
    gaps: list[Gap]

    def missed(self, *causes: str) -> int:
        """The slots that gaps of these causes name; of all if none is given."""
        return sum(gap.slots or 0 for gap in self.gaps if not causes or gap.cause in causes)


class ServedSite:
    """Keys, configuration and processes of a gateway with one device of several units."""

    def __init__(self, root: Path, broker_port: int) -> None:
        self.root = root
        self.broker_port = broker_port
        self.device = LoggingDevice()
        self.slave = TcpSlave(self.device.answer)
        self.database = root / "collector.db"
        self.gateway_toml = root / "gateway.toml"
        self.collector_toml = root / "collector.toml"
        for name in ("gateway.pem", "collector.pem"):
            generate_signing_key(root / name)
        (root / "counter.toml").write_text(PROFILE)

    def configure(self, periods: Sequence[int], timeout_ms: int = 500, outbox: str = "") -> None:
        """Unit n + 1 is polled with the n-th period."""
        devices = "".join(
            f'[[bus.device]]\nname = "d{unit}"\nunit = {unit}\nkind = "profile"\n'
            f'profile = "counter.toml"\nperiod_ms = {period}\n'
            for unit, period in enumerate(periods, 1)
        )
        self.gateway_toml.write_text(f"""
[gateway]
id = "{GATEWAY}"
state_dir = "state"
key = "gateway.pem"
[uplink]
host = "127.0.0.1"
port = {self.broker_port}
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
database = "collector.db"
[broker]
host = "127.0.0.1"
port = {self.broker_port}
[[gateway]]
id = "{GATEWAY}"
keys = ["gateway.pem.pub"]
""")

    def account(self, unit: int) -> Account:
        """What the collector has of a unit now; empty before it has made its tables."""
        if not self.database.exists():
            return Account([], [])
        device = f"{GATEWAY}.d{unit}"
        with closing(sqlite3.connect(self.database, timeout=10)) as database:
            try:
                values = database.execute(
                    "SELECT value FROM readings JOIN records USING (stream_id, seq)"
                    " WHERE device = ? ORDER BY stream_id, seq",
                    (device,),
                ).fetchall()
                gaps = database.execute(
                    "SELECT cause, boot_epoch, first, last, detail, slots, from_ms, to_ms FROM gaps"
                    " WHERE device = ? ORDER BY stream_id, seq",
                    (device,),
                ).fetchall()
            except sqlite3.OperationalError:  # no tables yet
                return Account([], [])
        indices = []
        for (value,) in values:
            assert value >> 24 == unit, f"value {value:#x} is not of unit {unit}"
            indices.append(value & 0xFFFFFF)
        return Account(indices, [Gap(*gap) for gap in gaps])

    def rows(self, sql: str) -> list[tuple[int, ...]]:
        """What the collector's database holds, in numbers."""
        with closing(sqlite3.connect(self.database, timeout=10)) as database:
            return database.execute(sql).fetchall()

    def is_full(self) -> bool:
        """Whether the running agent has no room for records."""
        outbox = read_status(self.root / "state").outbox
        return outbox is not None and bool(outbox.full)

    def unaccounted(self) -> Reconciliation | None:
        """What the running agent cannot account for by its own books; None before they are open."""
        return read_status(self.root / "state").reconciliation

    @asynccontextmanager
    async def process(
        self, *arguments: object, command: Sequence[str] = COMMAND
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """A command of tianfu-gateway; killed at the end of the block if it still runs."""
        process = await asyncio.create_subprocess_exec(
            *command, *map(str, arguments), cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


_SETTLED: Final = 5  # polls at the end of a run that nothing disturbs


def check(site: ServedSite, unit: int, period_ms: int) -> Account:
    """Assert that each slot of a unit is a value of its log, stored once, or named in a gap."""
    account, times = site.account(unit), site.device.log[unit].times
    assert account.values == sorted(set(account.values)), "a value is stored once, in order"
    slot_at = _grid(times[-_SETTLED:], period_ms)
    stored = _slots_of([slot_at(times[index]) for index in account.values])
    # The slots of all units begin together.
    promised = set(range(slot_at(site.device.asked[0][1]), stored[-1] + 1))
    named: list[int] = []
    busy = 0
    for gap in account.gaps:
        assert gap.slots is not None, gap
        assert gap.from_ms is not None, gap
        assert gap.to_ms is not None, gap
        first, last = slot_at(gap.from_ms), slot_at(gap.to_ms)
        if first > stored[-1]:
            continue
        if gap.cause == "bus_busy":  # there are values between its slots
            busy += gap.slots
            continue
        assert last - first + 1 == gap.slots, gap
        named += range(first, last + 1)
    assert len(named) == len(set(named)), "no slot is named twice"
    missing = promised - set(stored)
    both, neither = set(named) & set(stored), missing - set(named)
    found = f"both {both}, neither {neither}, busy {busy}, stored {stored}, {account.gaps}"
    assert len(named) + busy == len(missing), found
    assert busy or not both, found  # a poll may be late by almost a period
    assert busy or not neither, found
    return account


def _grid(settled: Sequence[int], period_ms: int) -> Callable[[int], int]:
    """Return the slot of a moment. Polls are never early, so a slot begins a bit before them."""
    end = settled[-1]
    late = sorted((moment - end + period_ms // 2) % period_ms for moment in settled)
    begin = end + late[len(late) // 2] - period_ms // 2 - period_ms // 4
    return lambda moment: (moment - begin) // period_ms


def _slots_of(moments: Sequence[int]) -> list[int]:
    """Return a slot for each poll: its moment's, or the one before if it came late for that."""
    slots: list[int] = []
    following = moments[-1] + 1
    for moment in reversed(moments):
        following = min(moment, following - 1)
        assert following >= moment - 1, "a poll is late by less than a period"
        slots.append(following)
    return slots[::-1]
