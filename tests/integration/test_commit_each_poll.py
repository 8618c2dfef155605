"""With ``commit_ms = 0`` a bus is asked again only when its last answer is on the medium.

The gateway is a process, killed in the moment in which its bus has the next request. What was
answered before must be in the outbox; with the default what was read within 50 ms is not.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway_agent.clock import SystemClock
from gateway_agent.counters import Counters
from gateway_agent.keys import generate_signing_key
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.settings import StoreContext, StoreSettings
from hil.site.toml import dump_toml
from protocols.uplink import decode_record

pytestmark = pytest.mark.timeout(120)
UNITS = 5  # one is asked when another has answered
PROFILE = """
[profile]
name = "counter"
title = "Counts its polls"
source = "made up"

[[point]]
name = "count"
unit = "1"
table = "holding"
register = 0
type = "u16"
"""


class Counting:
    """Modbus TCP devices; a register holds how often any was read. They answer ``polls`` times."""

    def __init__(self, polls: int) -> None:
        self.port = 0
        self.answered = 0
        self.asked_again = asyncio.Event()
        self._polls = polls

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Counting"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await reader.readexactly(12)
                if self.answered == self._polls:
                    self.asked_again.set()
                    continue
                self.answered += 1
                body = b"\x03\x02" + self.answered.to_bytes(2, "big")
                writer.write(request[:4] + b"\x00\x05" + request[6:7] + body)
                await writer.drain()
        writer.transport.abort()


def write_site(folder: Path, port: int, outbox: dict[str, int]) -> Path:
    generate_signing_key(folder / "gateway.pem")
    (folder / "counter.toml").write_text(PROFILE)
    kind = {"kind": "profile", "profile": "counter.toml", "period_ms": 1000}
    devices = [{"name": f"d{unit}", "unit": unit, **kind} for unit in range(1, UNITS + 1)]
    bus = {"name": "b", "type": "tcp", "host": "127.0.0.1", "port": port, "device": devices}
    tables = {
        "gateway": {"id": "gw", "state_dir": "state", "key": "gateway.pem"},
        "uplink": {"host": "127.0.0.1", "port": 1, "receipt": "puback"},
        "outbox": outbox,
        "bus": [bus],
    }
    (folder / "gateway.toml").write_text(dump_toml(tables))
    return folder / "gateway.toml"


def stored(folder: Path) -> list[int]:
    """The values in the outbox, as a new process finds them."""
    settings = StoreSettings(folder / "state", "gw")
    outbox = Outbox.open(StoreContext(settings, SystemClock(), Counters()))
    try:
        piece = outbox.slice(0, 10_000, 1 << 20)
        assert piece is not None
        found = [decode_record(record.data) for record in piece.records]
        values = [value.value for record in found for value in record.values]
        return [int(str(value)) for value in values]
    finally:
        outbox.close()


@pytest.mark.parametrize("polls", [1, 2, 7])
async def test_what_was_answered_is_stored_when_the_device_is_asked_again(
    tmp_path: Path, polls: int
) -> None:
    async with Counting(polls).running() as device:
        config = write_site(tmp_path, device.port, {"commit_ms": 0})
        command = [sys.executable, "-m", "gateway_agent", "run", "--config", str(config)]
        process = await asyncio.create_subprocess_exec(*command)
        try:
            await asyncio.wait_for(device.asked_again.wait(), 60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.wait()
    assert stored(tmp_path) == list(range(1, polls + 1))
