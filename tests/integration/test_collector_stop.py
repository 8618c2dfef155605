"""The collector is stopped while its thread works on the database."""

import asyncio
import threading
from pathlib import Path

import pytest

from hil.site.mosquitto import MosquittoBroker
from tests.integration.uplink_help import Site

pytestmark = pytest.mark.mosquitto


async def test_work_under_way_ends_before_the_database_is_closed(
    mosquitto_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = threading.Event()
    found: list[object] = []

    async def run(port: int) -> None:
        site = Site(tmp_path, port)
        async with site.collector() as service:
            database = service._database  # what it is about: who closes it when

            def positions() -> object:
                entered.set()
                stopped.wait(10)
                return type(database).positions(database)

            stopped = threading.Event()
            monkeypatch.setattr(database, "positions", positions)
            work = service._work(lambda: found.append(service._receiver.receipts()))
            await asyncio.to_thread(entered.wait, 10)
            # Behind the return of the loop's thread into close(), or into waiting for the work.
            threading.Timer(0.2, stopped.set).start()
        work.cancel()

    with MosquittoBroker(mosquitto_path, tmp_path / "broker") as broker:
        await run(broker.port)
    assert entered.is_set()
    assert found == [[]], "the database was closed under the work"
