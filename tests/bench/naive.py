"""The baseline, as a user writes it in an afternoon: poll with pymodbus, JSON over MQTT, SQLite.

QoS 1, no receipt, no signature, no store before the database: what a broker or a process loses is
lost without a trace. The subscriber commits once in a second, as one does who has seen that a
commit for each message is slow.

``python -m tests.bench.naive poll MQTT_PORT REGISTERS UNITS PERIOD_MS MODBUS_PORT...``
``python -m tests.bench.naive store MQTT_PORT DATABASE``; both run until SIGTERM.
"""

import asyncio
import json
import sqlite3
import sys
import time

import aiomqtt
from pymodbus.client import AsyncModbusTcpClient


async def poll_bus(
    name: str, port: int, registers: int, units: int, period_s: float, mqtt: aiomqtt.Client
) -> None:
    """Read every unit of one server once in a period, or without a pause if that is too short."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    due = time.monotonic()
    while True:
        for unit in range(1, units + 1):
            answer = await client.read_holding_registers(0, count=registers, device_id=unit)
            message = {"ts": time.time(), "values": answer.registers}
            await mqtt.publish(f"naive/{name}/{unit}", json.dumps(message), qos=1)
        due = max(due + period_s, time.monotonic())
        await asyncio.sleep(due - time.monotonic())


async def poll(
    mqtt_port: int, registers: int, units: int, period_ms: int, ports: list[int]
) -> None:
    """Poll all servers at once."""
    async with aiomqtt.Client("127.0.0.1", mqtt_port) as mqtt, asyncio.TaskGroup() as group:
        for bus, port in enumerate(ports):
            group.create_task(
                poll_bus(f"b{bus}", port, registers, units, period_ms / 1000, mqtt)
            )  # fmt: skip


async def store(mqtt_port: int, database: str) -> None:
    """Write one row for each reading."""
    connection = sqlite3.connect(database)
    connection.execute(
        "CREATE TABLE readings (ts REAL, device TEXT, register INTEGER, value INTEGER)"
    )
    connection.commit()
    committed = time.monotonic()
    async with aiomqtt.Client("127.0.0.1", mqtt_port) as mqtt:
        await mqtt.subscribe("naive/#", qos=1)
        async for message in mqtt.messages:
            assert isinstance(message.payload, bytes)
            content = json.loads(message.payload)
            device = message.topic.value.removeprefix("naive/")
            connection.executemany(
                "INSERT INTO readings VALUES (?, ?, ?, ?)",
                [
                    (content["ts"], device, register, value)
                    for register, value in enumerate(content["values"])
                ],
            )
            if time.monotonic() - committed >= 1:
                connection.commit()
                committed = time.monotonic()


if __name__ == "__main__":
    if sys.argv[1] == "store":
        asyncio.run(store(int(sys.argv[2]), sys.argv[3]))
    else:
        _mqtt, _registers, _units, _period, *_ports = map(int, sys.argv[2:])
        asyncio.run(poll(_mqtt, _registers, _units, _period, _ports))
