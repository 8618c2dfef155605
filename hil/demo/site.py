"""What the demo sets up in one folder: keys, configuration files, a collector process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import deque
from pathlib import Path
from typing import Final

from gateway_agent.keys import generate_signing_key, public_path
from hil.bench import Bench
from hil.errors import HilError
from hil.files import write_private

GATEWAY_ID: Final = "demo"
POLL_MS: Final = 500
# A demo that is killed takes its collector along: prctl(PR_SET_PDEATHSIG, SIGTERM), see prctl(2).
_COLLECT: Final = (
    "import ctypes; ctypes.CDLL(None).prctl(1, 15); from gateway_agent.cli import app; app()"
)
_START_S: Final = 20.0
_STOP_S: Final = 10.0


class SiteError(HilError):
    """The demo cannot be set up; the text says what to do."""


class Site:
    """The files of one run below ``folder``, which must be empty or not exist. SiteError."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise SiteError(f"{folder}: expected an empty folder or a new name, got one with files")
        self.folder = folder
        self.gateway_toml = folder / "gateway.toml"
        self.collector_toml = folder / "collector.toml"
        self.database = folder / "collector/collector.db"

    def write(self, bench: Bench, broker_port: int) -> None:
        """Make the keys and both configuration files, as a user would with keygen and an editor."""
        keys = self.folder / "keys"
        gateway_key, collector_key = keys / "gateway.pem", keys / "collector.pem"
        generate_signing_key(gateway_key)
        generate_signing_key(collector_key)
        self.database.parent.mkdir(mode=0o700)
        devices, nodes = "", ""
        for role in bench.roles:
            spec = bench.nodes[role].spec
            node_key = keys / f"{role}.json"
            write_private(node_key, json.dumps({"key_id": spec.key_id, "key": spec.key}))
            devices += (
                f'\n[[bus.device]]\nname = "{role}-1"\nunit = {bench.unit(role)}\nkind = "node"\n'
                f'role = "{role}"\nuid = "{spec.uid}"\nkey = "keys/{role}.json"\n'
                f"period_ms = {POLL_MS}\n"
            )
            nodes += f'\n[[node]]\nuid = "{spec.uid}"\nkey = "keys/{role}.json"\n'
        broker = f'host = "127.0.0.1"\nport = {broker_port}\nversion = "5"\n'
        self.gateway_toml.write_text(
            f'[gateway]\nid = "{GATEWAY_ID}"\nstate_dir = "state"\nkey = "keys/gateway.pem"\n\n'
            f'[uplink]\n{broker}receipt = "signed"\n'
            f'collector_key = "keys/{public_path(collector_key).name}"\n'
            "batch_interval_ms = 500\nretry_ms = 2000\n\n[outbox]\ncommit_ms = 50\n\n"
            f'[[bus]]\nname = "rs485"\ntype = "rtu"\nport = "{bench.port}"\nbaudrate = 9600\n'
            f"timeout_ms = 150\n{devices}",
            encoding="utf-8",
        )
        self.collector_toml.write_text(
            f'[collector]\nkey = "keys/collector.pem"\ndatabase = "collector/collector.db"\n\n'
            f"[broker]\n{broker}\n"
            f'[[gateway]]\nid = "{GATEWAY_ID}"\nkeys = ["keys/gateway.pem.pub"]\n{nodes}',
            encoding="utf-8",
        )


class CollectorProcess:
    """``tianfu-gateway collect`` in a process of its own. SiteError if it does not come up."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self.lines: deque[str] = deque(maxlen=200)

    async def start(self) -> None:
        """Returns when it listens to the broker."""
        self._ready.clear()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _COLLECT, "collect", "--config", str(self._config)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        self._reader = asyncio.create_task(self._read(self._process))
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait(
            (ready, self._reader), timeout=_START_S, return_when=asyncio.FIRST_COMPLETED
        )
        ready.cancel()
        if not self._ready.is_set():
            raise SiteError("the collector did not come up; it said:\n" + "\n".join(self.lines))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip()
            self.lines.append(line)
            if line.startswith("collecting from"):
                self._ready.set()

    async def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does."""
        assert self._process is not None
        assert self._reader is not None
        self._process.kill()
        await self._process.wait()
        await self._reader

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL if that is not enough; does nothing if it has ended."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), _STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._reader is not None:
            await self._reader
