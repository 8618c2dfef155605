"""What an operator sees of ``tianfu-gateway update``, against an agent's sockets."""

import asyncio
from pathlib import Path

from typer.testing import CliRunner, Result

from gateway_agent.cli import app
from gateway_agent.cli.status import render
from gateway_agent.counters import Counters
from gateway_agent.keys import generate_signing_key
from gateway_agent.status import NodeUpdateStatus, RolloutStatus, Status, to_json
from gateway_agent.status_socket import serve_status
from gateway_agent.update.image import UpdateError
from gateway_agent.update.order_socket import UpdateOrder, serve_orders

CONFIG = """
[gateway]
id = "g"
state_dir = "."
key = "g.pem"
[uplink]
host = "127.0.0.1"
receipt = "puback"
[[bus]]
name = "b"
type = "rtu"
port = "/dev/b"
[[bus.device]]
name = "d"
kind = "profile"
profile = "senseair-s8"
unit = 1
"""


class Agent:
    """Takes orders; each look at its status shows the next of ``shown``, at last the same."""

    def __init__(self, *shown: RolloutStatus | None) -> None:
        self.shown = list(shown)
        self.orders: list[tuple[UpdateOrder, bytes]] = []

    def obey(self, order: UpdateOrder, image: bytes) -> int:
        self.orders.append((order, image))
        if order.target == "nobody":
            raise UpdateError("nobody is no node")
        return 2

    def status(self) -> Status:
        update = self.shown.pop(0) if len(self.shown) > 1 else self.shown[0]
        return Status(gateway="g", running_ms=1, nodes=[], counters=Counters(), update=update)


def at(phase: str, ended: str = "", problem: str = "") -> RolloutStatus:
    node = NodeUpdateStatus(name="n1", phase=phase, blocks=4, missing=1, problem=problem)
    return RolloutStatus(version=7, nodes=[node], ended=ended, hindrance="no pause")


async def command(folder: Path, agent: Agent, *words: str) -> Result:
    (folder / "gateway.toml").write_text(CONFIG)
    if not (folder / "g.pem").exists():
        generate_signing_key(folder / "g.pem")
        (folder / "node.tfu").write_bytes(b"an image")
    more = ["-c", str(folder / "gateway.toml")]
    async with (
        serve_status(folder, lambda: [to_json(agent.status())]),
        serve_orders(folder, agent.obey),
    ):
        return await asyncio.to_thread(CliRunner().invoke, app, ["update", *words, *more])


async def test_it_sends_the_image_and_follows_it_to_the_end(tmp_path: Path) -> None:
    agent = Agent(at("receiving"), at("done", "done"))
    image = str(tmp_path / "node.tfu")
    done = await command(tmp_path, agent, "water", "--image", image, "--canary", "2")
    assert done.exit_code == 0, done.output
    assert "n1: done" in done.output
    ((order, data),) = agent.orders
    assert (order.target, order.canary, order.group, data) == ("water", 2, 8, b"an image")
    as_json = await command(tmp_path, agent, "water", "--image", image, "--json")
    assert '"version": 7' in as_json.output


async def test_a_failure_is_the_exit_status_and_names_the_node(tmp_path: Path) -> None:
    agent = Agent(at("failed", "stopped: n1 failed; 3 nodes were not begun", "wrong-class"))
    done = await command(tmp_path, agent, "all", "--image", str(tmp_path / "node.tfu"))
    assert done.exit_code == 1
    assert "n1: failed: wrong-class" in done.output


async def test_what_cannot_be_ordered_is_refused_with_its_cause(tmp_path: Path) -> None:
    agent = Agent(None)
    image = str(tmp_path / "node.tfu")
    refused = await command(tmp_path, agent, "nobody", "--image", image)
    assert refused.exit_code == 1
    gone = await command(tmp_path, agent, "all", "--image", image)
    assert gone.exit_code == 1
    assert (await command(tmp_path, agent, "all")).exit_code == 1
    assert (await command(tmp_path, agent, "all", "--image", "nothing.tfu")).exit_code == 1
    (tmp_path / "long.tfu").write_bytes(bytes(140_000))
    long = await command(tmp_path, agent, "all", "--image", str(tmp_path / "long.tfu"))
    assert long.exit_code == 1
    ended = await command(tmp_path, agent, "--cancel")
    assert ended.exit_code == 0
    assert agent.orders[-1][0].cancel


def test_the_status_shows_how_far_each_node_is() -> None:
    lines = [str(line) for line in render(Agent(at("receiving")).status()).lines]
    assert "update of nodes to version 7: under way" in lines
    assert "  n1 receiving, 3 of 4 blocks" in lines
    assert "  waits: no pause" in lines
