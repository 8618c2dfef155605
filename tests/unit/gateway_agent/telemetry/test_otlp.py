"""What the gateway pushes is read by opentelemetry-proto; a server may be away for a while."""

import importlib
from pathlib import Path
from unittest.mock import Mock

import pytest

from gateway_agent.clock import SystemClock, Wall
from gateway_agent.telemetry import push
from gateway_agent.uplink.backoff import Backoff
from protocols.uplink import CLOCK_NONE, CLOCK_SYNCHRONISED
from tests.unit.gateway_agent.notify.receivers import WebServer
from tests.unit.gateway_agent.slave import until
from tests.unit.gateway_agent.store_help import WALL_MS
from tests.unit.gateway_agent.web.help import running


async def test_metrics_arrive_as_opentelemetry_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(push, "_FIRST_S", 0.2)
    monkeypatch.setattr(Backoff, "next_s", lambda *_: 0.1)
    set_clock = Wall(WALL_MS, 5, CLOCK_SYNCHRONISED)
    monkeypatch.setattr(SystemClock, "wall", lambda _: set_clock)
    headers = tmp_path / "otlp.headers"
    headers.write_text("Authorization: Bearer sesame\n")
    headers.chmod(0o600)
    async with WebServer(lambda number: 503 if number < 2 else 200) as server:
        more = f'[otlp]\nurl = "http://127.0.0.1:{server.port}/v1/metrics"\n'
        async with running(tmp_path, lines=more + 'headers_file = "otlp.headers"\n') as agent:
            await until(lambda: len(server.requests) == 3)
            status = agent.snapshot()
    texts = [text for text in caplog.messages if "[otlp]" in text]
    refused, again = texts
    assert refused.endswith("got 503")
    assert again.endswith("works again")
    assert server.requests[-1].headers["authorization"] == "Bearer sesame"
    assert "sesame" not in caplog.text
    # The types of the schema's own package, loaded by name: it has none for a type checker.
    service = importlib.import_module(
        "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2"
    )
    json_format = importlib.import_module("google.protobuf.json_format")
    request = service.ExportMetricsServiceRequest()
    json_format.Parse(server.requests[-1].body, request)
    (resource,) = request.resource_metrics
    names = {item.key: item.value.string_value for item in resource.resource.attributes}
    assert names["service.instance.id"] == status.gateway
    metrics = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    unaccounted = metrics["tianfu_unaccounted_readings"].gauge.data_points
    assert [point.as_double for point in unaccounted] == [0] * len(unaccounted)
    assert unaccounted
    polls = metrics["tianfu_polls"].sum
    assert polls.is_monotonic
    assert polls.aggregation_temporality == 2
    (point,) = polls.data_points
    assert 0 < point.as_double <= status.counters.polls
    assert 0 <= point.time_unix_nano - point.start_time_unix_nano < 60e9
    device = metrics["tianfu_device_up"].gauge.data_points[0]
    assert {item.key for item in device.attributes} >= {"device", "bus"}
    assert metrics["process_resident_memory_bytes"].unit == "By"


async def test_a_gateway_without_a_clock_pushes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "_FIRST_S", 0.01)
    wall = Mock(return_value=Wall(None, 0, CLOCK_NONE))
    monkeypatch.setattr(SystemClock, "wall", lambda _: wall())
    async with WebServer() as server:
        lines = f'[otlp]\nurl = "http://127.0.0.1:{server.port}/v1/metrics"\n'
        async with running(tmp_path, lines=lines):
            before = wall.call_count
            await until(lambda: wall.call_count > before + 20)
        assert server.requests == []
