"""The JSON of ``tianfu-gateway status --json`` is an interface: names, order and shape stay."""

import asyncio
import json
import re
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest

from gateway_agent.agent import GatewayAgent
from gateway_agent.clock import GatewayClock, Wall
from gateway_agent.config import load
from gateway_agent.counters import Counters
from gateway_agent.status import to_json
from gateway_agent.status_socket import read_status
from gateway_agent.store.errors import StoreFull
from gateway_agent.store.outbox import Outbox

from .frames_of_nodes import KEY, KEY_ID, UID, air_frame
from .slave import TcpSlave, mbap, until
from .test_agent import stopped, write_site

DEVICES = f"""
[[bus.device]]
name = "air-1"
unit = 2
kind = "node"
role = "air"
uid = "{UID.hex()}"
key = "air.key"
period_ms = 86400000
[[bus.device]]
name = "silent"
unit = 3
kind = "profile"
profile = "senseair-s8"
period_ms = 86400000
"""


class StillClock(GatewayClock):
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self.ms = 1000

    def boot_ms(self) -> int:
        return self.ms

    @property
    def boot_id(self) -> bytes:
        return bytes(16)

    def wall(self) -> Wall:
        return Wall(None, 0, 0)


def answer(segment: bytes) -> Iterable[tuple[float, bytes]]:
    """Unit 1 holds 258 in its first register, unit 2 is an air node, unit 3 is silent."""
    tid, _, _, unit, function, _, count = struct.unpack(">HHHBBHH", segment)
    if unit == 3:
        return
    data = b"\x01\x02" if unit == 1 else air_frame(5, 1, 0)
    assert len(data) == 2 * count
    yield 0.0, mbap(tid, unit, bytes((function, len(data))) + data)


def make(folder: Path, port: int) -> tuple[GatewayAgent, StillClock]:
    path = write_site(folder, port)
    key = folder / "air.key"
    key.write_text(json.dumps({"key_id": KEY_ID, "key": KEY.hex()}), encoding="ascii")
    key.chmod(0o600)
    text = path.read_text().replace("period_ms = 10\n", "period_ms = 86400000\n") + DEVICES
    path.write_text(text.replace('name = "plant"\n', 'name = "plant"\ntimeout_ms = 200\n'))
    clock = StillClock()
    agent = GatewayAgent(load(path), clock, Counters())
    clock.ms += 250
    return agent, clock


