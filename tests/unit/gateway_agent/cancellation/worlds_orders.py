"""Signed orders: the desk that takes them, with a command that takes its time."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from gateway_agent.commands.command import Command, CommandResult
from gateway_agent.commands.counters import FILE_NAME, OrderCounters
from gateway_agent.commands.orders import OrderDesk
from gateway_agent.counters import Counters
from protocols.uplink import sign_order
from tests.unit.gateway_agent.commands.test_orders import ANA, KID, OPERATORS, OWN, SET
from tests.unit.gateway_agent.store_help import GATEWAY, StillClock

from .peers import ANSWER_S
from .worlds import Actor

ORDERS = 3


@asynccontextmanager
async def orders(folder: Path) -> AsyncIterator[Actor]:
    """Three orders and a message that is none; what has begun is on the medium."""
    begun: list[str] = []

    async def run(command: Command, by: str) -> CommandResult:
        begun.append(by.rpartition(" ")[2])
        await asyncio.sleep(ANSWER_S)
        if len(begun) == ORDERS:
            actor.finish()
        return CommandResult(outcome="done", text="")

    clock = StillClock()
    desk = OrderDesk(
        GATEWAY, OPERATORS, OWN, OrderCounters(folder, clock), clock, Counters(), run,
        lambda _, action: None,
    )  # fmt: skip
    for number in range(ORDERS):
        desk.take(sign_order(replace(SET, counter=SET.counter + number), ANA))
        desk.take(b"no order")

    def check() -> None:
        if begun:  # another one may have been taken, and not begun
            last = json.loads((folder / FILE_NAME).read_text())["last"]
            assert last[KID.hex()] >= int(begun[-1])

    actor = Actor(desk.run)
    actor.checks.append(check)
    yield actor
