"""Health checks and metrics over HTTP, who may ask, and what a hostile client costs."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway_agent import progress
from gateway_agent.config import load
from gateway_agent.counters import Counters
from gateway_agent.tables import ConfigError
from gateway_agent.web import connection, console
from gateway_agent.web.metrics import HELP
from tests.unit.gateway_agent.slave import until
from tests.unit.gateway_agent.test_agent import make, stopped, write_site

from .help import add_web, fetch, running


def samples(body: bytes) -> dict[str, float]:
    """Return each sample of an exposition by its name and labels."""
    return {
        sample.name + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


async def test_metrics_show_what_the_agent_counts(tmp_path: Path) -> None:
    async with running(tmp_path) as agent:
        answered = await fetch(agent.web_port, "/metrics")
        found = samples(answered.body)
        recorded = agent.snapshot().counters.records_recorded
    assert answered.status == 200
    assert answered.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert found["tianfu_unaccounted_readings"] == 0
    assert 3 <= found["tianfu_records_recorded_total"] <= recorded
    assert found["tianfu_device_up,bus=plant,device=basin"] == 1
    assert found["tianfu_uplink_connected,uplink=127.0.0.1:1"] == 0
    assert found["tianfu_alive"] == 1
    assert found["process_open_fds"] > 0
    values = {line.split("{")[0].split()[0] for line in answered.body.decode().splitlines()}
    assert not {name for name in values if "level" in name}, "a value of a sensor is no metric"


def test_each_counter_has_a_text() -> None:
    assert set(Counters.__struct_fields__) == HELP.keys()


async def test_health_is_red_while_data_stops_and_green_when_it_flows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOOK_S", 0.02)
    async with running(tmp_path) as agent:
        assert (await fetch(agent.web_port, "/healthz")).status == 200
        ready = await fetch(agent.web_port, "/readyz")
        assert ready.status == 503  # there is no broker
        assert "127.0.0.1:1" in ready.json()["starting"][0]
        monkeypatch.setattr(progress, "LIMIT_MS", 50)
        await until(lambda: agent.progress.problems)
        answered = await fetch(agent.web_port, "/healthz")
        assert answered.status == 503
        assert answered.json()["problems"][0]["stage"] == "receipts"
        assert (await fetch(agent.web_port, "/livez")).status == 200


async def test_a_foreign_host_name_is_refused_and_answers_cannot_be_framed(tmp_path: Path) -> None:
    async with running(tmp_path) as agent:
        refused = await fetch(agent.web_port, "/metrics", Host="evil.example")
        answered = await fetch(agent.web_port, "/healthz", Host=f"localhost:{agent.web_port}")
    assert refused.status == 400
    assert answered.status == 200
    assert "frame-ancestors 'none'" in answered.headers["content-security-policy"]
    assert "unsafe" not in answered.headers["content-security-policy"]
    assert answered.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "request_",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\nx",
        b"",
    ],
)
async def test_bad_requests_cost_nothing_but_their_connection(
    tmp_path: Path, request_: bytes
) -> None:
    async with running(tmp_path) as agent:
        before = agent.snapshot().counters.records_recorded
        reader, writer = await asyncio.open_connection("127.0.0.1", agent.web_port)
        writer.write(request_)
        writer.write_eof()
        assert b" 200 " not in await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await until(lambda: agent.snapshot().counters.records_recorded > before)
        assert (await fetch(agent.web_port, "/livez")).status == 200


async def test_slow_clients_are_closed_and_their_number_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "REQUEST_S", 0.3)
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 5)
    async with running(tmp_path) as agent:
        slow = [await asyncio.open_connection("127.0.0.1", agent.web_port) for _ in range(12)]
        for _, writer in slow[:5]:
            writer.write(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        ended = [asyncio.wait_for(reader.read(), 10) for reader, _ in slow]
        results = await asyncio.gather(*ended, return_exceptions=True)
        assert all(result == b"" or isinstance(result, ConnectionError) for result in results)
        for _, writer in slow:
            writer.close()
        await asyncio.sleep(0)
        assert (await fetch(agent.web_port, "/livez")).status == 200


async def test_a_port_that_is_taken_costs_the_console_only(tmp_path: Path) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    path = add_web(write_site(tmp_path, 1))
    path.write_text(path.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    agent, _ = make(path)
    task = asyncio.create_task(agent.run())
    await agent.running.wait()
    assert agent.web_port == 0
    await stopped(agent, task)
    taken.close()
    await taken.wait_closed()


async def test_a_console_that_cannot_start_costs_the_console_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(console, "make_app", broken)
    async with running(tmp_path) as agent:
        assert agent.web_port == 0


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:8080", "192.168.1.5:80", "[::]:8080", "127.0.0.1:99999"]
)
def test_it_listens_on_the_machine_itself_only(tmp_path: Path, listen: str) -> None:
    path = add_web(write_site(tmp_path, 1))
    path.write_text(path.read_text().replace("127.0.0.1:0", listen))
    with pytest.raises(ConfigError, match=r"web\.listen"):
        load(path)


def test_a_gateway_without_the_table_loads_nothing_of_it() -> None:
    code = (
        "import sys, gateway_agent.service, gateway_agent.agent\n"
        "print([name for name in sys.modules if name.split('.')[0] in"
        " ('uvicorn', 'starlette', 'prometheus_client', 'h11') or name == 'gateway_agent.web'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
