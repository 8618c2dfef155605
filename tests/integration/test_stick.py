"""An outbox on a stick: every record at the collector once, and its receipt back at the gateway."""

import asyncio
import errno
import json
import os
import random
import resource
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway_agent.batch_file import pack, unpack
from gateway_agent.cli import app
from gateway_agent.collector.receiver import ACCEPTED, DUPLICATE, UNKNOWN_KEY
from gateway_agent.config import GatewayConfig, load
from gateway_agent.outbox_answers import answer_of
from gateway_agent.outbox_socket import OutboxAnswer, OutboxQuestion, serve_outbox
from gateway_agent.stick import Stick, StickFile
from gateway_agent.store.writer import OutboxWriter
from tests.integration.uplink_help import Site
from tests.paths import ROOT
from tests.unit.gateway_agent.store_help import GATEWAY, records

RECORDS = 1200  # three batches
RUNNER = CliRunner()


class CarriedSite(Site):
    """A gateway and a collector without a broker between them."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, 1)  # nothing listens there
        self.stick = root / "stick"
        self.stick.mkdir(exist_ok=True)
        self.gateway_toml = root / "gateway.toml"
        self.gateway_toml.write_text(
            f'[gateway]\nid = "{GATEWAY}"\nkey = "gateway.pem"\nstate_dir = "state"\n'
            f'[uplink]\nhost = "127.0.0.1"\nport = 1\ncollector_key = "collector.pem.pub"\n'
            '[[bus]]\nname = "roof"\ntype = "tcp"\nhost = "127.0.0.1"\nport = 502\n'
            '[[bus.device]]\nname = "co2"\nunit = 1\nkind = "profile"\nprofile = "senseair-s8"\n'
        )
        self.collector_toml = root / "collector.toml"
        self.collector_toml.write_text(
            '[collector]\nkey = "collector.pem"\ndatabase = "collector.db"\n'
            '[broker]\nhost = "127.0.0.1"\nport = 1\n'
            f'[[gateway]]\nid = "{GATEWAY}"\nkeys = ["gateway.pem.pub"]\n'
        )

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[OutboxWriter]:
        """What of the agent a stick needs: the outbox, the uplink and the socket."""
        async with self.outbox() as outbox, self.uplink(outbox) as uplink:

            async def handle(question: OutboxQuestion) -> tuple[OutboxAnswer, bytes]:
                return await answer_of(question, self.config, outbox, uplink)

            async with serve_outbox(self.root / "state", handle):
                yield outbox

    @property
    def config(self) -> GatewayConfig:
        return load(self.gateway_toml)

    async def command(self, *words: object) -> tuple[int, dict[str, object]]:
        """Run a command in a thread, as the agent runs meanwhile; its exit status and JSON."""
        done = await asyncio.to_thread(RUNNER.invoke, app, [*map(str, words), "--json"])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.stdout, done.output
        return done.exit_code, json.loads(done.stdout.splitlines()[-1])

    async def carry(self) -> tuple[int, dict[str, object]]:
        return await self.command("stick", "--config", self.gateway_toml, self.stick)

    async def take(self) -> tuple[int, dict[str, object]]:
        return await self.command(
            "collect", "--config", self.collector_toml, "--import", self.stick
        )


@pytest.fixture
def site(tmp_path: Path) -> CarriedSite:
    return CarriedSite(tmp_path)


async def test_what_waits_goes_by_stick_and_the_receipt_comes_back(site: CarriedSite) -> None:
    async with site.agent() as outbox:
        await outbox.put(records(1, RECORDS), {})
        status, said = await site.carry()
        assert (status, said["records_to"], said["batches_written"]) == (0, RECORDS, 3)
        assert outbox.stats.depth == RECORDS  # a stick is no receipt
        status, said = await site.carry()
        assert (status, said["batches_written"]) == (0, 0)  # the stick has it all
        status, said = await site.take()
        assert (status, said["batches"]) == (0, {ACCEPTED: 3})
        assert len(site.stored()) == len(set(site.stored())) == RECORDS
        await outbox.put(records(RECORDS + 1, 7), {})
        status, said = await site.carry()
        assert (status, said["receipts"], said["batches_written"]) == (0, ["applied"], 1)
        assert outbox.stats.depth == 7
        assert [file.last for file in Stick(site.stick).files()] == [RECORDS + 7]
        assert (await site.take())[0] == 0
        assert len(set(site.stored())) == len(site.stored()) == RECORDS + 7


async def test_a_batch_that_comes_by_broker_too_is_stored_once(site: CarriedSite) -> None:
    """The broker's way is the receiver; the same records come cut into other batches."""
    async with site.agent() as outbox:
        await outbox.put(records(1, 900), {})
        assert (await site.carry())[0] == 0
        assert (await site.take())[1]["batches"] == {ACCEPTED: 2}
        again = site.root / "again"
        shutil.copytree(site.stick, again)
        status, said = await site.command(
            "collect", "--config", site.collector_toml, "--import", again
        )
        assert (status, said["batches"]) == (0, {DUPLICATE: 2})
    assert len(site.stored()) == 900


