"""Handshakes of TLS: as many as people need, and no more than a small gateway can do."""

import asyncio
import logging
import ssl
from pathlib import Path

import pytest

from gateway_agent.web import handshakes
from gateway_agent.web.handshakes import Handshakes
from tests.unit.gateway_agent.slave import until

from .help import fetch, running
from .users_help import LINES, make_certificate, make_users


class Clock:
    """Seconds that a test decides."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def begun(limits: Handshakes, address: str, attempts: int, is_loopback: bool = False) -> int:
    """Return how many of so many attempts may begin."""
    return sum(limits.may_begin(address, is_loopback) for _ in range(attempts))


def test_an_address_has_forty_at_once_and_four_a_second() -> None:
    clock = Clock()
    limits = Handshakes(clock)
    assert begun(limits, "10.0.0.1", 100) == 40
    assert begun(limits, "10.0.0.2", 1) == 1, "others are not held up"
    clock.now += 1.0
    assert begun(limits, "10.0.0.1", 100) == 4
    clock.now += 0.125
    assert begun(limits, "10.0.0.1", 100) == 0
    clock.now += 3600.0
    assert begun(limits, "10.0.0.1", 100) == 40, "no more is saved up"


def test_all_together_have_two_hundred_at_once_and_ten_a_second_from_here_too() -> None:
    clock = Clock()
    limits = Handshakes(clock)
    assert sum(begun(limits, f"10.0.0.{host}", 4) for host in range(40)) == 160
    assert begun(limits, "127.0.0.1", 100, is_loopback=True) == 40
    assert begun(limits, "10.0.1.1", 1) == 0
    clock.now += 1.0
    assert begun(limits, "127.0.0.1", 100, is_loopback=True) == 10


def test_what_is_known_of_addresses_is_bounded() -> None:
    clock = Clock()
    limits = Handshakes(clock)
    for host in range(3000):
        clock.now += 1.0
        assert limits.may_begin(f"fd00::{host:x}", False)
    assert len(limits) == 1024


async def test_a_connection_too_fast_is_closed_before_its_handshake_and_data_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handshakes, "ALL_AT_ONCE", 3)
    monkeypatch.setattr(handshakes, "ALL_PER_S", 0.001)
    tls = make_certificate(tmp_path)
    make_users(tmp_path)
    async with running(tmp_path, lines=LINES) as agent:
        for _ in range(3):
            assert (await fetch(agent.web_port, "/livez", tls=tls)).status == 200
        before = agent.snapshot().counters.records_recorded
        with caplog.at_level(logging.WARNING):
            for _ in range(20):
                with pytest.raises((OSError, ssl.SSLError, asyncio.IncompleteReadError)):
                    await fetch(agent.web_port, "/livez", tls=tls)
        assert [line for line in caplog.messages if "too fast, one from 127.0.0.1" in line]
        await until(lambda: agent.snapshot().counters.records_recorded > before)
