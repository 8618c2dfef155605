"""Devices with habits of their own about connections and pauses lose no poll.

Each is a small TCP server that notes what it served, when, and on which connection.
"""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import structs
from typer.testing import CliRunner

from gateway_agent.cli import app
from gateway_agent.clock import SystemClock
from gateway_agent.config import (
    ProfileDevice,
    TcpBus,
)
from gateway_agent.counters import Counters
from gateway_agent.field.bus_errors import BusError
from gateway_agent.field.field import Field
from gateway_agent.field.master import Master
from gateway_agent.field.planner import plan_bus
from protocols.modbus_client import Read, read_request

from .field_help import config_of
from .slave import mbap, until
from .test_poller import Memory

PROFILE = '[profile]\nname = "x"\ntitle = "x"\nsource = "made up"\n' + "".join(
    f'[[point]]\nname = "v{at}"\nregister = {at}\ntype = "u16"\n' for at in (0, 100, 200)
)
READ = read_request(1, Read(4, 0, 1))


class Habits:
    """A Modbus TCP device; what differs from an obedient one is given by the arguments."""

    def __init__(
        self,
        *,
        per_connection: int = 0,  # answers so many requests, then closes when one more comes
        mute_after: int = 0,  # answers so many, then stays silent on this connection
        close_at_once: bool = False,  # closes behind each answer
        settle_s: float = 0,  # whoever asks sooner after connecting is never answered
        rest_s: float = 0,  # a request sooner after an answer to its unit is ignored
        rests: tuple[int, ...] = (1,),  # the units that need it
        slow_s: float = 0,  # unit 2 needs so long
    ) -> None:
        self.per_connection = per_connection
        self.mute_after = mute_after
        self.close_at_once = close_at_once
        self.settle_s = settle_s
        self.rest_s = rest_s
        self.rests = rests
        self.slow_s = slow_s
        self.port = 0
        self.asked = 0
        self.served = 0
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.last: dict[int, float] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Habits"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await until(lambda: self.open == 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await self._talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        start, answered, is_mute = loop.time(), 0, False
        while True:
            request = await reader.readexactly(12)
            tid, _, _, unit, function, _, count = struct.unpack(">HHHBBHH", request)
            now = loop.time()
            self.asked += 1
            if self.per_connection and answered >= self.per_connection:
                return
            is_mute = is_mute or now - start < self.settle_s
            if self.mute_after and answered >= self.mute_after:
                is_mute = True
            is_resting = unit in self.rests and now - self.last.get(unit, 0) < self.rest_s
            if is_mute or is_resting:
                continue
            if unit == 2 and self.slow_s:
                await asyncio.sleep(self.slow_s)
            data = struct.pack(f">{count}H", *[unit] * count)
            writer.write(mbap(tid, unit, bytes((function, len(data))) + data))
            await writer.drain()
            self.last[unit] = loop.time()
            answered += 1
            self.served += 1
            if self.close_at_once:
                return


def device(folder: Path, unit: int = 1, **more: int) -> ProfileDevice:
    path = folder / "x.toml"
    path.write_text(PROFILE, encoding="utf-8")
    polled = ProfileDevice(name=f"d{unit}", unit=unit, profile=str(path), period_ms=100)
    return structs.replace(polled, **more)


def tcp(port: int, *devices: ProfileDevice, **more: object) -> TcpBus:
    bus = TcpBus(name="net", host="127.0.0.1", port=port, timeout_ms=500, device=devices)
    return structs.replace(bus, **more)


async def poll(
    folder: Path, bus: TcpBus, polls: int
) -> tuple[Memory, Counters, list[int], list[int]]:
    """Poll every device so often. Returns records, counters, errors and skipped slots by device."""
    config = config_of(folder, bus)
    sink, counters = Memory(), Counters()
    field = Field(config, SystemClock(), sink, {}, counters)
    task = asyncio.create_task(field.run())
    try:
        await until(lambda: all(item.polls > polls for item in field.status(0)))
        status = field.status(0)
    finally:
        task.cancel()
        await asyncio.wait({task})
    return sink, counters, [item.errors for item in status], [item.skipped for item in status]


@pytest.mark.parametrize(
    ("habits", "settings", "per_device"),
    [
        (Habits(close_at_once=True), {}, {}),
        (Habits(per_connection=1), {}, {}),
        (Habits(per_connection=2), {}, {}),
        (Habits(mute_after=1), {"close_after": "request"}, {}),
        (Habits(mute_after=3), {"close_after": "poll"}, {}),
        (Habits(settle_s=0.1), {"connect_delay_ms": 120}, {}),
        (Habits(rest_s=0.02), {"request_gap_ms": 25}, {}),
        (Habits(rest_s=0.02), {}, {"request_gap_ms": 25}),
    ],
    ids=[
        "closes behind each answer",
        "meets the second request closed",
        "meets the third request closed",
        "one request per connection",
        "one poll per connection",
        "needs a pause after connecting",
        "needs a pause, set for the bus",
        "needs a pause, set for the device",
    ],
)
async def test_no_poll_is_lost(
    tmp_path: Path, habits: Habits, settings: dict[str, object], per_device: dict[str, int]
) -> None:
    async with habits.running():
        bus = tcp(habits.port, device(tmp_path, **per_device), **settings)
        sink, counters, errors, skipped = await poll(tmp_path, bus, 10)
    assert errors == skipped == [0]
    assert set(counters.gaps) <= {"bus_busy"}
    assert not counters.poll_errors
    records = sink.of("g.d1")
    assert len(records) >= 10
    assert all([value.value for value in item.values] == [1, 1, 1] for item in records)
    assert habits.most_open == 1, "never two connections at once"
    # Every request that it did not answer met a closed connection, but for one at the end.
    assert counters.asked_again >= habits.asked - habits.served - 1


