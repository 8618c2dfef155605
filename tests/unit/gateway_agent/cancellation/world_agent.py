"""The whole gateway in one process: device, outbox, uplink, status, and what holds them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway_agent import agent as agent_module
from gateway_agent.agent import GatewayAgent
from gateway_agent.config import load
from gateway_agent.counters import Counters
from gateway_agent.keys import load_private
from gateway_agent.status_socket import SOCKET_NAME
from gateway_agent.store.errors import StoreFull
from gateway_agent.store.lock import LOCK_NAME, Lock
from gateway_agent.store.mark import Mark
from gateway_agent.store.outbox import Outbox
from protocols.uplink import Record
from tests.unit.gateway_agent.test_agent import write_site

from .peers import Broker, LoopClock, Message, TcpDevice
from .worlds import Actor, Collector
from .worlds_field import Acknowledged, kept

BATCHES = 3


class FullOutbox(Acknowledged):
    """An outbox that has no room."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(outbox)
        self._closed = asyncio.Event()

    async def put(self, records: Sequence[Record], marks: Mapping[str, Mark]) -> None:
        if marks and not records:  # of the start
            await super().put(records, marks)
            return
        await self._closed.wait()
        raise StoreFull("no room")

    async def close(self) -> None:
        self._closed.set()
        await super().close()


@asynccontextmanager
async def agent(folder: Path, stopped: bool, is_full: bool = False) -> AsyncIterator[Actor]:
    """A gateway until its third batch; the second costs it the connection.

    ``stopped``: as SIGTERM stops it, else it is cancelled. ``is_full``: no batch is ever there.
    """
    device, broker = await TcpDevice().start(), await Broker(drops=[2]).start()
    path = write_site(folder, device.port)
    text = path.read_text().replace("port = 1\n", f'port = {broker.port}\nversion = "3.1.1"\n')
    text = text.replace("period_ms = 10\n", "period_ms = 200\n")
    path.write_text(text.replace("[outbox]", "batch_interval_ms = 100\n[outbox]"))
    gateway = GatewayAgent(load(path), LoopClock(), Counters())
    made: list[Acknowledged] = []

    def make(outbox: Outbox) -> Acknowledged:
        made.append(FullOutbox(outbox) if is_full else Acknowledged(outbox))
        return made[0]

    actor = Actor(gateway.run, device, broker)
    if stopped:
        actor.stop_with(gateway.request_stop)
    collector = Collector(load_private(folder / "collector.pem"))
    state = folder / "state"

    def answer(message: Message) -> Iterator[Message]:
        yield from collector(message)
        if len(broker.messages) > BATCHES:
            actor.finish()

    def check() -> None:
        assert not (state / SOCKET_NAME).exists()
        if not (state / "outbox.db").exists():
            return
        with Lock(state):
            assert (state / LOCK_NAME).exists()
        acknowledged = made[0].acknowledged if made else []
        assert set(acknowledged) <= {*kept(state), *collector.records.values()}

    broker.on_message = answer
    if is_full:
        actor.finish()
    actor.checks.append(check)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agent_module, "OutboxWriter", make)
        try:
            yield actor
        finally:
            device.close()
            broker.close()
