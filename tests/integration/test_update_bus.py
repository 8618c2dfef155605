"""Updates over a line with processes at both ends: a gateway that is killed, and byte faults.

What the nodes have is read from their own files, what became of their samples from the collector's
database: nothing is taken from the gateway's word.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from gateway_agent.cli import app
from gateway_agent.status import RolloutStatus
from gateway_agent.update.image import SignedImage
from hil.bench import FAST, Bench, Place
from hil.bus import Fault, FaultKind
from hil.engines.unix import UnixNode
from hil.sim.part import Steady
from hil.site.broker import EmbeddedBroker
from hil.site.files import GATEWAY_ID, SiteFiles
from hil.site.processes import CollectorProcess, GatewayProcess
from hil.site.site import Site
from tests.virtual_update import SEED, image

LOOK_S = 0.05
NODES = ("one", "two", "three")


@asynccontextmanager
async def site_of(
    folder: Path, baud: int, poll_ms: int = 500
) -> AsyncIterator[Site[EmbeddedBroker, GatewayProcess]]:
    """Three water nodes with slots on a line of that speed, a gateway and a collector."""
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key()
    release = folder / "release.pub"
    release.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    files = SiteFiles(folder / "site", (release,), poll_ms)
    bench = Bench(
        folder / "nodes",
        Steady(),
        places=[Place(name, "water", unit) for unit, name in enumerate(NODES, 1)],
        settings={**FAST, "sample_period_ds": 2 * poll_ms // 100, "baud_div_100": baud // 100},
        baud=baud,
        release_keys=(public.public_bytes_raw().hex(),),
    )
    broker = EmbeddedBroker()
    gateway = GatewayProcess(files.gateway_toml, files.state)
    collector = CollectorProcess(files.collector_toml)
    async with broker, bench, Site(files, bench, broker, gateway, collector) as site:
        async with asyncio.timeout(20):
            while site.gateway.status().outbox is None:  # before that it takes no order
                await asyncio.sleep(LOOK_S)
        yield site


async def order(site: Site[EmbeddedBroker, GatewayProcess], signed: SignedImage, *more: str) -> str:
    """Give the command of an operator; return what it prints."""
    path = site.files.folder / "node.tfu"
    path.write_bytes(signed.file)
    words = ["update", *more, "--image", str(path), "-c", str(site.files.gateway_toml)]
    done = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert done.exit_code == 0, done.output
    return done.output


async def until(
    site: Site[EmbeddedBroker, GatewayProcess], limit_s: float, phase: str = ""
) -> RolloutStatus:
    """Wait until a node is in a phase, or the update has ended."""
    async with asyncio.timeout(limit_s):
        while True:
            now = site.gateway.status().update
            # None until an agent that was started again has opened its outbox.
            if now is not None and (
                now.ended or any(node.phase == phase and node.blocks for node in now.nodes)
            ):
                return now
            await asyncio.sleep(LOOK_S)


def stored(site: Site[EmbeddedBroker, GatewayProcess], size: int) -> list[bytes]:
    """Return what the slots of the nodes have, from their own files."""
    nodes = (site.bench.nodes[name] for name in NODES)
    return [node.slot(1)[:size] for node in nodes if isinstance(node, UnixNode)]


def steps(site: Site[EmbeddedBroker, GatewayProcess]) -> set[tuple[str, int]]:
    """Return the steps that the collector has as events: device and number of the step."""
    with sqlite3.connect(f"file:{site.files.database}?mode=ro", uri=True) as database:
        rows = database.execute(
            "SELECT device, arg FROM events JOIN records USING (stream_id, seq)"
            " WHERE name = 'update'"
        )
        return {(device, arg >> 8) for device, arg in rows}


def gaps(site: Site[EmbeddedBroker, GatewayProcess]) -> dict[str, list[str]]:
    """Return cause and text of every gap that the collector has, by device."""
    found: dict[str, list[str]] = {}
    with sqlite3.connect(f"file:{site.files.database}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT device, cause, detail FROM gaps")
        for device, cause, detail in rows:
            found.setdefault(device, []).append(f"{cause}: {detail}")
    return found


def actions(site: Site[EmbeddedBroker, GatewayProcess]) -> list[tuple[str, str, str]]:
    """Return what the collector has of the gateway's decisions: device, step and text, in order."""
    with sqlite3.connect(f"file:{site.files.database}?mode=ro", uri=True) as database:
        return database.execute(
            "SELECT device, name, detail FROM actions ORDER BY stream_id, seq"
        ).fetchall()


def decisions(site: Site[EmbeddedBroker, GatewayProcess]) -> list[str]:
    """Return the steps of the whole update, without those of single nodes."""
    return [
        name.removeprefix("update-")
        for device, name, _ in actions(site)
        if device == GATEWAY_ID and name.startswith("update-")
    ]


async def all_accounted_for(site: Site[EmbeddedBroker, GatewayProcess]) -> None:
    """Wait for the events of every step, then compare what nodes sampled with what is stored."""
    devices = {site.bench.device_id(name) for name in NODES}
    wanted = {(device, step) for device in devices for step in (2, 6, 7)}  # begun, trial, confirmed
    async with asyncio.timeout(20):
        while not wanted <= steps(site):
            await asyncio.sleep(LOOK_S)
    account = await site.settle()
    assert account.problems() == []
    causes = gaps(site)
    assert all(any("node_reset" in text for text in causes[device]) for device in devices), causes


@pytest.mark.timeout(60)
async def test_a_gateway_that_is_killed_updates_all_nodes_after_its_next_start(
    tmp_path: Path,
) -> None:
    signed = image(1200)
    async with site_of(tmp_path, 115200) as site:
        printed = await order(site, signed, "all", "--canary", "0", "--no-wait")
        assert "3 nodes" in printed
        begun = await until(site, 30, "receiving")
        assert not begun.ended
        await site.gateway.kill()
        await site.gateway.start()
        done = await until(site, 50)
        assert done.ended == "done", done
        assert stored(site, 1200) == [signed.content] * 3
        await all_accounted_for(site)
        assert decisions(site) == ["ordered", "group", "resumed", "group", "passed", "done"]
        confirmed = [device for device, name, _ in actions(site) if name == "update-confirmed"]
        assert sorted(confirmed) == sorted(site.bench.device_id(name) for name in NODES)


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
async def test_at_9600_baud_with_one_percent_of_byte_faults_and_two_kills(tmp_path: Path) -> None:
    """It takes about five minutes, in the pauses of a line whose nodes are polled every 2 s."""
    signed = image(720)
    async with site_of(tmp_path, 9600, poll_ms=2000) as site:
        fault = site.bench.line.inject(Fault(FaultKind.BYTE_FLIP, times=None, rate=0.01))
        await order(site, signed, "all", "--canary", "1", "--no-wait")
        for _ in range(2):
            await until(site, 600, "receiving")
            await site.gateway.kill()
            await site.gateway.start()
        done = await until(site, 900)
        assert fault.applied > 200
        site.bench.line.disarm(fault)
        assert done.ended == "done", done
        assert stored(site, 720) == [signed.content] * 3
        await all_accounted_for(site)
        found = decisions(site)
        assert found[:2] == ["ordered", "group"]
        assert found.count("resumed") == 2
        assert found[-2:] == ["passed", "done"]
        assert {name for _, name, _ in actions(site)} & {"update-failed", "update-stopped"} == set()
