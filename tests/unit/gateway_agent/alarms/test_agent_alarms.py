"""A running agent with a real device: its alarms are in status, on the socket and in the stream."""

import asyncio
import getpass
from collections.abc import Iterable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway_agent.agent import GatewayAgent
from gateway_agent.alarms.socket import AlarmOrder, send_alarm_order
from gateway_agent.alarms.watch import AlarmError
from gateway_agent.cli import app
from gateway_agent.clock import SystemClock
from gateway_agent.config import load
from gateway_agent.counters import Counters
from gateway_agent.status_socket import read_status
from gateway_agent.tables import ConfigError
from protocols.uplink import decode_record
from tests.unit.gateway_agent.slave import TcpSlave, until
from tests.unit.gateway_agent.store_help import contents, open_box
from tests.unit.gateway_agent.test_agent import answer, write_site

# The device gives 0x0102 = 258 mm.
ALARMS = """
[[alarm]]
name = "river-high"
when = "above"
device = "basin"
point = "level"
limit = 250
severity = "urgent"
text = "call the bureau"
[[alarm]]
name = "river-low"
when = "below"
device = "basin"
point = "level"
limit = 100
[[alarm]]
name = "medium"
when = "gauge"
gauge = "disk_free_mib"
above = 0
[[alarm]]
name = "line"
when = "bus-busy"
bus = "plant"
above = 0.000001
window_s = 1
"""


async def test_from_the_value_to_the_stream(tmp_path: Path) -> None:
    slave = await TcpSlave(answer).start()
    path, state = write_site(tmp_path, slave.port), tmp_path / "state"
    path.write_text(path.read_text() + ALARMS)
    agent = GatewayAgent(load(path), SystemClock(), Counters())
    run = asyncio.create_task(agent.run())
    await until(lambda: len(agent.snapshot().alarm_summary) == 3)
    first, second, third = (await asyncio.to_thread(read_status, state)).alarm_summary
    assert (first.name, first.state, first.about) == ("river-high", "unacknowledged", "basin")
    assert (second.name, second.about, second.severity) == ("medium", "gateway", "warning")
    assert (third.name, third.about) == ("line", "bus plant")
    shown = await asyncio.to_thread(CliRunner().invoke, app, ["alarms", "--config", str(path)])
    assert shown.exit_code == 1
    assert "river-high" in shown.output
    assert "call the bureau" in shown.output
    order = AlarmOrder("acknowledge", "river-high", "ann")
    assert await asyncio.to_thread(send_alarm_order, state, order) == 1
    wrong = AlarmOrder("shelve", "no-such", "ann", 1000)
    with pytest.raises(AlarmError, match="one of the alarms"):
        await asyncio.to_thread(send_alarm_order, state, wrong)
    # A name that no record can hold changes nothing: what is done and not recorded would be lost.
    nameless = AlarmOrder("acknowledge", "medium", "x" * 65)
    with pytest.raises(AlarmError, match="length <= 64"):
        await asyncio.to_thread(send_alarm_order, state, nameless)
    assert "unacknowledged" in [one.state for one in agent.snapshot().alarm_summary]
    agent.request_stop()
    await run
    await slave.close()
    box = open_box(state)
    found = [decode_record(record) for record in contents(box, 500)]
    box.close()
    actions = [
        (item.device_id, item.action.name, item.action.operator)
        for item in found
        if item.action is not None
    ]
    assert sorted(actions) == [
        ("gw-1", "alarm-active", ""),
        ("gw-1", "alarm-active", ""),
        ("gw-1.basin", "alarm-acknowledged", f"{getpass.getuser()} (ann)"),
        ("gw-1.basin", "alarm-active", ""),
    ]


SILENT = """
[[alarm]]
name = "basin-silent"
when = "silent"
device = "basin"
for_s = 1
"""


async def test_silence_that_is_expected_is_the_operators_gap_and_no_alarm(tmp_path: Path) -> None:
    is_away = False

    def reply(segment: bytes) -> Iterable[tuple[float, bytes]]:
        return () if is_away else answer(segment)

    slave = await TcpSlave(reply).start()
    path, state = write_site(tmp_path, slave.port), tmp_path / "state"
    text = path.read_text().replace("period_ms = 10\n", "period_ms = 20\ntimeout_ms = 50\n")
    path.write_text(text + SILENT)
    agent = GatewayAgent(load(path), SystemClock(), Counters())
    run = asyncio.create_task(agent.run())
    await until(lambda: agent.snapshot().nodes and agent.snapshot().nodes[0].state == "ok")

    async def order(name: str, for_ms: int) -> int:
        given = AlarmOrder("maintain", name, "ann", for_ms)
        return await asyncio.to_thread(send_alarm_order, state, given)

    with pytest.raises(AlarmError, match="the name of a device was expected, got 'bassin'"):
        await order("bassin", 1000)
    with pytest.raises(AlarmError, match="0 to 168 hours"):
        await order("basin", 8 * 86_400_000)
    assert await order("basin", 3_600_000) == 1
    is_away = True
    await until(lambda: (agent.snapshot().nodes[0].age_ms or 0) > 1500)
    (work,) = agent.snapshot().alarm_summary
    assert (work.state, work.about) == ("out-of-service", "basin")
    is_away = False
    await until(lambda: (agent.snapshot().nodes[0].age_ms or 9999) < 500)
    assert await order("basin", 0) == 1
    assert await order("basin", 0) == 0
    assert agent.snapshot().alarm_summary == []
    is_away = True  # now nobody expects it
    await until(lambda: [one.name for one in agent.snapshot().alarm_summary] == ["basin-silent"])
    agent.request_stop()
    await run
    await slave.close()
    box = open_box(state)
    found = [decode_record(record) for record in contents(box, 2000)]
    box.close()
    gaps = [(item.gap.cause, item.gap.slots) for item in found if item.gap is not None]
    slots = {cause: sum(slots or 0 for name, slots in gaps if name == cause) for cause, _ in gaps}
    assert slots["operator"] > 1
    assert slots["bus_timeout"] > 1
    actions = [item.action.name for item in found if item.action is not None]
    assert actions[:2] == ["maintenance", "maintenance-over"]
    (gap, *_) = [item.gap for item in found if item.gap and item.gap.cause == "operator"]
    assert "(ann) works on it" in gap.detail


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            'when = "above"\ndevice = "bassin"\npoint = "level"\nlimit = 1',
            'expected the name of a device of this file, got "bassin"; write one of basin',
        ),
        ('when = "gauge"\ngauge = "disk_free_mib"', "alarm[1].above: expected above or below, got"),
        ('when = "silent"\ndevice = "basin"\nfor_s = 0', "expected seconds from 1 to 2592000"),
        (
            'when = "bus-busy"\nbus = "plan"\nabove = 0.9',
            'expected the name of a polled bus, got "plan"; write one of plant',
        ),
        ('when = "loud"', "alarm[1].when: expected"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_with_what_to_write(
    tmp_path: Path, rule: str, expected: str
) -> None:
    path = write_site(tmp_path, 1)
    good = '[[alarm]]\nname = "one"\nwhen = "silent"\ndevice = "basin"\nfor_s = 9\n'
    path.write_text(f'{path.read_text()}{good}[[alarm]]\nname = "two"\n{rule}\n')
    with pytest.raises(ConfigError) as caught:
        load(path)
    problem, *_ = caught.value.problems
    assert expected in str(problem)
