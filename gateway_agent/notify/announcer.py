"""Announce over the uplink's own connection whether the gateway is there, and its alarms.

Topics and what is on them are in :mod:`gateway_agent.uplink.topics` and docs/formats.md. The status
is retained, and the broker publishes our last will in its place when the connection is lost. Each
alarm has its state, retained, on a topic of its own; every change is on one more, not retained. All
of it goes before batches that wait (:meth:`Client.post_first`). A broker that refuses one of these
topics costs the announcements of this connection, never the connection.
"""

import asyncio
import importlib.metadata
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

import aiomqtt
import msgspec

from gateway_agent.cancellation import raise_if_cancelled, whatever_comes
from gateway_agent.state_file import read_state, write_state
from gateway_agent.status import NotifyStatus
from gateway_agent.uplink import topics
from gateway_agent.uplink.connection import Client, MessageRefused

from .queue import Notice, NoticeQueue

log: Final = logging.getLogger(__name__)

FILE_NAME: Final = "announced.json"  # the alarms that have a retained state
GOODBYE_S: Final = 1.0
_LOOK_S: Final = 1.0


class Announcer:
    """The announcements of one gateway. ``states``: of all alarms, by name, as they are now."""

    def __init__(
        self,
        status: NotifyStatus,
        queue: NoticeQueue,
        gateway: str,
        directory: Path,
        states: Callable[[], Mapping[str, Notice]],
        is_ready: Callable[[], bool],
    ) -> None:
        self.status = status
        self.queue = queue
        self._gateway = gateway
        self._path = directory / FILE_NAME
        self._states = states
        self._is_ready = is_ready
        self._version = importlib.metadata.version("tianfu-edge")

    def will(self) -> aiomqtt.Will:
        """Return what the broker publishes when it loses us."""
        lost = self._here("offline", reason="connection lost")
        return aiomqtt.Will(topics.status_topic(self._gateway), lost, qos=1, retain=True)

    async def run(self, client: Client) -> NoReturn:
        """Announce in one connection until cancelled. MqttError: the connection has ended."""
        try:
            await self._announce(client)
        except MessageRefused as error:
            if str(error) != self.status.problem:
                log.warning("notify %s: %s", self.status.name, error)
            self.status.problem = str(error)
        while True:
            raise_if_cancelled()
            await asyncio.sleep(3600)

    async def goodbye(self, client: Client) -> None:
        """Announce that we stop."""
        with suppress(aiomqtt.MqttError, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._post_status(client, "offline", reason="stopped")

    async def _announce(self, client: Client) -> NoReturn:
        is_ready = self._is_ready()
        await self._post_status(client, "online", ready=is_ready)
        states = self._states()
        for name in self._announced():
            if name not in states:  # its rule is there no more
                await self._post(client, topics.alarm_topic(self._gateway, name), b"", True)
        await whatever_comes(asyncio.to_thread(self._keep, list(states)))
        for state in states.values():
            await self._post_state(client, state)
        self.status.problem = ""
        while True:
            raise_if_cancelled()
            try:
                async with asyncio.timeout(_LOOK_S):
                    (notice,) = await self.queue.take(1)
            except TimeoutError:
                if self._is_ready() != is_ready:
                    is_ready = not is_ready
                    await self._post_status(client, "online", ready=is_ready)
                continue
            body = msgspec.json.encode(notice)
            await self._post(client, topics.alarm_change_topic(self._gateway), body, False)
            self.queue.done()
            self.status.sent += 1
            now = self._states().get(notice.alarm)
            if now is not None:
                await self._post_state(client, now)
            else:  # a reload has removed its rule
                topic = topics.alarm_topic(self._gateway, notice.alarm)
                await self._post(client, topic, b"", True)

    async def _post_status(self, client: Client, state: str, **more: object) -> None:
        topic = topics.status_topic(self._gateway)
        await self._post(client, topic, self._here(state, **more), True)

    async def _post_state(self, client: Client, notice: Notice) -> None:
        topic = topics.alarm_topic(self._gateway, notice.alarm)
        await self._post(client, topic, msgspec.json.encode(notice), True)

    def _here(self, state: str, **more: object) -> bytes:
        found = {"gateway": self._gateway, "state": state, "version": self._version, **more}
        return json.dumps(found).encode()

    @staticmethod
    async def _post(client: Client, topic: str, body: bytes, retain: bool) -> None:
        await client.answered(topic, client.post_first(topic, body, retain))

    def _announced(self) -> Sequence[str]:
        loss = "the state of a rule that went meanwhile stays on the broker"
        return read_state(self._path, list[str], loss) or ()

    def _keep(self, names: list[str]) -> None:
        try:
            write_state(self._path, names)
        except OSError as error:
            log.debug("%s: %s", self._path, error)
