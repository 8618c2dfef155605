"""Platforms behind a real broker: what a subscriber of theirs gets, counted record by record."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from gateway_agent.commands.command import Command, CommandResult
from gateway_agent.config_types import MqttConnection
from gateway_agent.status import PointValue
from gateway_agent.uplink.homeassistant.config import HomeAssistantUplink
from gateway_agent.uplink.mqtt_json.config import JsonUplink
from gateway_agent.uplink.thingsboard.config import ThingsBoardUplink
from gateway_agent.uplink.trace_log import find_message, find_seq
from hil.site.mosquitto import MosquittoBroker
from tests.unit.gateway_agent.exporters.export_world import (
    exporting,
    hole,
    sample,
    until,
    writer,
)
from tests.unit.gateway_agent.store_help import WALL_MS, StillClock

pytestmark = pytest.mark.mosquitto


class Listener:
    """A client of the broker that keeps what it gets."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.got: list[tuple[str, bytes, bool]] = []

    def of(self, topic: str) -> list[bytes]:
        return [payload for name, payload, _ in self.got if name == topic]

    async def read(self) -> None:
        async for message in self.client.messages:
            self.got.append((str(message.topic), bytes(message.payload), message.retain))


@asynccontextmanager
async def listening(port: int, topic: str = "#") -> AsyncIterator[Listener]:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe(topic, qos=1)
        listener = Listener(client)
        task = asyncio.create_task(listener.read())
        try:
            yield listener
        finally:
            task.cancel()


def at(broker: MosquittoBroker) -> MqttConnection:
    return MqttConnection(host="127.0.0.1", port=broker.port)


