"""Everybody who gets notices of alarms: makes the notices and keeps what waits over a restart.

What is lost is an action in the stream too, once a minute at most for each receiver. A reload gives
what waits for a receiver to the one that takes its name, and names it as lost if none does.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from typing import Final, NoReturn, assert_never

from msgspec import Struct

from gateway_agent.alarms.desk import AlarmDesk
from gateway_agent.alarms.rules import AlarmRule
from gateway_agent.alarms.state import AlarmChange, AlarmState
from gateway_agent.cancellation import raise_if_cancelled, whatever_comes
from gateway_agent.clock import GatewayClock
from gateway_agent.config import GatewayConfig
from gateway_agent.status import NotifyStatus
from gateway_agent.uplink.feed import NoteAction
from gateway_agent.uplink.mqtt import Announcing
from protocols.uplink import Action

from .config import MailNotify, MqttNotify, NotifyConfig, WebhookNotify
from .kept import KeptNotices, keep_notices, kept_notices
from .queue import Notice, NoticeQueue
from .sending import NoticeSender, NoticeTask

log: Final = logging.getLogger(__name__)

_KEEP_S: Final = 1.0
_NAME_EVERY_S: Final = 60.0
_GONE: Final = "the configuration has this receiver no more"


class _Receiver(Struct, eq=False):
    """One receiver. ``task``: delivers to it; None while nothing runs, or the uplink does it."""

    config: NotifyConfig
    queue: NoticeQueue
    status: NotifyStatus
    sending: NoticeTask | None = None
    announcer: Announcing | None = None
    task: asyncio.Task[None] | None = None
    named: int = 0  # lost notices that are in the stream
    named_s: float = -_NAME_EVERY_S  # when they were recorded

    @property
    def name(self) -> str:
        return self.config.name


class Notifiers:
    """The receivers of one gateway's notices. ``note`` records an action of the gateway."""

    def __init__(
        self,
        config: GatewayConfig,
        clock: GatewayClock,
        desk: AlarmDesk,
        note: NoteAction,
        is_ready: Callable[[], bool],
    ) -> None:
        self._gateway = config.gateway.id
        self._directory = config.gateway.state_dir
        self._clock = clock
        self._desk = desk
        self._note = note
        self._is_ready = is_ready
        self._latest: dict[str, Notice] = {}
        self._group: asyncio.TaskGroup | None = None  # while it runs
        self._is_needed = asyncio.Event()  # there may be somebody
        self._held: list[_Receiver] = []  # that a change has ended, and may bring back
        # Of receivers that are there no more: kept until it is in the stream that they are lost.
        self._gone = kept_notices(self._directory)
        self._receivers = [self._made(table, config, None) for table in config.notify]
        for receiver in self._receivers:
            kept = self._gone.pop(receiver.name, None)
            if kept is not None:
                receiver.queue.restore(kept.waiting, kept.lost)
        desk.listeners.append(self.changed)

    @property
    def announcer(self) -> Announcing | None:
        """Return what goes over the uplink's connection; another one after it was changed."""
        found = [receiver.announcer for receiver in self._receivers]
        return next(filter(None, found), None)

    def _made(
        self, table: NotifyConfig, config: GatewayConfig, before: _Receiver | None
    ) -> _Receiver:
        """Make a receiver, in the place of the one before."""
        queue = NoticeQueue(table.queue)
        status = NotifyStatus(name=table.name, type=table.kind, where="")
        receiver = _Receiver(table, queue, status)
        if before is not None:
            before.queue.hand_over(queue)
            status.sent = before.status.sent
            receiver.named, receiver.named_s = before.named, before.named_s
        if isinstance(table, MqttNotify):
            from .announcer import Announcer  # what a file does not ask for is not loaded

            status.where = config.uplink.where
            receiver.announcer = Announcer(
                *(status, queue, self._gateway, self._directory),
                *(self.states, self._is_ready),
            )
        else:
            sender = _sender(table, self._gateway)
            status.where = sender.where
            receiver.sending = NoticeTask(status, sender, queue)
        return receiver

    async def change(self, config: GatewayConfig) -> None:
        """Deliver to these from now on; a receiver that is the same goes on.

        What waits for one that is there no more is kept until :meth:`settle`.
        """
        going = {one.name: one for one in self._receivers if one.config in config.notify}
        ended = [one for one in self._receivers if one.name not in going]
        for one in ended:
            if one.task is not None:
                one.task.cancel()
                await asyncio.wait({one.task})
        held = {one.name: one for one in (*self._held, *ended)}
        self._receivers = [
            going.get(table.name) or self._made(table, config, held.pop(table.name, None))
            for table in config.notify
        ]
        self._held = list(held.values())
        for one in self._receivers:
            if one.announcer is not None:
                one.status.where = config.uplink.where
        self._begin()

    def settle(self) -> None:
        """Name what waits for receivers that a change has ended: nobody will deliver it."""
        for one in self._held:
            self._gone[one.name] = KeptNotices(one.queue.kept)
            self._name_gone(one.name, len(one.queue) + one.queue.lost - one.named)
        self._held = []

    def changed(self, rule: AlarmRule, change: AlarmChange) -> None:
        """Give a change to everybody who wants alarms of its severity."""
        everybody = (*self._receivers, *self._held)
        if not everybody:
            return
        age_ms = self._clock.boot_ms() - change.at_ms
        notice = self._notice(rule, change.after, change.before, age_ms, change.by)
        self._latest[rule.name] = notice
        for one in everybody:
            if one.config.wants(rule.severity):
                one.queue.put(notice)

    def states(self) -> Mapping[str, Notice]:
        """Return the newest notice of each alarm, or its state since the start."""
        now_ms, known = self._clock.boot_ms(), self._latest
        self._latest = {}  # a reload may have removed rules
        for rule, state, since_ms in self._desk.states():
            found = known.get(rule.name)
            if found is None or found.state != state.value:
                found = self._notice(rule, state, AlarmState.NORMAL, now_ms - since_ms, "")
            self._latest[rule.name] = found
        return self._latest

    def _notice(
        self, rule: AlarmRule, state: AlarmState, before: AlarmState, age_ms: int, by: str
    ) -> Notice:
        wall_ms = self._clock.wall().wall_ms
        return Notice(
            id=os.urandom(16).hex(),
            gateway=self._gateway,
            alarm=rule.name,
            about=rule.about,
            severity=rule.severity,
            state=state.value,
            before=before.value,
            time_ms=None if wall_ms is None else wall_ms - age_ms,
            by=by,
            text=rule.text,
        )

    async def run(self) -> NoReturn:
        """Deliver until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._begin()
                group.create_task(self._keep_up(), name="notices")
        finally:
            self._group = None
            keep_notices(self._directory, self._kept())
        raise asyncio.CancelledError

    def _begin(self) -> None:
        """Begin to deliver to those that have nobody who does."""
        self._is_needed.set()
        if self._group is None:
            return
        for one in self._receivers:
            if one.sending is not None and one.task is None:
                one.task = self._group.create_task(one.sending.run(), name=f"notify {one.name}")

    async def _keep_up(self) -> NoReturn:
        for name, kept in list(self._gone.items()):  # of a file that was edited before the start
            self._name_gone(name, len(kept.waiting))
        known: list[tuple[str, int]] = []
        while True:
            raise_if_cancelled()
            self._name_losses()
            now = [(one.name, one.queue.changes) for one in (*self._receivers, *self._held)]
            now += [(name, 0) for name in self._gone]
            if now != known:
                known = now
                await whatever_comes(asyncio.to_thread(keep_notices, self._directory, self._kept()))
            if now:
                await asyncio.sleep(_KEEP_S)
            else:
                self._is_needed.clear()
                await self._is_needed.wait()

    def _name_losses(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for one in self._receivers:
            lost = one.queue.lost - one.named
            if lost and now_s - one.named_s >= _NAME_EVERY_S:
                one.named, one.named_s = one.queue.lost, now_s
                self._name(one.name, lost, one.status.problem)

    def _name_gone(self, name: str, lost: int) -> None:
        def committed() -> None:
            self._gone.pop(name, None)

        if lost:
            self._name(name, lost, _GONE, committed)
        else:
            committed()

    def _name(
        self, name: str, lost: int, why: str, committed: Callable[[], None] | None = None
    ) -> None:
        detail = f"notify {name}: {lost} notices of alarms are lost{': ' + why if why else ''}"
        log.warning("%s", detail)
        self._note(self._gateway, Action("alarm-notice-lost", "", 0, detail), committed)

    def status(self) -> list[NotifyStatus]:
        """Return what the operator sees of each receiver."""
        for one in self._receivers:
            one.status.waiting, one.status.lost = len(one.queue), one.queue.lost
        return [one.status for one in self._receivers]

    def _kept(self) -> dict[str, KeptNotices]:
        """Return what the next start has to deliver, by receiver."""
        return self._gone | {
            one.name: KeptNotices(one.queue.kept, one.queue.unnamed)
            for one in (*self._receivers, *self._held)
            if len(one.queue) or one.queue.unnamed
        }


def _sender(table: WebhookNotify | MailNotify, gateway: str) -> NoticeSender:
    """Make what sends."""
    if isinstance(table, WebhookNotify):
        from .webhook import WebhookSender

        return WebhookSender(table)
    if isinstance(table, MailNotify):
        from .mail import MailSender

        return MailSender(table, gateway)
    assert_never(table)
