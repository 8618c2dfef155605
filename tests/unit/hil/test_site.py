"""A site comes up and goes down in order, also when one of its parts does not come up."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gateway_agent.counters import Counters
from gateway_agent.status import Status
from hil.bench import Bench
from hil.errors import ProcessError, SiteError
from hil.site.files import SiteFiles
from hil.site.gateways import GatewayTask
from hil.site.mosquitto import MosquittoBroker
from hil.site.processes import CollectorProcess
from hil.site.site import Site


class Journal(list[str]):
    """What has been started and stopped, in order."""

    def part(self, name: str, *, fails: bool = False) -> Part:
        return Part(self, name, fails=fails)


class Part:
    """Stand in for a broker, a gateway or a collector; write into the journal."""

    def __init__(self, journal: Journal, name: str, *, fails: bool) -> None:
        self.port = 1883
        self.starts = 0
        self._journal = journal
        self._name = name
        self._fails = fails

    def is_running(self) -> bool:
        return not self._fails

    def status(self) -> Status:
        return Status(gateway="g", running_ms=1, nodes=[], counters=Counters())

    async def start(self) -> None:
        self._journal.append(f"start {self._name}")
        if self._fails:
            raise ProcessError(f"the {self._name} ended")

    async def stop(self) -> None:
        self._journal.append(f"stop {self._name}")


def site(folder: Path, journal: Journal, *, gateway_fails: bool = False) -> Site[Part, Part]:
    async def power_on() -> None:
        journal.append("start nodes")

    bench = SimpleNamespace(
        names=(), nodes={}, port="/dev/null", baud=9600, engine=None, power_on=power_on
    )
    return Site(
        SiteFiles(folder / "site"),
        cast("Bench", bench),
        journal.part("broker"),
        journal.part("gateway", fails=gateway_fails),
        cast("CollectorProcess", journal.part("collector")),
    )


async def test_the_collector_comes_first_and_goes_last(tmp_path: Path) -> None:
    journal = Journal()
    async with site(tmp_path, journal) as made:
        assert made.files.gateway_toml.is_file()
        assert made.files.collector_toml.is_file()
    assert journal == [
        "start collector",
        "start nodes",
        "start gateway",
        "stop gateway",
        "stop collector",
    ]


async def test_a_gateway_that_does_not_come_up_leaves_nothing_running(tmp_path: Path) -> None:
    journal = Journal()
    with pytest.raises(ProcessError, match="the gateway ended"):
        await site(tmp_path, journal, gateway_fails=True).__aenter__()
    assert journal[-2:] == ["stop gateway", "stop collector"]


@pytest.mark.parametrize(("gateway_fails", "compared"), [(False, 3), (True, 1)])
async def test_a_site_settles_when_nothing_is_missing_or_nothing_more_can_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gateway_fails: bool, compared: int
) -> None:
    problems = [["1 record waits"], ["1 record waits"], []]
    accounts = iter([SimpleNamespace(problems=lambda found=found: found) for found in problems])
    seen: list[object] = []

    def compare(*_: object) -> object:
        seen.append(account := next(accounts))
        return account

    monkeypatch.setattr("hil.site.site.compare", compare)
    assert await site(tmp_path, Journal(), gateway_fails=gateway_fails).settle() is seen[-1]
    assert len(seen) == compared


def test_a_gateway_has_no_status_before_its_start(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match=r"expected start\(\) before status\(\)"):
        GatewayTask(tmp_path / "gateway.toml").status()


def test_a_broker_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    script = tmp_path / "mosquitto"
    script.write_text("#!/bin/sh\necho unknown option\nexit 3\n", encoding="utf-8")
    script.chmod(0o700)
    with pytest.raises(ProcessError, match=r"(?s)does not start.*unknown option"):
        MosquittoBroker(script, tmp_path / "broker").start()