@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "a text", "a stranger's"])
async def test_a_damaged_file_is_named_and_comes_again(site: CarriedSite, how: str) -> None:
    async with site.agent() as outbox:
        await outbox.put(records(1, RECORDS), {})
        await site.carry()
        (file,) = Stick(site.stick).files()
        data = bytearray(file.path.read_bytes())
        if how == "cut":
            del data[len(data) // 2 :]
        elif how == "flipped":
            data[random.Random(how).randrange(20, len(data))] ^= 1
        elif how == "empty":
            data.clear()
        elif how == "a text":
            data[:] = b"holiday"
        else:  # a batch that a key signed which nobody has admitted
            (site.root / "other").mkdir()
            other = CarriedSite(site.root / "other")
            async with other.agent() as stranger:
                await stranger.put(records(1, 3), {})
                await other.carry()
            data[:] = Stick(other.stick).files()[0].path.read_bytes()
        file.path.write_bytes(data)
        status, said = await site.take()
        assert status == 1
        problems = said["problems"]
        assert isinstance(problems, list)
        assert len(problems) == 1
        assert str(file.path) in problems[0]
        if how == "a stranger's":
            assert UNKNOWN_KEY in problems[0]
            file.path.unlink()
        status, said = await site.carry()  # writes again what is not whole
        assert (status, said["batches_written"]) == (0, 3)
        assert (await site.take())[0] == 0
        assert len(site.stored()) == RECORDS


async def test_a_stick_pulled_out_leaves_whole_files_only(site: CarriedSite) -> None:
    """What is left of a write that never ended is named, and nothing of it is read."""
    async with site.agent() as outbox:
        await outbox.put(records(1, 600), {})
        await site.carry()
        (file,) = Stick(site.stick).files()
        file.path.with_suffix(".tmp").write_bytes(file.path.read_bytes()[:100])
        status, said = await site.take()
        assert status == 1
        assert "incomplete" in str(said["problems"])
        assert len(site.stored()) == 600
        assert (await site.carry())[1]["receipts"] == ["applied"]
        assert outbox.stats.depth == 0


async def test_a_file_that_cannot_be_read_keeps_no_receipt_back(
    site: CarriedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = StickFile.batches

    def bad_block(file: StickFile) -> list[bytes]:
        if file.last > RECORDS:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return batches(file)

    async with site.agent() as outbox:
        await outbox.put(records(1, RECORDS), {})
        await site.carry()
        await outbox.put(records(RECORDS + 1, 7), {})
        await site.carry()
        with monkeypatch.context() as patched:
            patched.setattr(StickFile, "batches", bad_block)
            status, said = await site.take()
        assert (status, said["batches"]) == (1, {ACCEPTED: 3})
        assert "Input/output error" in str(said["problems"])
        assert (await site.carry())[1]["receipts"] == ["applied"]
        assert outbox.stats.depth == 7


async def test_a_full_stick_says_up_to_where_it_got(site: CarriedSite) -> None:
    child = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        " sys.argv[0] = 'tianfu-gateway'; from gateway_agent.__main__ import main; main()"
    )
    async with site.agent() as outbox:
        await outbox.put(records(1, RECORDS), {})
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", child, "stick", "--config", site.gateway_toml, site.stick,
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode == 1, (out, err)
        assert b"records up to 0 of stream" in out
        assert b"the rest waits" in err
        assert Stick(site.stick).files() == []
        assert Stick(site.stick).unknown() == []
        assert outbox.stats.depth == RECORDS
        assert (await site.carry())[0] == 0


async def test_a_running_collector_takes_a_stick(site: CarriedSite) -> None:
    async with site.agent() as outbox:
        await outbox.put(records(1, RECORDS), {})
        await site.carry()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from gateway_agent.__main__ import main; main()",
            "collect", "--config", site.collector_toml, cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            socket = site.root / "collector.import.sock"
            async with asyncio.timeout(50):
                while not socket.exists():
                    await asyncio.sleep(0.05)
            status, said = await site.take()
            assert (status, said["batches"]) == (0, {ACCEPTED: 3})
        finally:
            process.send_signal(signal.SIGTERM)
            await process.communicate()
        assert len(site.stored()) == RECORDS
        assert (await site.carry())[1]["receipts"] == ["applied"]
        assert outbox.stats.depth == 0


async def test_a_receipt_that_is_not_the_collectors_changes_nothing(site: CarriedSite) -> None:
    async with site.agent() as outbox:
        await outbox.put(records(1, 5), {})
        await site.carry()
        Stick(site.stick).write_receipt(GATEWAY, outbox.stats.stream, b"nonsense")
        said = (await site.carry())[1]
        assert "rejected" in str(said["receipts"])
        assert outbox.stats.depth == 5


async def test_where_nothing_is_mounted_or_running_there_is_a_remedy(site: CarriedSite) -> None:
    site.stick.rmdir()
    for words in (
        ("stick", "--config", site.gateway_toml),
        ("collect", "--config", site.collector_toml, "--import"),
    ):
        done = RUNNER.invoke(app, [*map(str, words), str(site.stick)])
        assert done.exit_code != 0
        assert "is the stick mounted there?" in done.output


def test_a_file_of_batches_is_read_as_it_was_written() -> None:
    batches = [b"", b"a", os.urandom(3000)]
    data = pack(batches)
    assert unpack(data) == batches
    for wrong in (b"", b"TFBATCH1", data[:-1], data[:40], b"x" + data):
        with pytest.raises(ValueError, match="expected"):
            unpack(wrong)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 2000
