"""A gateway that is killed again and again loses no sample that a node on a link has pushed.

The node counts its samples itself. After the last kill the outbox must hold each of them once.
"""

import asyncio
import signal
import sys
from pathlib import Path

from gateway_agent.config import LinkBus
from gateway_agent.keys import generate_signing_key
from protocols.uplink import decode_record
from tests.unit.gateway_agent.link_node import Caller, LinkNode
from tests.unit.gateway_agent.slave import until
from tests.unit.gateway_agent.store_help import contents, open_box
from tests.unit.gateway_agent.test_link import device

KILLS = 3
SAMPLES_EACH = 60


async def _started(folder: Path, config: Path) -> asyncio.subprocess.Process:
    with (folder / "log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway_agent", "run", "--config", str(config), stderr=log
        )


async def _killed(folder: Path, config: Path, node: LinkNode, after: int) -> None:
    """Run the gateway until the node measured ``after`` samples more, in the midst of them."""
    process = await _started(folder, config)
    try:
        opened = node.opened
        await until(lambda: node.opened > opened)
        for _ in range(after):
            node.measure()
            await asyncio.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


async def test_no_sample_is_lost_when_the_gateway_is_killed(tmp_path: Path) -> None:
    node = LinkNode()
    server = await asyncio.get_running_loop().create_server(lambda: Caller(node), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = LinkBus(name="l", host="127.0.0.1", port=port, device=(device(tmp_path),))
    generate_signing_key(tmp_path / "g.pem")
    config = tmp_path / "g.toml"
    config.write_text(f"""
[gateway]
id = "gw-1"
state_dir = "state"
key = "g.pem"
[uplink]
host = "127.0.0.1"
port = 1
receipt = "puback"
[outbox]
commit_ms = 20
[[bus]]
name = "l"
type = "link"
host = "{link.host}"
port = {port}
[[bus.device]]
name = "air"
kind = "node"
role = "air"
uid = "{link.device[0].uid}"
key = "air.key"
""")
    rest = 0
    for _ in range(KILLS):
        await _killed(tmp_path, config, node, SAMPLES_EACH)
        rest += node.end.waiting(1)
    assert rest, "every frame was acknowledged: the kills hit nothing"
    process = await _started(tmp_path, config)
    try:
        await until(lambda: node.end.waiting(1) == 0)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    server.close()
    node.close()
    box = open_box(tmp_path / "state")
    records = [decode_record(data) for data in contents(box, 500)]
    box.close()
    numbers = [int.from_bytes(record.frame[8:12]) for record in records if record.frame is not None]
    gaps = [record.gap for record in records if record.gap is not None and record.gap.first]
    named = [n for gap in gaps for n in range(gap.first or 0, (gap.last or 0) + 1)]
    assert sorted(numbers + named) == list(range(1, node.seq + 1))
    assert len(named) == node.dropped
    assert numbers == sorted(numbers)
