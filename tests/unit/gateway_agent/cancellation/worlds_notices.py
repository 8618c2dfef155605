"""Receivers of notices that come, change and go again and again while alarms begin and end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import Mock

import msgspec
import pytest

from gateway_agent.alarms.desk import AlarmDesk
from gateway_agent.alarms.rules import Silent
from gateway_agent.alarms.state import AlarmChange, AlarmState
from gateway_agent.notify import notifiers as notifiers_module
from gateway_agent.notify.config import WebhookNotify
from gateway_agent.notify.kept import kept_notices
from gateway_agent.notify.notifiers import Notifiers
from gateway_agent.notify.queue import Notice
from protocols.uplink import Action
from tests.unit.gateway_agent.field_help import config_of

from .peers import ANSWER_S, LoopClock
from .worlds import Actor

PAUSE_S = 0.033  # between two changes: they come at any place of a delivery
RULE = Silent(name="x", device="d", for_s=1)
CHANGE = AlarmChange(AlarmState.NORMAL, AlarmState.UNACKNOWLEDGED, "", 0)


class Sender:
    """Takes its time; every third attempt fails."""

    most = 2
    pause_s = 0.0
    where = "there"

    def __init__(self, world: "ChangingReceivers") -> None:
        self._world = world

    async def send(self, notices: Sequence[Notice]) -> None:
        await asyncio.sleep(ANSWER_S)
        self._world.attempts += 1
        if self._world.attempts % 3 == 0:
            raise OSError("away")
        self._world.delivered.update(notice.id for notice in notices)


class ChangingReceivers:
    """One receiver of notices, which is never the same for long."""

    def __init__(self, folder: Path) -> None:
        self.delivered: set[str] = set()
        self.attempts = self.made = self.lost = 0
        self._folder = folder
        self._config = config_of(folder)
        desk = Mock(spec=AlarmDesk, listeners=[])
        self.notifiers = Notifiers(self._config, LoopClock(), desk, self._note, lambda: True)

    def _note(
        self, device_id: str, action: Action, committed: Callable[[], None] | None = None
    ) -> None:
        assert (device_id, action.name) == ("g", "alarm-notice-lost")
        assert action.detail.startswith("notify duty: ")
        self.lost += int(action.detail.split()[2])
        if committed is not None:
            committed()

    async def run(self, actor: Actor) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.notifiers.run())
            group.create_task(self._change(actor))

    async def _change(self, actor: Actor) -> None:
        await asyncio.sleep(PAUSE_S)  # the notifiers run
        for turn in range(12):
            # Its address changes, it goes, and it comes back or is settled before it does.
            url = () if turn % 4 == 2 else (f"http://h/{turn}",)
            tables = tuple(
                WebhookNotify(name="duty", url=one, secret_file=self._folder) for one in url
            )
            await self.notifiers.change(msgspec.structs.replace(self._config, notify=tables))
            for _ in range(2):
                self.notifiers.changed(RULE, CHANGE)
                self.made += 1
            await asyncio.sleep(PAUSE_S)
            if turn % 8 == 6:
                self.notifiers.settle()
        actor.finish()
        await asyncio.Event().wait()

    def check(self) -> None:
        """Each notice was delivered, waits for the next start, or is recorded as lost."""
        kept = kept_notices(self._folder)
        waiting = {notice.id for one in kept.values() for notice in one.waiting}
        assert len(self.delivered | waiting) + self.lost >= self.made


@asynccontextmanager
async def changing_receivers(folder: Path) -> AsyncIterator[Actor]:
    """The receivers until they were changed twelve times."""
    world = ChangingReceivers(folder)
    actor = Actor(lambda: world.run(actor))
    actor.checks.append(world.check)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notifiers_module, "_sender", lambda *_: Sender(world))
        yield actor
