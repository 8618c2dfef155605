"""A device that refuses a joined read is read in parts, at once, and that is remembered."""

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
from gateway_agent.field.cuts import FILE_NAME
from gateway_agent.field.field import Field
from gateway_agent.field.planner import Span, border_in
from protocols.modbus_client import Read

from .field_help import config_of
from .slave import Reply, TcpSlave, mbap, until
from .test_poller import Memory

ADDRESSES = (11174, 11176, 11177)
HEAD = '[profile]\nname = "x"\ntitle = "x"\nsource = "made up"\n'


def profile(addresses: tuple[int, ...], kind: str = "u16", head: str = "") -> str:
    points = "".join(
        f'[[point]]\nname = "r{at}"\nregister = {at}\ntype = "{kind}"\n' for at in addresses
    )
    return HEAD + head + points


class Device:
    """Refuses a read of registers it lacks, across its own borders, or of too many."""

    def __init__(
        self, have: set[int], borders: tuple[int, ...] = (), most: int = 125, code: int = 2
    ) -> None:
        self.have = have
        self.borders = borders
        self.most = most
        self.code = code
        self.ready = True
        self.served: list[tuple[int, int]] = []
        self.refused: list[tuple[int, int]] = []

    def __call__(self, request: bytes) -> list[Reply]:
        tid, _, _, unit, function, address, count = struct.unpack(">HHHBBHH", request)
        wanted = range(address, address + count)
        crosses = any(address < border < address + count for border in self.borders)
        if not self.ready or crosses or count > self.most or not self.have.issuperset(wanted):
            self.refused.append((address, count))
            return [(0, mbap(tid, unit, bytes((function | 0x80, self.code))))]
        self.served.append((address, count))
        data = struct.pack(f">{count}H", *wanted)
        return [(0, mbap(tid, unit, bytes((function, len(data))) + data))]


class Site:
    """One gateway that polls one device."""

    def __init__(self, folder: Path, text: str, port: int, **bus: object) -> None:
        (folder / "x.toml").write_text(text, encoding="utf-8")
        path = str(folder / "x.toml")
        own = ProfileDevice(name="m", unit=1, profile=path, period_ms=20)
        net = TcpBus(name="net", host="127.0.0.1", port=port, timeout_ms=1000, device=(own,))
        self.config = config_of(folder, structs.replace(net, **bus))

    @asynccontextmanager
    async def polled(self) -> AsyncIterator[Memory]:
        sink = Memory()
        field = Field(self.config, SystemClock(), sink, {}, Counters())
        task = asyncio.create_task(field.run())
        try:
            yield sink
        finally:
            task.cancel()
            await asyncio.wait({task})


def rows(sink: Memory) -> list[dict[str, int | float]]:
    found = [record for record in sink.of("g.m") if record.gap is None]
    return [{item.name: item.value for item in record.values} for record in found]


@pytest.mark.parametrize("code", [2, 3])
@pytest.mark.parametrize(
    ("device", "addresses", "kind"),
    [
        (Device(set(ADDRESSES)), ADDRESSES, "u16"),
        (Device({300, 301, 302, 303}, borders=(302,)), (300, 302), "u32"),
        (Device(set(range(40)), most=3), tuple(range(40)), "u16"),
        (Device(set(range(64)), borders=tuple(range(64))), tuple(range(64)), "u16"),
    ],
    ids=["a hole", "two blocks of its own", "three registers at most", "one register at most"],
)
async def test_what_is_refused_whole_is_read_in_parts(
    tmp_path: Path, device: Device, addresses: tuple[int, ...], kind: str, code: int
) -> None:
    device = Device(device.have, device.borders, device.most, code)
    net = await TcpSlave(device).start()
    site = Site(tmp_path, profile(addresses, kind), net.port)
    try:
        async with site.polled() as sink:
            # It may take a few polls until a long read is cut small enough.
            await until(lambda: rows(sink) and len(rows(sink)[-1]) == len(addresses))
            known = len(device.refused)
            count = len(rows(sink))
            await until(lambda: len(rows(sink)) > count + 3)
        assert len(device.refused) == known, "once is enough"
        assert {gap.cause for gap in sink.gaps("g.m")} <= {"bus_busy"}
        full = rows(sink)[-1]
        if kind == "u16":
            assert full == {f"r{at}": at for at in addresses}
        # The next start begins with what was learnt.
        device.refused.clear()
        async with site.polled() as sink:
            await until(lambda: len(rows(sink)) > 3)
        assert device.refused == []
        assert rows(sink)[0] == full
    finally:
        await net.close()


