"""Sparkplug B at a real broker, decoded by the reference implementation for Node.js."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from gateway_agent.config_types import MqttConnection
from gateway_agent.uplink.sparkplug.config import SparkplugUplink
from gateway_agent.uplink.trace_log import find_seq
from hil.site.mosquitto import MosquittoBroker
from tests.npm_package import npm_package, run_node
from tests.paths import ROOT
from tests.unit.gateway_agent.exporters.export_world import (
    exporting,
    hole,
    sample,
    until,
    writer,
)
from tests.unit.gateway_agent.store_help import WALL_MS, StillClock

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]

PACKAGE = "sparkplug-payload", "1.0.3"
BASE = "spBv1.0/city"
SCRIPT = """
const { get } = require("sparkplug-payload");
const codec = get("spBv1.0");
const lines = require("fs").readFileSync(0, "utf8").split("\\n").filter((line) => line);
for (const line of lines) {
  const [what, text] = line.split(" ");
  if (what === "encode") {
    const metric = { name: "Node Control/Rebirth", type: "Boolean", value: true, timestamp: 1 };
    const made = codec.encodePayload({ timestamp: 1, metrics: [metric] });
    console.log(JSON.stringify(Buffer.from(made).toString("hex")));
  } else {
    const found = codec.decodePayload(Buffer.from(text, "hex"));
    for (const metric of found.metrics) {
      for (const key of ["alias", "timestamp", "value"]) {
        if (metric[key] && metric[key].low !== undefined) metric[key] = Number(metric[key]);
      }
    }
    if (found.seq !== undefined) found.seq = Number(found.seq);
    if (found.timestamp !== undefined) found.timestamp = Number(found.timestamp);
    console.log(JSON.stringify(found));
  }
}
"""


@pytest.fixture(scope="module")
def reference() -> Path:
    """A folder from which Node.js finds the reference implementation."""
    return npm_package(*PACKAGE)


def ask(reference: Path, lines: list[str]) -> list[Any]:
    return run_node(reference, SCRIPT, "\n".join(lines))


def decoded(reference: Path, got: list[tuple[str, bytes]]) -> list[tuple[str, dict[str, Any]]]:
    payloads = ask(reference, [f"decode {payload.hex()}" for _, payload in got])
    return [(topic, found) for (topic, _), found in zip(got, payloads, strict=True)]


@asynccontextmanager
async def host(port: int, got: list[tuple[str, bytes]]) -> AsyncIterator[aiomqtt.Client]:
    async def read() -> None:
        async for message in client.messages:
            topic, payload = str(message.topic), bytes(message.payload)
            got.append((topic, payload))

    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("spBv1.0/#", qos=1)
        task = asyncio.create_task(read())
        try:
            yield client
        finally:
            task.cancel()


async def test_births_data_history_rebirth_and_death(
    broker: MosquittoBroker, tmp_path: Path, reference: Path
) -> None:
    got: list[tuple[str, bytes]] = []
    clock = StillClock(wall_ms=WALL_MS + 101_000)
    connection = MqttConnection(host="127.0.0.1", port=broker.port)
    config = SparkplugUplink(broker=connection, group="city", latency_ms=0)
    (rebirth,) = ask(reference, ["encode -"])
    async with writer(tmp_path, clock) as outbox, host(broker.port, got) as client:
        await outbox.attach(["sparkplug"], ["sparkplug"])
        await outbox.put([sample(1), sample(100), sample(101, failed=True), hole(101)], {})
        async with exporting(outbox, tmp_path, config, clock=clock) as exporters:
            await until(lambda: len(got) == 6)
            await until(lambda: exporters.tasks[0].feed.behind == 0)
            await client.publish(f"{BASE}/NCMD/gw-1", bytes.fromhex(rebirth), qos=0)
            await until(lambda: len(got) == 9)
        await until(lambda: len(got) == 10)
    found = decoded(reference, got)
    topics = [topic.removeprefix(f"{BASE}/") for topic, _ in found]
    data = ["DDATA/gw-1/hall"] * 4
    births = ["NBIRTH/gw-1", "DBIRTH/gw-1/hall"]
    command = f"{BASE}/NCMD/gw-1"
    assert [t for t in topics if not t.startswith("NCMD")] == [
        *births,
        *data,
        *births,
        "NDEATH/gw-1",
    ]
    ours = [content for topic, content in found if topic != command]
    node, device, old, new, failed, gap, again, reborn, death = ours
    assert [one["seq"] for one in ours[:-1]] == [0, 1, 2, 3, 4, 5, 0, 1]
    session = {one["name"]: one["value"] for one in node["metrics"]}
    assert session["Node Control/Rebirth"] is False
    assert death["metrics"][0]["name"] == "bdSeq"
    assert death["metrics"][0]["value"] == session["bdSeq"] == again["metrics"][0]["value"]
    names = {one["alias"]: one["name"] for one in device["metrics"]}
    assert sorted(names.values()) == ["co2", "gap", "temperature"]

    def values(content: dict[str, Any]) -> dict[str, Any]:
        return {names[one["alias"]]: one.get("value") for one in content["metrics"]}

    assert values(old) == {"co2": 1.0, "temperature": 0.1}
    assert [one.get("isHistorical", False) for one in old["metrics"]] == [True, True]
    assert {one["timestamp"] for one in old["metrics"]} == {WALL_MS + 1000}
    assert values(new) == {"co2": 100.0, "temperature": 10.0}
    assert not any(one.get("isHistorical", False) for one in new["metrics"])
    assert values(failed) == {"co2": 101.0, "temperature": None}
    assert values(gap) == {"gap": "bus_timeout"}
    assert values(reborn) == {"co2": 101.0, "temperature": None, "gap": "bus_timeout"}
    (trace,) = find_seq(tmp_path, 2, None, 9)
    assert trace.text == f"{BASE}/DDATA/gw-1/hall"


async def test_the_broker_publishes_the_death_of_a_gateway_that_vanishes(
    broker: MosquittoBroker, tmp_path: Path, reference: Path
) -> None:
    got: list[tuple[str, bytes]] = []
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from gateway_agent.config_types import MqttConnection\n"
        "from gateway_agent.uplink.sparkplug.config import SparkplugUplink\n"
        "from tests.unit.gateway_agent.exporters.export_world import exporting, writer\n"
        "root = Path(sys.argv[1])\n"
        "broker = MqttConnection(host='127.0.0.1', port=int(sys.argv[2]))\n"
        "async def main():\n"
        "    config = SparkplugUplink(broker=broker, group='city', latency_ms=0)\n"
        "    async with writer(root) as outbox, exporting(outbox, root, config):\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    async with host(broker.port, got):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, str(tmp_path), str(broker.port), cwd=ROOT
        )
        await until(lambda: got)
        child.kill()
        await child.wait()
        await until(lambda: len(got) == 2)
    (birth, death) = decoded(reference, got)
    assert (birth[0], death[0]) == (f"{BASE}/NBIRTH/gw-1", f"{BASE}/NDEATH/gw-1")
    assert birth[1]["metrics"][0]["value"] == death[1]["metrics"][0]["value"]
