"""Commands through a running gateway to a real node: what the node has, and what the stream names.

The agent is a process of its own, which polls meanwhile. What was recorded is read from the
outbox's file, and what the node has from its own store.
"""

import asyncio
import getpass
import json
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from boards.errors import BoardError
from boards.node_line import NodeLine
from boards.node_port import open_node_port
from gateway_agent.cli import app
from gateway_agent.collector.database import open_readonly
from gateway_agent.commands import send_order
from gateway_agent.keys import generate_signing_key
from gateway_agent.store.group_table import all_groups
from hil.site.mosquitto import MosquittoBroker
from protocols.modbus_client import write_request
from protocols.uplink import decode_record
from protocols.uplink.record_types import Action
from tests.integration.firmware.node_process import NodeProcess
from tests.integration.firmware.test_on_site import SlowCable, key_file
from tests.integration.firmware.test_on_site import run as tool
from tests.integration.firmware.test_on_site_gateway import POLL_MS, gateway

USER = getpass.getuser()


def command(folder: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*words, "--config", str(folder / "gateway.toml")])
    return result.exit_code, result.output.strip()


def actions(folder: Path) -> list[Action]:
    with closing(open_readonly(folder / "state/outbox.db")) as database:
        groups = list(all_groups(database))
    found = (decode_record(record.data).action for group in groups for record in group.records)
    return [action for action in found if action is not None]


def operator(folder: Path, broker: MosquittoBroker, name: str) -> Path:
    """Make an operator's key and file."""
    generate_signing_key(folder / f"{name}.pem")
    file = folder / f"{name}.toml"
    file.write_text(
        f"""
        gateway = "site"
        gateway_key = "gateway.key.pub"
        key = "{name}.pem"
        broker = {{ host = "127.0.0.1", port = {broker.port} }}
        """
    )
    return file


@pytest.mark.timeout(60)
async def test_a_setting_changes_by_name_and_unit_and_the_stream_names_who(tmp_path: Path) -> None:
    cable = SlowCable()
    key = key_file(tmp_path)
    try:
        with NodeProcess(tmp_path, cable.node_end, "water") as node:
            node.start()
            async with gateway(tmp_path, cable.master_end, key) as agent:

                async def told(*words: str) -> tuple[int, str]:
                    return await asyncio.to_thread(command, tmp_path, *words)

                assert await told("get", "mast/water", "sample_period") == (0, "0.2 s")
                state = ("get", "water", "sample_period", "-c", str(tmp_path / "state"))
                shown = await asyncio.to_thread(CliRunner().invoke, app, state)
                assert (shown.exit_code, shown.output.strip()) == (0, "0.2 s")
                changed = await told("set", "water", "sample_period", "500", "ms")
                assert changed == (0, "sample_period: 0.2 s -> 0.5 s")
                status, text = await told("get", "water", "--json")
                found = {one["name"]: one["value"] for one in json.loads(text)["values"]}
                assert (status, found["sample_period"], found["baud"]) == (0, 0.5, 115200)
                refused = (
                    ("set", "water", "sample_period", "2", "h"),
                    ("set", "water", "sample_period", "0.25", "s"),
                    ("set", "water", "sample_period", "5", "Bd"),
                    ("set", "water", "period", "5"),
                    ("set", "water", "unit_id", "9"),
                    ("restart", "air"),
                )
                texts = [await told(*words) for words in refused]
                assert [status for status, _ in texts] == [1] * len(refused)
                assert "expected 0.1 s to 3600 s, got 2 h" in texts[0][1]
                assert "expected a multiple of 0.1 s" in texts[1][1]
                assert "expected a value in ms, s, min, h" in texts[2][1]
                assert "expected a setting of a node: unit_id, baud, sample_period" in texts[3][1]
                assert "--confirm" in texts[4][1]
                assert "'air' is no device of this gateway" in texts[5][1]
                assert await told("restart", "water") == (0, "the node restarts")
                assert node.line_with("role")["role"] == "water"
                # Past the desk, through the socket of tools: signed, and then plain.
                bus = f"gateway:{tmp_path}/state/mast"
                status, text = await asyncio.to_thread(
                    tool, "set", bus, "sample_period_ds=4", "--key", key
                )
                assert (status, text) == (0, "sample_period_ds: 5 -> 4\n")
                port = open_node_port(bus, 115200, lambda _sent, _data: None)
                with pytest.raises(BoardError, match="a plain write of register 0x0002"):
                    await asyncio.to_thread(port.exchange, write_request(1, 2, [7]), 5.0)
                counters = agent.status().counters
                assert counters.commands == {"done": 6, "refused": 7}
                assert counters.site_refused == 1
            # It has the setting after its restart, and the plain way has stayed closed.
            with NodeLine(cable.master_end, 1, 115200) as line:
                assert line.settings()[2] == 4
                assert line.write_state().refused == 0  # the plain one has not come so far
                assert line.write_state().commissioned
    finally:
        cable.close()
    found_actions = [one for one in actions(tmp_path) if one.name.startswith("command-")]
    assert {one.operator for one in found_actions} == {USER}
    named = [(one.name, one.detail) for one in found_actions]
    taken = ("command-taken", "set water sample_period 500 ms")
    done = (
        "command-done",
        "set water sample_period 500 ms: sample_period: 0.2 s -> 0.5 s",
    )
    assert named[2:4] == [taken, done]
    kinds = [name for name, _ in named]
    assert kinds.count("command-refused") == 7
    assert kinds.count("command-taken") == 2
    assert kinds.count("command-done") == 6
    details = [detail for _, detail in named]
    assert "unit 1 of bus mast: a signed write of register 0x0002" in details
    assert any("unit 1 of bus mast: a plain write: " in detail for detail in details)


