"""A technician's visit to a board: its line changes speed while it runs, its light blinks."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from boards.node_line import NodeLine, NodeLineError
from boards.provision import node_key
from boards.site.find import nodes_at, order
from boards.site.move import Berth, move
from hil.engines.abilities import KeepsWrites
from hil.testing.fixtures import MakeBench
from protocols.wire.site import BLINK

pytestmark = pytest.mark.asyncio


@pytest.mark.timeout(120)
async def test_a_node_is_moved_while_it_runs_and_blinks(
    make_bench: MakeBench, tmp_path: Path
) -> None:
    bench = await make_bench(("air",))
    board = bench.nodes["air"]
    path = tmp_path / "key.json"
    path.touch(0o600)
    path.write_text(json.dumps({"key_id": board.spec.key_id, "key": board.spec.key}))
    key = node_key(path)

    def work() -> None:
        here, there = Berth(1, bench.baud), Berth(9, 2 * bench.baud)
        at = there
        if isinstance(board, KeepsWrites):
            assert move(bench.port, here, there, key, trial_s=30).hex() == board.spec.uid
        else:  # a flash that takes nothing: the node serves there, and comes back by itself
            with pytest.raises(NodeLineError, match="store-volatile"):
                move(bench.port, here, there, key, trial_s=4)
            at = here
        with NodeLine(bench.port, at.unit, at.baud) as line:
            end = time.monotonic() + 60
            while not (nodes := nodes_at(line)):
                assert time.monotonic() < end, f"no node at {at}"
            order(line, nodes[0], BLINK, [2], key)

    await asyncio.to_thread(work)
    for seconds in (2, 0):
        assert (await board.console.wait_json("blink", 20))["blink"] == seconds
