"""Everybody who gets notices of alarms: makes the notices and keeps what waits over a restart.

What is lost is an action in the stream too, once a minute at most for each receiver.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, NoReturn, assert_never

import msgspec
from msgspec import Struct

from gateway_agent.alarms.desk import AlarmDesk
from gateway_agent.alarms.rules import AlarmRule
from gateway_agent.alarms.state import AlarmChange, AlarmState
from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.clock import GatewayClock
from gateway_agent.config import GatewayConfig
from gateway_agent.status import NotifyStatus
from gateway_agent.uplink.mqtt import Announcing
from protocols.uplink import Action

from .config import MailNotify, MqttNotify, NotifyConfig, WebhookNotify
from .queue import Notice, NoticeQueue
from .sending import NoticeSender, NoticeTask

log: Final = logging.getLogger(__name__)

FILE_NAME: Final = "notices.json"
MAX_FILE: Final = 4 << 20  # bytes; 1000 notices have about 400 kB
_KEEP_S: Final = 1.0
_NAME_EVERY_S: Final = 60.0


class _Kept(Struct, frozen=True, omit_defaults=True):
    """What the file keeps for one receiver."""

    waiting: list[Notice]
    lost: int = 0  # and in no notice yet


class _Receiver(NamedTuple):
    config: NotifyConfig
    queue: NoticeQueue
    status: NotifyStatus


class Notifiers:
    """The receivers of one gateway's notices. ``note`` records an action of the gateway."""

    def __init__(
        self,
        config: GatewayConfig,
        clock: GatewayClock,
        desk: AlarmDesk,
        note: Callable[[str, Action], None],
        is_ready: Callable[[], bool],
    ) -> None:
        self._gateway = config.gateway.id
        self._clock = clock
        self._desk = desk
        self._note = note
        self._path = config.gateway.state_dir / FILE_NAME
        self._latest: dict[str, Notice] = {}
        self._receivers = [
            _Receiver(
                table,
                NoticeQueue(table.queue),
                NotifyStatus(name=table.name, type=table.kind, where=""),
            )
            for table in config.notify
        ]
        self._tasks: list[NoticeTask] = []
        self._named: dict[str, tuple[int, float]] = {}  # lost and recorded, when: by receiver
        self.announcer: Announcing | None = None
        for table, queue, status in self._receivers:
            if isinstance(table, MqttNotify):
                from .announcer import Announcer  # what a file does not ask for is not loaded

                status.where = config.uplink.where
                self.announcer = Announcer(
                    *(status, queue, self._gateway, config.gateway.state_dir),
                    *(self.states, is_ready),
                )
            else:
                sender = _sender(table, self._gateway)
                status.where = sender.where
                self._tasks.append(NoticeTask(status, sender, queue))
        self._restore()
        desk.listeners.append(self.changed)

    def changed(self, rule: AlarmRule, change: AlarmChange) -> None:
        """Give a change to everybody who wants alarms of its severity."""
        age_ms = self._clock.boot_ms() - change.at_ms
        notice = self._notice(rule, change.after, change.before, age_ms, change.by)
        self._latest[rule.name] = notice
        for table, queue, _ in self._receivers:
            if table.wants(rule.severity):
                queue.put(notice)

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
                for task in self._tasks:
                    group.create_task(task.run(), name=f"notify {task.status.name}")
                group.create_task(self._keep_up(), name="notices")
        finally:
            self._keep()
        raise asyncio.CancelledError

    async def _keep_up(self) -> NoReturn:
        changes = 0
        while True:
            raise_if_cancelled()
            self._name_losses()
            now = sum(receiver.queue.changes for receiver in self._receivers)
            if now != changes:
                changes = now
                self._keep()
            await asyncio.sleep(_KEEP_S)

    def _name_losses(self) -> None:
        now = asyncio.get_running_loop().time()
        for table, queue, status in self._receivers:
            named, at = self._named.get(table.name, (0, -_NAME_EVERY_S))
            if queue.lost <= named or now - at < _NAME_EVERY_S:
                continue
            self._named[table.name] = queue.lost, now
            why = f": {status.problem}" if status.problem else ""
            detail = f"notify {table.name}: {queue.lost - named} notices of alarms are lost{why}"
            log.warning("%s", detail)
            self._note(self._gateway, Action("alarm-notice-lost", "", 0, detail))

    def status(self) -> list[NotifyStatus]:
        """Return what the operator sees of each receiver."""
        for _, queue, status in self._receivers:
            status.waiting, status.lost = len(queue), queue.lost
        return [receiver.status for receiver in self._receivers]

    def _keep(self) -> None:
        """Write what waits. A file that cannot be written costs what waits at a restart."""
        kept = {
            table.name: _Kept(queue.kept, queue.unnamed)
            for table, queue, _ in self._receivers
            if len(queue) or queue.unnamed
        }
        part = self._path.with_suffix(".part")
        try:
            if not kept:
                self._path.unlink(missing_ok=True)
                return
            part.write_bytes(msgspec.json.encode(kept))
            part.replace(self._path)
        except OSError as error:
            log.debug("notices that wait are lost at a restart: %s", error)

    def _restore(self) -> None:
        try:
            with self._path.open("rb") as file:
                found = msgspec.json.decode(file.read(MAX_FILE), type=dict[str, _Kept])
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s cannot be read, its notices are lost: %s", self._path, error)
            return
        for table, queue, _ in self._receivers:
            kept = found.get(table.name)
            if kept is not None:
                queue.restore(kept.waiting, kept.lost)


def _sender(table: WebhookNotify | MailNotify, gateway: str) -> NoticeSender:
    """Make what sends."""
    if isinstance(table, WebhookNotify):
        from .webhook import WebhookSender

        return WebhookSender(table)
    if isinstance(table, MailNotify):
        from .mail import MailSender

        return MailSender(table, gateway)
    assert_never(table)
