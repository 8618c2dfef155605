"""The baseline, as a user writes it in an afternoon: poll with pymodbus, publish JSON over MQTT.

No store, no signature, nothing survives an outage.
``python -m tests.bench.naive SECONDS REGISTERS MQTT_PORT MODBUS_PORT...`` prints readings/s.
"""

import asyncio
import json
import sys
import time

import aiomqtt
from pymodbus.client import AsyncModbusTcpClient


async def poll(port: int, registers: int, deadline: float, mqtt: aiomqtt.Client) -> int:
    """Return how many readings one server gave until ``deadline`` (``time.monotonic`` seconds)."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    done = 0
    while time.monotonic() < deadline:
        answer = await client.read_holding_registers(0, count=registers, device_id=1)
        message = {"ts": time.time(), "values": answer.registers}
        await mqtt.publish(f"naive/{port}", json.dumps(message), qos=0)
        done += registers
    client.close()
    return done


async def main(seconds: float, registers: int, mqtt_port: int, ports: list[int]) -> None:
    """Poll all servers at once and print the rate."""
    async with aiomqtt.Client("127.0.0.1", mqtt_port) as mqtt:
        start = time.monotonic()
        counts = await asyncio.gather(
            *(poll(port, registers, start + seconds, mqtt) for port in ports)
        )
        print(sum(counts) / (time.monotonic() - start))


if __name__ == "__main__":
    asyncio.run(
        main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), [int(p) for p in sys.argv[4:]])
    )
