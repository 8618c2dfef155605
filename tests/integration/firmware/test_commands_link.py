"""Commands to a real node on a link of its own: signed as on a bus, through its session."""

from pathlib import Path

import msgspec

from gateway_agent.commands.command import Command
from gateway_agent.commands.desk import CommandDesk
from gateway_agent.config import LinkBus
from gateway_agent.counters import Counters
from hil.engines.unix import HEAP_BYTES
from tests.integration.firmware.node_process import KEY, UID, Cable, NodeProcess
from tests.unit.gateway_agent.slave import until
from tests.unit.gateway_agent.store_help import StillClock
from tests.unit.gateway_agent.test_link import device, running
from tests.unit.gateway_agent.test_poller import Memory


async def test_a_node_on_a_link_takes_what_its_own_key_has_signed(tmp_path: Path) -> None:
    bus, cable = Cable(), Cable()
    sink, desk = Memory(), CommandDesk("g", StillClock(), Counters())
    found = device(tmp_path, uid=UID, key=KEY)
    (tmp_path / "air.key").write_text(f'{{"key_id": 5, "key": "{KEY.hex()}"}}')
    link = LinkBus(name="l", port=cable.master_end, baudrate=115200, device=(found,))
    try:
        with NodeProcess(tmp_path, bus.node_end, link=cable.node_end) as node:
            node.heap_bytes = HEAP_BYTES
            node.start()
            async with running(tmp_path, sink, link) as gateway:
                desk.open(gateway.field)
                await until(gateway.has_session)

                async def told(action: str, point: str = "", value: str = "") -> tuple[str, str]:
                    fields = {"action": action, "device": "l/air", "point": point, "value": value}
                    result = await desk.run(msgspec.convert(fields, Command), "ana")
                    return result.outcome, result.text

                changed = await told("set", "sample_period", "0.3 s")
                assert changed == ("done", "sample_period: 0.2 s -> 0.3 s")
                outcome, text = await told("set", "sample_period", "2 h")
                assert (outcome, "expected 0.1 s to 3600 s" in text) == ("refused", True)
                outcome, text = await told("snapshot")  # an air node takes no pictures
                assert (outcome, "the node has none" in text) == ("refused", True)
                assert await told("restart") == ("done", "the node restarts")
                assert node.line_with("role")["role"] == "air"
                await until(gateway.has_session)
                values = await desk.run(Command(action="get", device="air"), "ana")
                period = {one.name: one.value for one in values.values}["sample_period"]
                assert period == 0.3
    finally:
        bus.close()
        cable.close()
    names = [one.action.name for one in sink.records if one.action is not None]
    assert names.count("command-taken") == 2
    assert names.count("command-done") == 3
    assert names.count("command-refused") == 2