# Taken from the output of the agent of version 0.1, before the status had types.
STARTING = (
    '{"gateway": "gw-1", "running_ms": 250, "nodes": [], "counters": {"polls": 0, '
    '"poll_errors": {}, "asked_again": 0, "node_tag_failures": 0, '
    '"replayed": 0, "repeats": 0, "late_replies": '
    '0, "foreign_answers": 0, "noise_bytes": 0, "skipped_slots": 0, "site_requests": 0, '
    '"site_refused": 0, "commands": {}, "orders_rejected": 0, "gaps": {}, '
    '"records_recorded": 0, "readings_recorded": 0, "commits": 0, "store_full": 0, '
    '"store_damaged": 0, "records_salvaged": 0, "streams_opened": 0, "connects": 0, '
    '"disconnects": 0, "packets_refused": 0, "batches_sent": 0, "batches_resent": 0, '
    '"pubacks": 0, "receipts": 0, "receipts_repeated": 0, "receipts_stale": 0, '
    '"receipts_behind": 0, '
    '"receipts_rejected": 0, "receipts_forked": 0, "records_delivered": 0, '
    '"readings_delivered": 0}}'
)
WAITING = (
    '{"gateway": "gw-1", "running_ms": 250, "nodes": [], "counters": {"polls": 0, '
    '"poll_errors": {}, "asked_again": 0, "node_tag_failures": 0, '
    '"replayed": 0, "repeats": 0, "late_replies": '
    '0, "foreign_answers": 0, "noise_bytes": 0, "skipped_slots": 0, "site_requests": 0, '
    '"site_refused": 0, "commands": {}, "orders_rejected": 0, "gaps": {}, '
    '"records_recorded": 0, "readings_recorded": 0, "commits": 0, "store_full": 0, '
    '"store_damaged": 0, "records_salvaged": 0, "streams_opened": 0, "connects": 0, '
    '"disconnects": 0, "packets_refused": 0, "batches_sent": 0, "batches_resent": 0, '
    '"pubacks": 0, "receipts": 0, "receipts_repeated": 0, "receipts_stale": 0, '
    '"receipts_behind": 0, '
    '"receipts_rejected": 0, "receipts_forked": 0, "records_delivered": 0, '
    '"readings_delivered": 0}, "waiting_for": "a repair needs room"}'
)
FULL = (
    '{"gateway": "gw-1", "running_ms": 1484, "nodes": [{"id": "gw-1.basin", "name": "basin", '
    '"bus": "plant", "unit": 1, "kind": "profile", "role": "probe", "auth": "none", "state": '
    '"ok", "values": [{"name": "level", "unit": "mm", "value": 258.0}], "age_ms": 1234, '
    '"polls": 1, "errors": 0, "skipped": 0, "problem": ""}, {"id": '
    '"tf-0123456789abcdef01234567", "name": "air-1", "bus": "plant", "unit": 2, "kind": '
    '"node", "role": "air", "auth": "ok", "state": "ok", "values": [{"name": "pm1_0", '
    '"unit": "ug/m3", "value": 11.0}, {"name": "pm2_5", "unit": "ug/m3", "value": 22.0}, '
    '{"name": "pm10", "unit": "ug/m3", "value": 33.0}, {"name": "particles_0_3", "unit": '
    '"count", "value": 444.0}, {"name": "co2", "unit": "ppm", "value": 555.0}, {"name": '
    '"temperature", "unit": "Cel", "value": -12.34}, {"name": "humidity", "unit": "%RH", '
    '"value": 56.78}], "age_ms": 1234, "polls": 1, "errors": 0, "skipped": 0, "problem": '
    '""}, {"id": "gw-1.silent", "name": "silent", "bus": "plant", "unit": 3, "kind": '
    '"profile", "role": "senseair-s8", "auth": "none", "state": "failing", "values": [], '
    '"age_ms": null, "polls": 1, "errors": 1, "skipped": 0, "problem": "unit 3: no answer '
    'within 200 ms", "cause": "bus_timeout"}], "counters": {"polls": 3, '
    '"poll_errors": {"bus_timeout": 1}, '
    '"asked_again": 0, "node_tag_failures": 0, "replayed": 0, "repeats": 0, "late_replies": 0, '
    '"foreign_answers": 0, "noise_bytes": 0, "skipped_slots": 0, "site_requests": 0, '
    '"site_refused": 0, "commands": {}, "orders_rejected": 0, "gaps": {}, '
    '"records_recorded": 2, "readings_recorded": 8, "commits": 1, "store_full": 0, '
    '"store_damaged": 0, "records_salvaged": 0, "streams_opened": 0, "connects": 0, '
    '"disconnects": 0, "packets_refused": 0, "batches_sent": 0, "batches_resent": 0, '
    '"pubacks": 0, "receipts": 0, "receipts_repeated": 0, "receipts_stale": 0, '
    '"receipts_behind": 0, '
    '"receipts_rejected": 0, "receipts_forked": 0, "records_delivered": 0, '
    '"readings_delivered": 0}, "reconciliation": {"unaccounted": 0, "sequence": 0, '
    '"schedule": 0, "receipts": 0, "archive": 0}, "outbox": {"stream": 0, '
    '"last": 2, "receipted_to": 0, '
    '"depth": 2, "file_bytes": 12288, "max_bytes": 1073741824, "full": "", "head": "00"}, '
    '"uplink": '
    '{"broker": "127.0.0.1:1", "connected": false, "problem": "[Errno 111] Connection '
    'refused", "receipt": "signed", "receipt_problem": "", "waiting_ms": 0, '
    '"receipt_ms": 0, "unheard": false}, "buses": [{"name": "plant", "share": 1, '
    '"predicted_share": 0.0, "cycle_ms": 1, "predicted_cycle_ms": 60.0, "bytes_per_s": 1, '
    '"line_share": 0.0, "errors": {"bus_timeout": 1}}]}'
)


def settle(text: str) -> str:
    """Put a fixed value where a run has one of its own; texts for people may change."""
    text = re.sub(r'"(stream|commits|file_bytes)": \d+', r'"\1": 1', text)
    text = re.sub(r'"(share|cycle_ms|bytes_per_s)": [0-9.]+', r'"\1": 1', text)
    text = re.sub(r'"head": "[0-9a-f]{64}"', '"head": "00"', text)
    return re.sub(r'"problem": "[^"]+"', '"problem": "text"', text)


def test_an_agent_that_starts(tmp_path: Path) -> None:
    agent, _ = make(tmp_path, 1)
    assert to_json(agent.snapshot()) == STARTING


async def test_an_agent_that_waits_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_room(*_: object) -> Outbox:
        raise StoreFull("a repair needs room")

    monkeypatch.setattr(Outbox, "open", without_room)
    agent, _ = make(tmp_path, 1)
    task = asyncio.create_task(agent.run())
    await until(lambda: agent.snapshot().waiting_for)
    text = to_json(agent.snapshot())
    await stopped(agent, task)
    assert text == WAITING


async def test_an_agent_with_devices_of_every_kind(tmp_path: Path) -> None:
    slave = await TcpSlave(answer).start()
    agent, clock = make(tmp_path, slave.port)
    task = asyncio.create_task(agent.run())

    def settled() -> bool:
        status = agent.snapshot()
        states = [device.state for device in status.nodes]
        refused = status.uplink is not None and "refused" in status.uplink.problem
        recorded = status.outbox is not None and status.outbox.last == 2
        return refused and recorded and states == ["ok", "ok", "failing"]

    await until(settled)
    clock.ms += 1234
    here = to_json(agent.snapshot())
    there = to_json(await asyncio.to_thread(read_status, tmp_path / "state"))
    await stopped(agent, task)
    await slave.close()
    # A commit may fall between the two.
    assert settle(here) == settle(there) == settle(FULL)
