"""Backups of a gateway's outbox and a collector's database, and what a restored one does."""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway_agent.backup_files import MANIFEST
from gateway_agent.cli import app
from gateway_agent.collector.backup import back_up, put_back
from gateway_agent.collector.receiver import ACCEPTED
from gateway_agent.collector.service import CollectorService
from gateway_agent.keys import load_private
from tests.integration.test_stick import CarriedSite
from tests.unit.gateway_agent.store_help import records
from tests.unit.gateway_agent.test_collector import Chain

RUNNER = CliRunner()


@pytest.fixture
def site(tmp_path: Path) -> CarriedSite:
    return CarriedSite(tmp_path)


async def carry_all(site: CarriedSite) -> None:
    """Deliver what waits, and bring the receipts back."""
    for step in (site.carry, site.take, site.carry):
        status, said = await step()
        assert status == 0, said


async def test_an_older_outbox_is_a_new_stream_and_nothing_is_stored_twice(
    site: CarriedSite,
) -> None:
    backup = site.root / "backup"
    async with site.agent() as outbox:
        await outbox.put(records(1, 100), {})
        status, said = await site.command("backup", "--config", site.gateway_toml, backup)
        assert (status, said["last"]) == (0, 100)
        await outbox.put(records(101, 50), {})
        await carry_all(site)  # delivered after the backup was made
        await outbox.put(records(151, 20), {})  # and these never were
        before = outbox.stats.stream
        busy = RUNNER.invoke(app, ["restore", "-c", str(site.gateway_toml), str(backup)])
        assert busy.exit_code != 0
        assert "another agent" in busy.output
    shutil.rmtree(site.root / "state")  # the disk died
    status, _ = await site.command("restore", "--config", site.gateway_toml, backup)
    assert status == 0
    async with site.agent() as outbox:
        assert outbox.stats.stream >> 32 > before >> 32
        await outbox.put(records(171, 5), {})
        await carry_all(site)
        assert outbox.stats.depth == 0
    expected = [*range(1, 151), *range(171, 176)]
    assert site.stored() == expected
    ((stream, cause, detail),) = site.rows(
        "SELECT stream, cause, detail FROM gaps JOIN streams ON streams.id = stream_id"
    )
    assert (stream, cause) == (outbox.stats.stream, "db_truncated")
    assert "restored from a backup of 20" in str(detail)
    # One content for each number: what differs stands in another stream.
    assert site.rows("SELECT count(*), count(DISTINCT digest) FROM records") == [(156, 156)]


async def test_a_restore_over_a_living_outbox_names_what_it_takes_away(site: CarriedSite) -> None:
    backup = site.root / "backup"
    async with site.agent() as outbox:
        await outbox.put(records(1, 10), {})
        assert (await site.command("backup", "-c", site.gateway_toml, backup))[0] == 0
        await outbox.put(records(11, 5), {})
    assert (await site.command("restore", "-c", site.gateway_toml, backup))[0] == 0
    assert list((site.root / "state" / "quarantine").glob("*/outbox.db"))
    async with site.agent():
        await carry_all(site)
    assert site.stored() == list(range(1, 11))
    assert site.rows("SELECT first, last FROM gaps") == [(11, 15)]


async def test_an_outbox_without_an_agent_is_backed_up_too(site: CarriedSite) -> None:
    async with site.agent() as outbox:
        await outbox.put(records(1, 10), {})
    backup = site.root / "backup"
    status, said = await site.command("backup", "-c", site.gateway_toml, backup)
    assert (status, said["last"]) == (0, 10)
    assert sorted(path.name for path in backup.iterdir()) == [MANIFEST, "outbox.db"]
    assert {path.stat().st_mode & 0o777 for path in backup.iterdir()} == {0o600}
    assert not list((site.root / "state").glob("outbox.copy*"))


@pytest.mark.parametrize("fault", ["flipped", "cut", "of another", "of a collector", "no backup"])
async def test_what_is_no_backup_changes_nothing(site: CarriedSite, fault: str) -> None:
    backup = site.root / "backup"
    async with site.agent() as outbox:
        await outbox.put(records(1, 10), {})
    await site.command("backup", "-c", site.gateway_toml, backup)
    file = backup / "outbox.db"
    data = bytearray(file.read_bytes())
    if fault == "flipped":
        data[len(data) // 2] ^= 4
    elif fault == "cut":
        del data[-1]
    elif fault == "no backup":
        backup.joinpath(MANIFEST).unlink()
    else:
        text = backup.joinpath(MANIFEST).read_text()
        text = text.replace('"gw-1"', '"gw-2"') if fault == "of another" else text
        text = text.replace('"gateway"', '"collector"') if fault == "of a collector" else text
        backup.joinpath(MANIFEST).write_text(text)
    file.write_bytes(data)
    before = site.disk_image()
    done = RUNNER.invoke(app, ["restore", "-c", str(site.gateway_toml), str(backup)])
    assert done.exit_code != 0
    assert str(backup) in done.output
    assert site.disk_image() == before
    again = RUNNER.invoke(app, ["backup", "-c", str(site.gateway_toml), str(backup)])
    assert again.exit_code != 0
    assert "exists" in again.output


def fill(
    service: CollectorService, site: CarriedSite, chain: Chain, numbers: Iterable[int]
) -> None:
    for number in numbers:
        data = [record.data for record in records(number, 1)]
        batch = chain.build(chain.last + 1, chain.head, data, key=load_private(site.gateway_key))
        chain.batch(records(number, 1))  # moves on
        assert service._receiver.receive(batch).verdict == ACCEPTED


def test_a_restored_collector_takes_the_rest_from_its_archive(site: CarriedSite) -> None:
    service, chain = CollectorService(site.collector_config()), Chain()
    fill(service, site, chain, range(1, 21))
    backup = site.root / "backup"
    assert back_up(site.database, backup).last == 20
    fill(service, site, chain, range(21, 41))
    service._archive.advance(now=True)
    fill(service, site, chain, range(41, 46))  # not archived yet: these are gone
    service._database.close()
    site.database.unlink()
    for beside in ("-wal", "-shm"):
        site.database.with_name(site.database.name + beside).unlink(missing_ok=True)
    assert put_back(site.collector_config(), backup).last == 20
    service = CollectorService(site.collector_config())
    assert site.stored() == list(range(1, 41))
    assert service._database.evidence.last == 40
    assert service._database.alarms  # it went back, and that is said
    service._archive.advance(now=True)
    assert service._archive.problem == ""
    service._database.close()
    done = RUNNER.invoke(app, ["audit", str(site.database), "-c", str(site.collector_toml)])
    assert done.output.startswith("good: 40 batches"), done.output


async def test_a_copy_of_a_running_collector_is_of_one_moment(site: CarriedSite) -> None:
    service, chain = CollectorService(site.collector_config()), Chain()
    fill(service, site, chain, range(1, 51))
    backups = [site.root / f"backup-{number}" for number in range(4)]
    made = asyncio.gather(
        *(asyncio.to_thread(back_up, site.database, folder) for folder in backups)
    )
    await asyncio.to_thread(fill, service, site, chain, range(51, 151))
    lasts = [manifest.last for manifest in await made]
    service._database.close()
    for folder, last in zip(backups, lasts, strict=True):
        with closing(sqlite3.connect(folder / "collector.db")) as copy:
            for table in ("batches", "records", "packed_readings"):
                assert copy.execute(f"SELECT count(*) FROM {table}").fetchone() == (last,)  # noqa: S608 # ours
            assert copy.execute("SELECT contiguous_to FROM streams").fetchone() == (last,)
