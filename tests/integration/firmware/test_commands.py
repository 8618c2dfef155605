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

from boards.node_line import NodeLine
from gateway_agent.cli import app
from gateway_agent.collector.database import open_readonly
from gateway_agent.store.group_table import all_groups
from protocols.uplink import decode_record
from protocols.uplink.record_types import Action
from tests.integration.firmware.node_process import NodeProcess
from tests.integration.firmware.test_on_site import SlowCable, key_file
from tests.integration.firmware.test_on_site_gateway import gateway

USER = getpass.getuser()


def command(folder: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*words, "--config", str(folder / "gateway.toml")])
    return result.exit_code, result.output.strip()


def actions(folder: Path) -> list[Action]:
    with closing(open_readonly(folder / "state/outbox.db")) as database:
        groups = list(all_groups(database))
    found = (decode_record(record.data).action for group in groups for record in group.records)
    return [action for action in found if action is not None]


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
                assert "'air' is no device on a bus" in texts[5][1]
                assert await told("restart", "water") == (0, "the node restarts")
                assert node.line_with("role")["role"] == "water"
                counters = agent.status().counters
                assert counters.commands == {"done": 4, "refused": 6}
            # It has the setting after its restart, and the plain way has stayed closed.
            with NodeLine(cable.master_end, 1, 115200) as line:
                assert line.settings()[2] == 5
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
    assert named[1:3] == [taken, done]
    kinds = [name for name, _ in named]
    assert kinds.count("command-refused") == 6
    assert kinds.count("command-taken") == 2
    assert kinds.count("command-done") == 4