@pytest.mark.parametrize("code", [1, 4, 0x80])
async def test_another_code_is_taken_for_the_same_when_it_stays(tmp_path: Path, code: int) -> None:
    device = Device(set(ADDRESSES), code=code)
    net = await TcpSlave(device).start()
    try:
        async with Site(tmp_path, profile(ADDRESSES), net.port).polled() as sink:
            await until(lambda: len(rows(sink)) > 3)
    finally:
        await net.close()
    assert len(device.refused) == 4
    assert all(row == {f"r{at}": at for at in ADDRESSES} for row in rows(sink))


async def test_a_device_that_fails_now_and_then_teaches_nothing(tmp_path: Path) -> None:
    device = Device({0, 1}, code=4)
    asked = 0

    def now_and_then(request: bytes) -> list[Reply]:
        nonlocal asked
        asked += 1
        device.ready = asked % 4 == 0
        return device(request)

    net = await TcpSlave(now_and_then).start()
    try:
        async with Site(tmp_path, profile((0, 1)), net.port).polled() as sink:
            await until(lambda: len(rows(sink)) > 3)
    finally:
        await net.close()
    assert set(device.served) == set(device.refused) == {(0, 2)}


async def test_one_hole_costs_one_refusal_and_no_value(tmp_path: Path) -> None:
    device = Device(set(ADDRESSES))
    net = await TcpSlave(device).start()
    try:
        async with Site(tmp_path, profile(ADDRESSES), net.port).polled() as sink:
            await until(lambda: len(rows(sink)) > 2)
    finally:
        await net.close()
    assert device.refused == [(11174, 4)]
    assert device.served[:2] == [(11174, 1), (11176, 2)]
    assert all(row == {f"r{at}": at for at in ADDRESSES} for row in rows(sink))


async def test_a_device_that_refuses_everything_teaches_nothing(tmp_path: Path) -> None:
    """It may be starting: what it refuses then is no property of it."""
    device = Device(set(range(6)))
    device.ready = False
    net = await TcpSlave(device).start()
    try:
        async with Site(tmp_path, profile(tuple(range(6))), net.port).polled() as sink:
            await until(lambda: len(device.refused) > 30)
            # Only the first poll tried the parts.
            assert device.refused.count((0, 6)) > 15
            device.ready = True
            await until(lambda: len(rows(sink)) > 2 and rows(sink)[-1])
    finally:
        await net.close()
    assert set(device.served) == {(0, 6)}
    assert not (tmp_path / FILE_NAME).exists()


async def test_a_register_that_is_missing_costs_its_own_point_only(tmp_path: Path) -> None:
    device = Device({0, 1, 2, 3, 5, 6, 7})
    net = await TcpSlave(device).start()
    try:
        async with Site(tmp_path, profile(tuple(range(8))), net.port).polled() as sink:
            await until(lambda: len(rows(sink)) > 3)
    finally:
        await net.close()
    for record in [item for item in sink.of("g.m") if item.gap is None]:
        assert [item.value for item in record.values] == [0, 1, 2, 3, 5, 6, 7]
        assert [(item.name, item.quality) for item in record.failures] == [("r4", "fault")]


