"""``/api/v1`` answers what the agent has, as its OpenAPI page says, and changes nothing."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from gateway_agent import progress
from gateway_agent.field.node_log import NodeLog, node_events
from gateway_agent.status import HealthProblem
from gateway_agent.web import api, history, streams
from gateway_agent.web.events import KEPT, EventList, NodeEventList
from protocols.wire.sample import Event
from tests.unit.gateway_agent.slave import until
from tests.unit.gateway_agent.test_agent import answer

from .help import fetch, running


async def test_every_address_answers_in_the_form_that_openapi_gives(tmp_path: Path) -> None:
    async with running(tmp_path) as agent:
        document = (await fetch(agent.web_port, "/api/v1/openapi.json")).json()
        assert document["openapi"].startswith("3.1")
        assert len(document["paths"]) >= 8
        for path, item in document["paths"].items():
            if "get" not in item or "post" in item:
                continue  # orders and the session: test_log_in.py
            answered = await fetch(agent.web_port, path.replace("{name}", "basin"))
            assert answered.status == 200, path
            schema = item["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            check(answered.json(), schema, document["components"]["schemas"], path)
            assert (await fetch(agent.web_port, path, "POST")).status == 405


def check(value: Any, schema: Any, known: Any, at: str) -> None:
    """Compare names of fields and basic types, as far as JSON Schema is used here."""
    if "$ref" in schema:
        schema = known[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        schemas = [item for item in schema["anyOf"] if item.get("type") != "null"]
        assert value is None or schemas
        if value is not None and len(schemas) == 1:
            check(value, schemas[0], known, at)
        return
    if "properties" in schema:
        assert set(value) <= set(schema["properties"]), at
        assert set(schema["required"]) <= set(value), at
        for name, item in value.items():
            check(item, schema["properties"][name], known, f"{at}.{name}")
    elif schema.get("type") == "array":
        for item in value:
            check(item, schema.get("items", {}), known, f"{at}[]")
    elif "type" in schema:
        types: dict[str, tuple[type, ...]] = {
            "integer": (int,),
            "number": (int, float),
            "string": (str,),
            "object": (dict,),
        }
        assert isinstance(value, types.get(schema["type"], (object,))), at


async def test_values_buses_and_outbox_are_those_of_the_agent(tmp_path: Path) -> None:
    async with running(tmp_path) as agent:
        port = agent.web_port
        overview = (await fetch(port, "/api/v1/overview")).json()
        buses = (await fetch(port, "/api/v1/buses")).json()["buses"]
        outbox = (await fetch(port, "/api/v1/outbox")).json()
        config = (await fetch(port, "/api/v1/config")).json()["config"]
    (device,) = overview["devices"]
    assert (device["name"], device["state"]) == ("basin", "ok")
    assert device["values"] == [{"name": "level", "unit": "mm", "value": 258}]
    assert overview["unaccounted"] == 0
    assert [(bus["name"], bus["devices"][0]["name"]) for bus in buses] == [("plant", "basin")]
    assert buses[0]["cycle_ms"] > 0
    assert outbox["outbox"]["depth"] >= 3
    assert outbox["uplinks"][0]["broker"] == "127.0.0.1:1"
    assert len(bytes.fromhex(outbox["outbox"]["head"])) == 32
    assert 0 <= outbox["longest_wait_ms"] < 60_000
    assert outbox["uplinks"][0]["receipt_ms"] == 0
    assert config["gateway"]["key"].endswith("gateway.pem")
    assert "PRIVATE" not in json.dumps(config)


async def test_frames_pass_live_in_words_to_who_looks(tmp_path: Path) -> None:
    async with running(tmp_path) as agent:
        reader, writer = await asyncio.open_connection("127.0.0.1", agent.web_port)
        writer.write(b"GET /api/v1/buses/plant/frames HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        kinds: set[str] = set()
        async with asyncio.timeout(10):
            while not {"request", "answer"} <= kinds:
                line = await reader.readline()
                if line.startswith(b"data: "):
                    frame = json.loads(line[6:])
                    kinds.add(frame["kind"])
                    assert bytes.fromhex(frame["data"])[0] == 1, "the unit of the only device"
                    assert frame["text"]
        writer.close()
        taps = [poller.tap for poller in agent._field._pollers] if agent._field else []
        await until(lambda: not any(tap._viewers for tap in taps))
        absent = await fetch(agent.web_port, "/api/v1/buses/absent/frames")
        assert b"event: problem" in absent.body
        assert b"plant" in absent.body
        await until(lambda: agent.buses()[0].share > 0)
        buses = (await fetch(agent.web_port, "/api/v1/buses")).json()["buses"]
        assert 0 < buses[0]["share_now"] <= 1
        assert buses[0]["devices"][0]["poll_now_ms"] > 0


async def test_history_has_the_gap_of_a_dead_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "STEP_S", 0.06)
    is_dead = False

    def sometimes(segment: bytes) -> Iterable[tuple[float, bytes]]:
        return () if is_dead else answer(segment)

    async with running(tmp_path, sometimes) as agent:

        async def found() -> Any:
            return (await fetch(agent.web_port, "/api/v1/devices/basin/history")).json()

        async def has(enough: int, gaps: int) -> None:
            async with asyncio.timeout(20):
                while True:
                    shown = await found()
                    assert "points" in shown, shown
                    values = [value for point in shown["points"] for value in point["values"]]
                    if values.count(258) >= enough and len(shown["gaps"]) >= gaps:
                        return
                    await asyncio.sleep(0.02)

        await has(2, 0)
        is_dead = True
        await has(2, 1)
        (gap,) = (await found())["gaps"]
        assert gap["cause"] == "bus_timeout"
        assert (
            await fetch(agent.web_port, "/api/v1/devices/basin/history?from_ms=-1")
        ).status == 404
        after = gap["to_ms"] + 3_600_000
        late = await fetch(agent.web_port, f"/api/v1/devices/basin/history?from_ms={after}")
        assert late.json()["t_ms"] == []


@pytest.mark.parametrize(
    "name", ["absent", "%2e%2e", "a" * 3000, "%00", "%F0%9F%8C%A7", "'; drop table piece--"]
)
async def test_a_device_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    async with running(tmp_path) as agent:
        path = f"/api/v1/devices/{name.replace(' ', '%20')}"
        answered = await fetch(agent.web_port, path)
        assert answered.status == 404


async def test_live_values_come_every_second_to_a_bounded_number_of_viewers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "LIVE_S", 0.02)
    monkeypatch.setattr(streams, "MAX_STREAMS", 1)
    asked = b"GET /api/v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    async with running(tmp_path) as agent:

        async def status() -> tuple[int, asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", agent.web_port)
            writer.write(asked)
            return int((await reader.readline()).split()[1]), reader, writer

        async def close(writer: asyncio.StreamWriter) -> None:
            writer.close()
            await writer.wait_closed()

        first, reader, viewer = await status()
        assert first == 200
        for _ in range(3):
            await asyncio.wait_for(reader.readuntil(b"event: overview\ndata: {"), 10)
        second, _, writer = await status()
        assert second == 503
        await close(writer)
        await close(viewer)
        async with asyncio.timeout(10):
            while (last := await status())[0] != 200:
                await close(last[2])
    await close(last[2])  # the agent has stopped although a viewer was connected


async def test_problems_become_events_with_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOOK_S", 0.02)
    monkeypatch.setattr(progress, "LIMIT_MS", 50)
    async with running(tmp_path) as agent:
        await until(lambda: agent.progress.problems)
        async with asyncio.timeout(10):
            while True:
                events = (await fetch(agent.web_port, "/api/v1/events")).json()["events"]
                if ("problem", "127.0.0.1:1") in [(item["kind"], item["what"]) for item in events]:
                    break
                await asyncio.sleep(0.02)
        log = (await fetch(agent.web_port, "/api/v1/log")).json()["lines"]
    assert any("Connection refused" in line["text"] for line in log)


def test_the_end_of_a_problem_is_an_event() -> None:
    events = EventList(lambda: 1.5)
    problem = HealthProblem(stage="polls", what="roof/a", for_ms=1, text="lost", own=False)
    events.look([problem], ["forked"])
    events.look([problem], ["forked"])
    events.look([], ["forked"])
    assert [(item.kind, item.what) for item in events.events] == [
        ("problem", "roof/a"),
        ("alarm", "uplink"),
        ("solved", "roof/a"),
    ]


async def test_events_of_nodes_are_shown_with_the_changes(tmp_path: Path) -> None:
    async with running(tmp_path) as agent:
        log = NodeLog("air-1 (tf-0123)")
        log.events([Event(1, 1, 0, 5), Event(2, 4, 300, 900)])
        for number in range(2 * KEPT):
            log.events([Event(number, 200, number, 0)])
        events = (await fetch(agent.web_port, "/api/v1/events")).json()["events"]
        nodes = [event for event in events if event["kind"] == "node"]
        assert len(nodes) == KEPT
        assert (nodes[0]["what"], nodes[0]["text"]) == ("air-1 (tf-0123)", "event-200 999")
        log.events([Event(1, 1, 0, 5)])
        newest = (await fetch(agent.web_port, "/api/v1/events")).json()["events"][0]
        assert newest["text"] == "boot 0"
    assert not [one for one in node_events.handlers if isinstance(one, NodeEventList)]
