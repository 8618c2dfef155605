"""A gateway with a console, in a thread: two buses, one dead device, a history with gaps."""

import asyncio
import math
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway_agent.agent import GatewayAgent
from gateway_agent.clock import SystemClock
from gateway_agent.counters import Counters
from gateway_agent.keys import generate_signing_key
from gateway_agent.reload.in_force import source_at_start
from gateway_agent.web.history_file import HistoryFile, HistoryPiece, HistoryRow
from tests.unit.gateway_agent.slave import TcpSlave, mbap

POINTS = {"temperature": "Cel", "humidity": "%RH", "co2": "ppm", "pm2_5": "ug/m3"}
HOURS = 48
_DEVICES = (("hall-air", 1, 0), ("roof-air", 2, 0), ("lab-air", 3, 0), ("basin-air", 4, 1))
DEAD_UNIT = 3


def profile() -> str:
    """Return a device with four points."""
    points = "".join(
        f"""
[[point]]
name = "{name}"
unit = "{unit}"
table = "input"
register = {index}
type = "i16"
exp10 = -1
what = "{name}"
"""
        for index, (name, unit) in enumerate(POINTS.items())
    )
    return f'[profile]\nname = "probe"\ntitle = "A probe"\nsource = "this test"\n{points}'


def values(seconds: float, unit: int) -> list[float]:
    """Return what a device measures: a quiet day."""
    day = math.sin(seconds / 86400 * 2 * math.pi)
    fast = math.sin(seconds / 700 + unit)
    return [
        round(21 + 4 * day + 0.4 * fast + unit, 1),
        round(55 - 12 * day + 1.5 * fast, 1),
        round(640 + 190 * math.sin(seconds / 9000 + unit) + 25 * fast, 1),
        round(24 + 11 * math.sin(seconds / 15000) + 5 * fast, 1),
    ]


def answer(segment: bytes) -> Iterable[tuple[float, bytes]]:
    """Answer a read of all registers; one unit is dead."""
    tid, unit = struct.unpack(">H", segment[:2])[0], segment[6]
    if unit == DEAD_UNIT:
        return
    data = struct.pack(">4h", *(round(10 * value) for value in values(time.time(), unit)))
    yield 0.004, mbap(tid, unit, bytes((segment[7], len(data))) + data)


def write(root: Path, ports: list[int], lines: str) -> Path:
    """Write the configuration of the site; ``lines`` are more of ``[web]``, and tables after it."""
    generate_signing_key(root / "gateway.pem")
    generate_signing_key(root / "collector.pem")
    (root / "probe.toml").write_text(profile())
    buses = [
        f'[[bus]]\nname = "{name}"\ntype = "tcp"\nhost = "127.0.0.1"\nport = {port}\n'
        "timeout_ms = 200\n"
        + "".join(
            f'[[bus.device]]\nname = "{device}"\nunit = {unit}\nkind = "profile"\n'
            'profile = "probe.toml"\nperiod_ms = 1000\n'
            for device, unit, bus in _DEVICES
            if bus == index
        )
        for index, (name, port) in enumerate(zip(("plant", "pump-house"), ports, strict=True))
    ]
    path = root / "gateway.toml"
    path.write_text(
        '[gateway]\nid = "site-12"\nstate_dir = "state"\nkey = "gateway.pem"\n'
        '[uplink]\nhost = "127.0.0.1"\nport = 1\ncollector_key = "collector.pem.pub"\n'
        '[web]\nlisten = "127.0.0.1:0"\n' + lines + "\n".join(buses)
    )
    return path


def write_history(state: Path) -> None:
    """Write two days of values with two gaps into the history of the site."""
    state.mkdir(mode=0o700, exist_ok=True)
    file = HistoryFile(state / "history.db", 1 << 26)
    now = int(time.time())
    for name, unit, _ in _DEVICES:
        rows: list[HistoryRow] = []
        for second in range(now - HOURS * 3600, now - 15, 30):
            hour = (second - now) / 3600 + HOURS
            if 30 <= hour < 33 or (unit == DEAD_UNIT and hour > 45):
                rows.append(HistoryRow(second * 1000, (), (), "bus_timeout"))
            elif not 11 <= hour < 12.5:  # the gateway was off
                rows.append(HistoryRow(second * 1000, tuple(values(second, unit))))
        file.write({f"site-12.{name}": HistoryPiece(tuple(POINTS), rows)})


@contextmanager
def site(root: Path, lines: str = "") -> Iterator[GatewayAgent]:
    """Run the gateway in a loop of its own."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    agents: list[GatewayAgent] = []

    async def run() -> None:
        slaves = [await TcpSlave(answer).start() for _ in range(2)]
        path = write(root, [slave.port for slave in slaves], lines)
        write_history(root / "state")
        source = source_at_start(path)
        agent = GatewayAgent(source.config, SystemClock(), Counters(), source)
        agents.append(agent)
        task = asyncio.create_task(agent.run())
        running = asyncio.create_task(agent.running.wait())
        await asyncio.wait({task, running}, return_when=asyncio.FIRST_COMPLETED)
        started.set()
        await task
        for slave in slaves:
            await slave.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        assert started.wait(20)
        yield agents[0]
    finally:
        loop.call_soon_threadsafe(agents[0].request_stop)
        thread.join(20)
        loop.close()