async def test_a_pause_of_one_device_is_used_for_another(tmp_path: Path) -> None:
    """Three reads of each, and the pause is only between those of one: the other needs none."""
    habits = Habits(rest_s=0.03)
    async with habits.running():
        slow = device(tmp_path, 1, request_gap_ms=40, period_ms=250)
        quick = device(tmp_path, 2, period_ms=250)
        _, counters, errors, skipped = await poll(tmp_path, tcp(habits.port, slow, quick), 10)
    assert errors == skipped == [0, 0]
    assert not counters.poll_errors


async def test_a_device_has_a_time_out_of_its_own(tmp_path: Path) -> None:
    habits = Habits(slow_s=0.25)
    async with habits.running():
        slow = device(tmp_path, 2, timeout_ms=2000, period_ms=2000)
        bus = tcp(habits.port, device(tmp_path, 1, period_ms=2000), slow, timeout_ms=100)
        master = Master(bus, Counters())
        try:
            other = read_request(3, Read(4, 0, 1))
            habits.rests, habits.rest_s = (3,), 1e9  # unit 3 is silent
            started = asyncio.get_running_loop().time()
            with pytest.raises(BusError, match="no answer within 100 ms"):
                await master.read(other)
            assert asyncio.get_running_loop().time() - started < 0.25
            assert await master.read(read_request(2, Read(4, 0, 1))) == b"\x00\x02"
        finally:
            master.close()


async def test_a_peer_that_closes_every_connection_is_asked_twice_not_for_ever() -> None:
    habits = Habits(per_connection=1)
    counters = Counters()
    async with habits.running():
        master = Master(tcp(habits.port), counters)
        try:
            assert await master.read(READ) == b"\x00\x01"
            habits.per_connection = -1  # from now on it closes instead of every answer
            with pytest.raises(BusError, match="closed by peer; check that no other client"):
                await master.read(READ)
        finally:
            master.close()
    assert habits.asked == 3
    assert counters.asked_again == 1
    assert counters.poll_errors == {"bus_timeout": 1}


async def test_a_device_that_closes_during_its_pause_after_connecting_is_named() -> None:
    async def closes(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(closes, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    master = Master(tcp(port, connect_delay_ms=200), Counters())
    try:
        with pytest.raises(BusError, match="closed the connection within 200 ms"):
            await master.read(READ)
    finally:
        master.close()
        server.close()


def test_pauses_are_in_the_predicted_cycle(tmp_path: Path) -> None:
    reads = tuple(Read(4, at, 1) for at in (0, 100, 200))

    def cycle(own: int = 0, **settings: object) -> float:
        bus = tcp(502, device(tmp_path, request_gap_ms=own), turnaround_ms=10, **settings)
        return plan_bus(bus, [reads]).cycle_ms

    assert cycle() == 30
    assert cycle(request_gap_ms=50) == 180  # one before each
    assert cycle(own=50) == 130  # none after the last: others are asked then
    assert cycle(own=50, request_gap_ms=20) == 30 + 3 * 20 + 2 * 30
    assert cycle(close_after="poll", connect_delay_ms=100) == 130
    assert cycle(close_after="request", connect_delay_ms=100) == 330


def test_two_buses_on_one_device_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(PROFILE, encoding="utf-8")
    runner = CliRunner()
    key = str(tmp_path / "k.pem")
    assert runner.invoke(app, ["keygen", "gateway", "--out", key]).exit_code == 0
    text = '[gateway]\nid = "g"\nstate_dir = "s"\nkey = "k.pem"\n'
    text += '[uplink]\nhost = "h"\nreceipt = "puback"\n'
    for name in ("a", "b"):
        text += f'[[bus]]\nname = "{name}"\ntype = "tcp"\nhost = "10.0.0.1"\nport = 502\n'
        text += f'[[bus.device]]\nname = "d{name}"\nunit = 1\nkind = "profile"\n'
        text += 'profile = "x.toml"\n'
    (tmp_path / "gateway.toml").write_text(text, encoding="utf-8")
    result = runner.invoke(app, ["check", "-c", str(tmp_path / "gateway.toml"), "--json"])
    first, second = json.loads(result.stdout)["buses"]
    assert first["warnings"] == []
    (warning,) = second["warnings"]
    assert "10.0.0.1:502" in warning
    assert "one connection" in warning