@pytest.mark.mosquitto
@pytest.mark.timeout(60)
async def test_a_signed_order_acts_once_also_if_the_gateway_is_killed_in_it(
    tmp_path: Path, broker: MosquittoBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_order, "AGAIN_S", 0.3)
    cable = SlowCable()
    key = key_file(tmp_path)
    ana, mallory = (operator(tmp_path, broker, name) for name in ("ana", "mallory"))
    # No receipt comes: all records stay in the outbox.
    uplink = f'port = {broker.port}, collector_key = "ana.pem.pub"'
    allowed = 'orders = { keys = ["ana.pem.pub"] }'

    def order(*words: str, file: Path = ana) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["order", *words, "--config", str(file)])
        return done.exit_code, done.output.strip()

    try:
        with NodeProcess(tmp_path, cable.node_end, "water") as node:
            node.start()
            async with gateway(tmp_path, cable.master_end, key, uplink, allowed) as agent:

                async def told(*words: str, file: Path = ana) -> tuple[int, str]:
                    return await asyncio.to_thread(order, *words, file=file)

                changed = await told("set", "water", "sample_period", "0.6", "s")
                assert changed == (0, "sample_period: 0.2 s -> 0.6 s")
                assert await told("get", "water", "sample_period") == (0, "0.6 s")
                status, text = await told(
                    "set", "water", "sample_period", "1", "s", "--wait", "1", file=mallory
                )
                assert (status, "no reply of site within 1 s" in text) == (1, True)
                assert agent.status().counters.orders_rejected >= 1
                text = (tmp_path / "gateway.toml").read_text()
                new = tmp_path / "new.toml"
                new.write_text(text.replace(f"period_ms = {POLL_MS}", "period_ms = 500"))
                status, changed_text = await told("configure", str(new))
                assert status == 0, changed_text
                assert f"period_ms: {POLL_MS} -> 500; on probation for " in changed_text
                new.write_text(text.replace('keys = ["ana', 'keys = ["mallory'))
                status, refusal = await told("configure", str(new))
                assert (status, "orders" in refusal) == (1, True)
                file = str(tmp_path / "kill.order")
                words = ("set", "water", "sample_period", "0.8", "s")
                assert (await told(*words, "--out", file))[0] == 0
                # Killed when the order has been taken, and before its reply.
                before = (tmp_path / "state/orders.json").read_bytes()
                sending = asyncio.create_task(told("send", file, "--wait", "30"))
                async with asyncio.timeout(20):
                    while (tmp_path / "state/orders.json").read_bytes() == before:
                        await asyncio.sleep(0.001)
                await agent.kill()
                with NodeLine(cable.master_end, 1, 115200) as line:
                    number = line.write_state().counter.number
                    period = line.settings()[2]
                await agent.start()
                status, text = await sending
                assert status == 1
                assert "it was taken already" in text
                assert agent.status().counters.commands == {}
                await agent.kill()  # a clean stop would wait for receipts
            with NodeLine(cable.master_end, 1, 115200) as line:
                # Whatever was under way when it was killed, nothing came after it.
                assert (line.write_state().counter.number, line.settings()[2]) == (number, period)
                assert period in (6, 8)
    finally:
        cable.close()
    found = actions(tmp_path)
    by_ana = [one for one in found if one.operator.startswith("ana, order ")]
    assert [one.name for one in by_ana][:3] == ["command-taken", "command-done", "command-done"]
    rejected = [one.detail for one in found if one.name == "order-rejected"]
    assert "expected a key of [orders] keys" in rejected[0]