async def test_json_and_senml_while_another_platform_is_down(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    plain = JsonUplink(broker=at(broker), latency_ms=0, topic="site/{gateway}/{bus}/{device}")
    senml = JsonUplink(
        name="senml", broker=at(broker), latency_ms=0, topic="senml/{role}", format="senml"
    )
    down = JsonUplink(name="down", broker=MqttConnection(host="127.0.0.1", port=1), latency_ms=0)
    async with (
        listening(broker.port) as listener,
        writer(tmp_path) as outbox,
        exporting(outbox, tmp_path, down, plain, senml) as exporters,
    ):
        await outbox.put([sample(1), sample(2, failed=True), hole(3)], {})
        await outbox.put([sample(number) for number in range(4, 200)], {})
        await until(lambda: len(listener.of("senml/senseair-s8")) == 199)
        await until(lambda: len(listener.of("site/gw-1/roof/hall")) == 199)
        first, second, third, *others = map(json.loads, listener.of("site/gw-1/roof/hall"))
        assert first == {
            "gateway": "gw-1",
            "device": "hall",
            "time_ms": WALL_MS + 1000,
            "uncertainty_ms": 5,
            "stream": outbox.stats.stream,
            "seq": 1,
            "values": {"co2": 1, "temperature": 0.1},
            "units": {"co2": "ppm", "temperature": "Cel"},
            "quality": {},
        }
        assert (second["values"], second["quality"]) == ({"co2": 2}, {"temperature": "no-value"})
        assert third["gap"] == "bus_timeout"
        assert [one["seq"] for one in others] == list(range(4, 200))
        packs = list(map(json.loads, listener.of("senml/senseair-s8")))
        assert packs[0] == [
            {"bn": "gw-1.hall/", "bt": (WALL_MS + 1000) / 1000, "n": "co2", "u": "ppm", "v": 1},
            {"n": "temperature", "u": "Cel", "v": 0.1},
        ]
        assert packs[1][1] == {"n": "temperature/q", "vs": "no-value"}
        assert packs[2] == [
            {"bn": "gw-1.hall/", "bt": (WALL_MS + 3000) / 1000, "n": "gap", "vs": "bus_timeout"}
        ]
        # A message is heard before its acknowledgement is, and the place moves after that.
        await until(lambda: not any(one.behind for one in exporters.status(outbox)[1:]))
        behind = {one.name: one.behind for one in exporters.status(outbox)}
        assert behind == {"down": 199, "mqtt-json": 0, "senml": 0}
        (trace, other) = find_seq(tmp_path, 7, None, 9)
        assert {trace.exporter, other.exporter} == {"mqtt-json", "senml"}
        assert trace.ack == "PUBACK"
        assert trace in find_message(tmp_path, "mqtt-json", trace.message, 999)


async def test_a_broker_that_restarts_gets_every_record(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    config = JsonUplink(broker=at(broker), latency_ms=0, batch_records=20, topic="t")
    got: set[int] = set()
    async with writer(tmp_path) as outbox, exporting(outbox, tmp_path, config) as exporters:
        async with listening(broker.port) as listener:
            await outbox.put([sample(number) for number in range(100)], {})
            await until(lambda: len(listener.of("t")) >= 30)
            broker.kill()
        await outbox.put([sample(number) for number in range(100, 200)], {})
        got |= {json.loads(one)["seq"] for one in listener.of("t")}
        broker.start()
        async with listening(broker.port) as listener:
            await until(lambda: exporters.tasks[0].feed.behind == 0)
            await until(lambda: json.loads(listener.of("t")[-1])["seq"] == 200)
            got |= {json.loads(one)["seq"] for one in listener.of("t")}
    # The broker has acknowledged what the first listener, killed with it, may not have got.
    acknowledged = {seq for seq in range(1, 201) if find_seq(tmp_path, seq, None, 1)}
    assert acknowledged == set(range(1, 201))
    assert set(range(101, 201)) <= got


async def test_thingsboard_gets_devices_telemetry_and_answers(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    config = ThingsBoardUplink(broker=at(broker), latency_ms=0)
    async with (
        listening(broker.port, "v1/gateway/+") as listener,
        writer(tmp_path) as outbox,
        exporting(outbox, tmp_path, config) as exporters,
    ):
        await outbox.put([sample(1), sample(2, failed=True), hole(3)], {})
        await until(lambda: listener.of("v1/gateway/telemetry"))
        assert [topic for topic, _, _ in listener.got] == [
            "v1/gateway/connect",
            "v1/gateway/attributes",
            "v1/gateway/telemetry",
        ]
        connect, attributes, telemetry = (json.loads(payload) for _, payload, _ in listener.got)
        assert connect == {"device": "hall", "type": "senseair-s8"}
        assert attributes["hall"]["gateway"] == "gw-1"
        assert telemetry == {
            "hall": [
                {"ts": WALL_MS + 1000, "values": {"co2": 1, "temperature": 0.1}},
                {"ts": WALL_MS + 2000, "values": {"co2": 2}},
                {"ts": WALL_MS + 3000, "values": {"gap": "bus_timeout"}},
            ]
        }
        command = {"device": "hall", "data": {"id": 7, "method": "setPeriod", "params": 1}}
        for payload in (b"{", b"[]", b'{"device":"other","data":{"id":1}}', b"x" * 9000):
            await listener.client.publish("v1/gateway/rpc", payload, qos=1)
        await listener.client.publish("v1/gateway/rpc", json.dumps(command), qos=1)
        await until(lambda: exporters.status(outbox)[0].rejected >= 4)
        await until(lambda: any(b"error" in one for one in listener.of("v1/gateway/rpc")))
        await outbox.put([sample(4)], {})
        await until(lambda: len(listener.of("v1/gateway/telemetry")) == 2)


async def test_thingsboard_commands_a_device_where_it_may(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    done: list[tuple[Command, str]] = []
    gate = asyncio.Event()

    async def run(command: Command, by: str) -> CommandResult:
        done.append((command, by))
        await gate.wait()
        if command.action == "restart":
            return CommandResult(outcome="refused", text="not now")
        values = [PointValue("sample_period", "s", 5.0)]
        return CommandResult(outcome="done", text="sample_period: 2 s -> 5 s", values=values)

    config = ThingsBoardUplink(broker=at(broker), allow_control=True)

    def call(number: int, **data: object) -> str:
        return json.dumps({"device": "hall", "data": {"id": number, **data}})

    async with (
        listening(broker.port, "v1/gateway/rpc") as listener,
        writer(tmp_path) as outbox,
        exporting(outbox, tmp_path, config, command=run) as exporters,
    ):
        await until(lambda: exporters.tasks and exporters.status(outbox)[0].connected)

        def answers() -> dict[int, dict[str, object]]:
            found = [json.loads(one) for one in listener.of("v1/gateway/rpc")]
            data = [one["data"] for one in found if "id" in one]
            numbers = [one["id"] for one in found if "id" in one]
            return dict(zip(numbers, data, strict=True))

        setting = {"name": "sample_period", "value": 5, "confirm": True}
        wrong = (
            call(10, method="erase"),
            call(11, method="set", params={"name": "x" * 65, "value": "1"}),
            call(12, method="set", params={"name": ["x"], "value": "1"}),
        )
        calls = [call(1, method="set", params=setting), call(2, method="restart")]
        calls += [call(number, method="get", params="sample_period") for number in range(3, 9)]
        await listener.client.publish("v1/gateway/rpc", calls[0], qos=1)
        await until(lambda: done)
        for payload in (*calls[1:], *wrong):
            await listener.client.publish("v1/gateway/rpc", payload, qos=1)
        await until(lambda: {10, 11, 12} <= answers().keys())
        assert all("error" in answers()[number] for number in (10, 11, 12))
        gate.set()
        await until(lambda: len(answers()) == 11)
        found = answers()
    assert found[1] == {"sample_period": 5.0, "done": "sample_period: 2 s -> 5 s"}
    assert found[2] == {"error": "refused: not now"}
    assert sum("wait already" in str(one) for one in found.values()) == 3  # of six behind the two
    expected = Command(action="set", device="hall", point="sample_period", value="5", confirm=True)
    assert done[0] == (expected, "thingsboard: thingsboard")


async def test_home_assistant_has_the_present_only(broker: MosquittoBroker, tmp_path: Path) -> None:
    clock = StillClock(wall_ms=WALL_MS + 100_000)
    config = HomeAssistantUplink(broker=at(broker), latency_ms=0)
    async with writer(tmp_path, clock) as outbox, listening(broker.port) as listener:
        state = "tianfu/gw-1/ha/gw-1_hall/state"
        async with exporting(outbox, tmp_path, config, clock=clock) as exporters:
            await until(lambda: exporters.tasks)
            await outbox.put([sample(1), sample(2), sample(95), sample(96, failed=True)], {})
            await until(lambda: len(listener.of(state)) == 2)
            assert json.loads(listener.of(state)[0]) == {"co2": 95, "temperature": 9.5}
            assert json.loads(listener.of(state)[1]) == {"co2": 96, "temperature": None}
            await until(lambda: exporters.status(outbox)[0].behind == 0)
            status = exporters.status(outbox)[0]
            assert [(one.first, one.last, one.cause) for one in status.losses] == [(1, 2, "stale")]
            (announced,) = listener.of("homeassistant/device/gw-1_hall/config")
            content = json.loads(announced)
            assert content["cmps"]["co2"] == {
                "p": "sensor",
                "name": "co2",
                "unique_id": "gw-1_hall_co2",
                "value_template": "{{ value_json.co2 }}",
                "state_class": "measurement",
                "expire_after": 30,
                "unit_of_measurement": "ppm",
                "device_class": "carbon_dioxide",
            }
            assert content["cmps"]["temperature"]["unit_of_measurement"] == "°C"
            assert content["availability_topic"] == "tianfu/gw-1/ha/status"
            assert listener.of("tianfu/gw-1/ha/status") == [b"online"]
            await listener.client.publish("homeassistant/status", b"online", qos=1)
            await listener.client.publish("homeassistant/status", b"nonsense", qos=1)
            await until(lambda: exporters.status(outbox)[0].rejected)
            await outbox.put([sample(97)], {})
            await until(lambda: len(listener.of("homeassistant/device/gw-1_hall/config")) == 2)
        await until(lambda: b"offline" in listener.of("tianfu/gw-1/ha/status"))
        async with listening(broker.port) as later:  # what a start of Home Assistant finds
            await until(lambda: len(later.got) == 2)
            assert all(retained for _, _, retained in later.got)
