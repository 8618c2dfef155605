"""More exporters that are swept: ThingsBoard, Home Assistant, SL 427."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway_agent.commands.command import Command, CommandResult
from gateway_agent.uplink.homeassistant.config import HomeAssistantUplink
from gateway_agent.uplink.sl427.config import QuantityOfPoint, Sl427Device, Sl427Uplink
from gateway_agent.uplink.thingsboard.config import ThingsBoardUplink
from hil.platform.sl427_centre import _frame

from .peers import Broker
from .worlds import Actor
from .worlds_exporters import EVERY_S, SAMPLES, Platform, contiguous, exporting, mqtt

TELEMETRY, RPC = "v1/gateway/telemetry", "v1/gateway/rpc"
CALL = {"device": "hall", "data": {"id": 7, "method": "set", "params": {"name": "sample_period"}}}


@asynccontextmanager
async def thingsboard(folder: Path) -> AsyncIterator[Actor]:
    """Telemetry of five records each, and at each subscription a command that takes a second."""
    broker = await Broker(drops=[4]).start()
    broker.on_subscribe = lambda: [(RPC, json.dumps(CALL).encode())]
    config = ThingsBoardUplink(
        broker=mqtt(broker), latency_ms=0, batch_records=5, allow_control=True
    )

    async def command(command: Command, by: str) -> CommandResult:
        await asyncio.sleep(1)
        return CommandResult(outcome="done", text="so it is")

    def has_all() -> int:
        told = [json.loads(data) for topic, data in broker.messages if topic == TELEMETRY]
        seen = [one["values"]["co2"] for batch in told for one in batch["hall"]]
        return contiguous({round(co2) // EVERY_S + 1 for co2 in seen})

    def is_answered() -> bool:
        return any(topic == RPC for topic, _ in broker.messages)

    async with exporting(folder, config, broker, has_all, is_answered, command=command) as actor:
        yield actor


@asynccontextmanager
async def homeassistant(folder: Path) -> AsyncIterator[Actor]:
    """Announcements and states, which are of use while they are fresh: all are of this hour."""
    broker = await Broker(drops=[4]).start()
    config = HomeAssistantUplink(broker=mqtt(broker), latency_ms=0, batch_records=5)
    first_s = 3600

    def has_all() -> int:
        told = [json.loads(data) for topic, data in broker.messages if topic.endswith("/state")]
        return contiguous({(round(one["co2"]) - first_s) // EVERY_S + 1 for one in told})

    async with exporting(folder, config, broker, has_all, first_s=first_s) as actor:
        yield actor


def _sl427(data: bytes) -> tuple[object, bytes, int] | None:
    """Take a frame; its key is the quantity and the time of the report."""
    if len(data) < 3 or len(data) < (size := data[1] + 5):
        return None
    inner = data[3 : size - 2]
    confirm = _frame(inner[0] & 0x7F, inner[1:6].hex(), inner[6], b"\0")
    return (inner[0] & 0xF, inner[-7:].hex()), confirm, size


@asynccontextmanager
async def sl427(folder: Path) -> AsyncIterator[Actor]:
    """Three minutes of two quantities to a centre of SL 427, whose confirmations have no number."""
    centre = await Platform(_sl427).start()
    report = (
        QuantityOfPoint(quantity="level", point="nothing"),
        QuantityOfPoint(quantity="speed", point="nothing"),
    )
    config = Sl427Uplink(
        host="127.0.0.1",
        port=centre.port,
        report_min=1,
        answer_ms=1000,
        latency_ms=0,
        station=(Sl427Device(device="hall", county="510100", number=13, report=report),),
    )
    # Before which record the minute begins that ends then, in Beijing.
    ends = {0: "00541609102500", 4: "00551609102500", 10: "00561609102500"}

    def has_all() -> int:
        lacks = (to for to, end in ends.items() if not {(2, end), (4, end)} <= centre.got)
        return min(lacks, default=SAMPLES)

    async with exporting(folder, config, centre, has_all) as actor:
        yield actor
