"""What ``tianfu-gateway status`` shows of a running collector, behind real and hostile brokers."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway_agent.collector.status import CollectorStatus, read_collector_status
from gateway_agent.keys import public_path
from hil.site.mosquitto import MosquittoBroker
from tests.integration.uplink_help import Site
from tests.paths import ROOT
from tests.promise.site import until
from tests.unit.gateway_agent.store_help import GATEWAY, records

CLI = "from gateway_agent.__main__ import main; main()"


class RefusingBroker:
    """Accepts connections and pings, and refuses every subscription while ``refuses`` is set."""

    def __init__(self, version: str) -> None:
        self.properties = b"\x00" if version == "5" else b""  # an empty table
        self.refusal = b"\x87" if version == "5" else b"\x80"
        self.refuses = True
        self.subscriptions = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                kind, size = await reader.readexactly(2)
                assert size < 128, "a short packet"
                body = await reader.readexactly(size)
                if kind >> 4 == 1:
                    writer.write(answer(0x20, b"\x00\x00" + self.properties))
                elif kind >> 4 == 8:
                    self.subscriptions += 1
                    code = self.refusal if self.refuses else b"\x01"
                    writer.write(answer(0x90, body[:2] + self.properties + code))
                elif kind >> 4 == 12:
                    writer.write(answer(0xD0, b""))
                elif kind >> 4 == 14:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()


def answer(kind: int, body: bytes) -> bytes:
    return bytes((kind, len(body))) + body


@asynccontextmanager
async def collecting(site: Site, version: str = "5") -> AsyncIterator[asyncio.subprocess.Process]:
    """The collector as a process of its own."""
    site.root.joinpath("collector.toml").write_text(
        f'[collector]\nkey = "collector.pem"\ndatabase = "collector.db"\n'
        f'[broker]\nhost = "127.0.0.1"\nport = {site.port}\nversion = "{version}"\n'
        f'[[gateway]]\nid = "{GATEWAY}"\nkeys = ["{public_path(site.gateway_key).name}"]\n'
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLI, "collect", "--config", str(site.root / "collector.toml"),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def status_command(site: Site) -> tuple[int | None, dict[str, object]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLI, "status", "--json", "--config",
        str(site.root / "collector.toml"), cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    return process.returncode, json.loads(out)


def shown(site: Site) -> CollectorStatus | None:
    try:
        return read_collector_status(site.database)
    except Exception:  # noqa: BLE001 # not up yet; the deadline of the caller decides
        return None


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_a_refused_subscription_is_named_and_tried_again(
    tmp_path: Path, version: str
) -> None:
    broker = RefusingBroker(version)
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    async with server:
        site = Site(tmp_path, server.sockets[0].getsockname()[1])
        async with collecting(site, version):
            await until(lambda: broker.subscriptions >= 2, "tried again")
            status = await asyncio.to_thread(shown, site)
            assert status is not None
            assert not status.connected
            assert "refused the subscription to tianfu/+/batch/+" in status.problem
            assert "acl_file" in status.problem
            broker.refuses = False

            async def connected() -> bool:
                found = await asyncio.to_thread(shown, site)
                return found is not None and found.connected

            async with asyncio.timeout(30):
                while not await connected():
                    await asyncio.sleep(0.05)


@pytest.mark.mosquitto
async def test_streams_messages_and_an_alarm_with_its_exit_status(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = Site(tmp_path, broker.port)
    async with site.outbox() as outbox, site.uplink(outbox, retry_ms=200):
        stream = outbox.stats.stream
        async with collecting(site):
            await outbox.put(records(1, 20), {})
            await until(lambda: outbox.stats.depth == 0, "receipted")
            code, status = await status_command(site)
            assert (code, status["alarms"], status["connected"]) == (0, [], True)
            assert status["streams"] == [
                {"gateway": GATEWAY, "stream": stream, "contiguous_to": 20}
            ]
            # The socket is private, and goes with the process.
            assert site.database.with_suffix(".sock").stat().st_mode & 0o777 == 0o600
        assert not site.database.with_suffix(".sock").exists()
        for path in tmp_path.glob("collector.db*"):
            path.unlink()
        async with collecting(site):
            await outbox.put(records(21, 5), {})
            await until(
                lambda: outbox.stats.stream != stream and outbox.stats.depth == 0,
                "receipted in a new stream",
            )
            code, status = await status_command(site)
            assert code == 1
            alarms = status["alarms"]
            assert isinstance(alarms, list)
            assert "another database" in alarms[0]
            assert "records 1 to 20" in alarms[1]
