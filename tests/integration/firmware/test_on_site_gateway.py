"""A technician beside a running gateway: every command of a visit through the agent that polls.

The node is a real one, the agent a process of its own. What became of the polls is read from the
node and from the outbox, not from the agent's word.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from gateway_agent.collector.database import open_readonly
from gateway_agent.keys import generate_signing_key
from gateway_agent.store.group_table import all_groups
from hil.site.ledger import DeviceLedger, ledgers_of_records
from hil.site.processes import GatewayProcess
from tests.integration.firmware.node_process import UID, NodeProcess
from tests.integration.firmware.test_on_site import SlowCable, key_file, run

POLL_MS = 250


@asynccontextmanager
async def gateway(
    folder: Path, port: str, key: Path, uplink: str = 'port = 9, receipt = "puback"', more: str = ""
) -> AsyncIterator[GatewayProcess]:
    generate_signing_key(folder / "gateway.key")
    config = folder / "gateway.toml"
    config.write_text(
        f"""
        gateway = {{ id = "site", state_dir = "state", key = "gateway.key" }}
        uplink = {{ host = "127.0.0.1", {uplink} }}
        {more}
        [[bus]]
        name = "mast"
        type = "rtu"
        port = "{port}"
        baudrate = 115200
        timeout_ms = 80
        [[bus.device]]
        name = "water"
        kind = "node"
        unit = 1
        role = "water"
        uid = "{UID.hex()}"
        key = "{key}"
        period_ms = {POLL_MS}
        """
    )
    process = GatewayProcess(config, folder / "state")
    try:
        await process.start()
        async with asyncio.timeout(30):
            while not (await asyncio.to_thread(process.status)).nodes:  # it does not poll yet
                await asyncio.sleep(0.05)
        yield process
    finally:
        await process.stop()


def ledger(folder: Path) -> DeviceLedger:
    """Return the oracle's account of the one node, from what is in the outbox's file."""
    with closing(open_readonly(folder / "state/outbox.db")) as database:
        groups = list(all_groups(database))
    found = ledgers_of_records(record.data for group in groups for record in group.records)
    return found["tf-" + UID.hex()]


@pytest.mark.timeout(120)
async def test_a_visit_through_the_gateway_costs_no_sample_without_a_name(tmp_path: Path) -> None:
    cable = SlowCable()
    key = key_file(tmp_path)
    fields = {"settings": {"sample_period_ds": 5}}
    try:
        with NodeProcess(tmp_path, cable.node_end, "water", **fields) as node:
            node.start()
            async with gateway(tmp_path, cable.master_end, key) as agent:
                port = f"gateway:{tmp_path}/state/mast"

                async def command(*words: object) -> str:
                    status, text = await asyncio.to_thread(run, *words)
                    assert status == 0, text
                    return text

                await command("blink", port, "--seconds", 5, "--key", key)
                assert node.line_with("blink") == {"blink": 5}
                found = json.loads(await command("commission", "find", port, "--json"))
                assert found == {"unit": 1, "uids": [UID.hex()]}
                look = json.loads(await command("probe", "--port", port, "--units", "1", "--json"))[
                    "looks"
                ][0]
                assert [each["uid"] for each in look["found"]] == [UID.hex()]
                # Away to another address and speed, and back, while the agent polls.
                away = ("commission", "address", port, "--key", key)
                await command(*away, "--to", 7, "--to-baud", 19200)
                there = ("show", port, "--unit", 7, "--baud", 19200, "--json")
                settings = json.loads(await command(*there))["settings"]
                assert (settings["unit_id"], settings["baud_div_100"]) == (7, 192)
                back = ("--unit", 7, "--baud", 19200, "--to", 1, "--to-baud", 115200)
                await command(*away, *back)
                lines = await command("monitor", 1, "--port", port, "--count", 2, "--json")
                epoch, last = map(int, json.loads(lines.splitlines()[-1])["sample"].split("/"))
                status, text = await asyncio.to_thread(run, "set", port, "sample_period_ds=6")
                assert status == 1
                assert "the node's key" in text  # it takes signed writes only, this way too
                counters = agent.status().counters
                enough = counters.records_recorded + 3
                async with asyncio.timeout(20):
                    while agent.status().counters.records_recorded < enough:
                        await asyncio.sleep(0.05)
                assert counters.site_requests > 20
                assert counters.site_refused == 0
                log = "\n".join(agent.lines)
    finally:
        cable.close()
    found = ledger(tmp_path)
    first = min(found.samples[epoch])
    assert set(found.missing(epoch, last)) <= set(range(1, first))  # of before the gateway's start
    assert found.doubled() == []
    assert max(found.samples[epoch]) >= last
    assert "writes to unit 1, register 0x0190" in log
    assert "reads unit 7" in log