@pytest.mark.parametrize(
    ("head", "bus", "served"),
    [
        ("gap_words = 0\n", {}, {(11174, 1), (11176, 2)}),
        ("", {"gap_words": 0}, {(11174, 1), (11176, 2)}),
        ("gap_words = 1\n", {"gap_words": 0}, {(11174, 4)}),
        ("max_words = 1\n", {}, {(11174, 1), (11176, 1), (11177, 1)}),
        ("", {"max_words": 1}, {(11174, 1), (11176, 1), (11177, 1)}),
        ("never_join = true\n", {}, {(11174, 1), (11176, 1), (11177, 1)}),
        ("", {"never_join": True}, {(11174, 1), (11176, 1), (11177, 1)}),
    ],
)
async def test_profile_and_bus_have_a_say(
    tmp_path: Path, head: str, bus: dict[str, object], served: set[tuple[int, int]]
) -> None:
    device = Device(set(range(11170, 11180)))
    net = await TcpSlave(device).start()
    try:
        text = profile(ADDRESSES, head=head)
        async with Site(tmp_path, text, net.port, **bus).polled() as sink:
            await until(lambda: len(rows(sink)) > 2)
    finally:
        await net.close()
    assert set(device.served) == served


@pytest.mark.parametrize("content", ["", "[]", '{"g.m": 5}', '{"g.m": [["a", 1]]}', "\x00"])
async def test_a_damaged_file_costs_knowledge_only(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content, encoding="utf-8")
    device = Device(set(ADDRESSES))
    net = await TcpSlave(device).start()
    try:
        async with Site(tmp_path, profile(ADDRESSES), net.port).polled() as sink:
            await until(lambda: len(rows(sink)) > 2)
    finally:
        await net.close()
    assert json.loads((tmp_path / FILE_NAME).read_text()) == {"g.m": [[3, 11176]]}


def test_check_shows_what_was_learnt(tmp_path: Path) -> None:
    runner = CliRunner()
    key = str(tmp_path / "k.pem")
    assert runner.invoke(app, ["keygen", "gateway", "--out", key]).exit_code == 0
    (tmp_path / "x.toml").write_text(profile(ADDRESSES), encoding="utf-8")
    (tmp_path / "gateway.toml").write_text(
        '[gateway]\nid = "g"\nstate_dir = "state"\nkey = "k.pem"\n'
        '[uplink]\nhost = "h"\nreceipt = "puback"\n'
        '[[bus]]\nname = "a"\ntype = "tcp"\nhost = "10.0.0.1"\nport = 502\n'
        '[[bus.device]]\nname = "m"\nunit = 1\nkind = "profile"\nprofile = "x.toml"\n',
        encoding="utf-8",
    )
    arguments = ["check", "-c", str(tmp_path / "gateway.toml"), "--json"]

    def shown() -> tuple[list[tuple[int, int]], list[str]]:
        (bus,) = json.loads(runner.invoke(app, arguments).stdout)["buses"]
        reads = bus["devices"][0]["reads"]
        return [(read["address"], read["words"]) for read in reads], bus["warnings"]

    assert shown() == ([(11174, 4)], [])
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FILE_NAME).write_text('{"g.m": [[3, 11176]]}', encoding="utf-8")
    reads, (warning,) = shown()
    assert reads == [(11174, 1), (11176, 2)]
    assert "m refuses one read across register 11176 (function 03)" in warning


def test_where_a_read_is_cut() -> None:
    spans = [Span(4, 0, 2), Span(4, 2, 2), Span(4, 10, 1), Span(4, 11, 2), Span(3, 5, 1)]
    assert border_in(Read(4, 0, 13), spans) == (4, 10)  # the hole first
    assert border_in(Read(4, 0, 4), spans) == (4, 2)
    assert border_in(Read(4, 0, 2), spans) is None
    assert border_in(Read(4, 20, 2), spans) is None
    bits = [Span(4, 0, 4), Span(4, 1, 1), Span(4, 3, 2), Span(4, 5, 1)]
    assert border_in(Read(4, 0, 6), bits) == (4, 5)  # never inside a value
