"""One port for the link: opens it again and again, or listens, and keeps the slots of its nodes.

``await port.run()`` works until it is cancelled. No fault of a node, a port or a connection ends
it; what is wrong is in the status of its nodes and, once, in the log.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, NoReturn

from gateway_agent.cancellation import raise_if_cancelled, until_first_ends
from gateway_agent.clock import GatewayClock
from gateway_agent.config import LinkBus, SerialBus
from gateway_agent.counters import Counters
from gateway_agent.field.bus_errors import FATAL, BusDownError
from gateway_agent.field.bus_log import LineLimit
from gateway_agent.field.bus_port import RECONNECT_S, BusPort
from gateway_agent.journal import about
from gateway_agent.progress import DeviceFlow
from gateway_agent.status import DeviceState, DeviceStatus, LinkStatus
from gateway_agent.store.mark import Mark
from protocols.wire.link.handshake import (
    KEY_NEEDED,
    NOT_CONFIGURED,
    SAME_UID,
    WRONG_KEY_ID,
    WRONG_MAP,
    WRONG_PROOF,
    WRONG_SIZE,
    WRONG_VERSION,
    Hello,
)
from protocols.wire.link.messages import EXHAUSTED, REPLACED, RESTARTING, SILENCE, STOPPING

from .link_line import LinkLine
from .pushing_node import PushingNode
from .sessions import LinkSessions, Refusal, key_bytes

log = logging.getLogger(__name__)

NO_SESSION_MS: Final = 30_000  # who called in and has no session for so long is hung up on
SPARE_LINES: Final = 8  # connections beside two of each device that may call in
_TICK_S: Final = 1.0  # slots are looked at this often at least
_REFUSED: Final = {
    WRONG_VERSION: "it does not speak version 1 of the link: its firmware is of another release",
    NOT_CONFIGURED: "it knows no gateway with this id",
    WRONG_KEY_ID: "the key file has another key id than the node: copy the node's own key file",
    WRONG_PROOF: "the key file does not hold the node's key: copy the node's own key file",
    WRONG_SIZE: "it cannot work with our largest frame or window",
    SAME_UID: "it has a session on another port of its own",
    KEY_NEEDED: "it has a key, and we came without one",
    WRONG_MAP: "it has another register map",
}
_ENDED: Final = {
    STOPPING: "the node ended its session",
    RESTARTING: "the node restarts",
    SILENCE: "nothing right came from the node for 15 s",
    REPLACED: "a new session began",
    EXHAUSTED: "the session has used up its counters",
}


class LinkPort:
    """Serves the nodes of one ``[[bus]]`` with ``type = "link"``."""

    def __init__(
        self,
        link: LinkBus,
        nodes: Sequence[PushingNode],
        sessions: LinkSessions,
        clock: GatewayClock,
        counters: Counters,
    ) -> None:
        self.link = link
        self.nodes = list(nodes)
        self.sessions = sessions
        self._clock = clock
        self._counters = counters
        self._port: BusPort | None = None
        self._lines: set[LinkLine] = set()
        self._gone: dict[str, str] = {}  # why the last session of a node ended, by its id
        self._is_stopped = False
        self._problem = "the port is not open yet"
        self._logged = ""
        self._limit = LineLimit()
        sessions.add(link.name, nodes)

    # --- the task -------------------------------------------------------------------------------

    def resume(self, marks: Mapping[str, Mark]) -> None:
        """Name what was missed since ``marks``, and put new marks into the queue."""
        for node in self.nodes:
            node.resume(marks)

    async def run(self) -> None:
        """Serve the port until cancelled."""
        for node in self.nodes:
            node.tick(("gateway_down", "the agent was starting"))
        serve = self._listen() if self.link.way is None else self._connect()
        try:
            await until_first_ends(serve, self._keep_slots())
        finally:
            self._is_stopped = True
            for line in list(self._lines):
                line.close()

    def stop(self) -> None:
        """Name what is missed and not named yet."""
        for node in self.nodes:
            node.stop()

    def leave(self) -> dict[str, Mark]:
        """Give up the nodes of a port whose task has ended; return how far each was read."""
        self.sessions.remove(self.nodes)
        return {node.device_id: node.mark() for node in self.nodes}

    async def _connect(self) -> NoReturn:
        way = self.link.way
        assert way is not None
        self._port = port = BusPort(way, self._counters, logs_open=True)
        baudrate = way.baudrate if isinstance(way, SerialBus) else 0
        while True:
            raise_if_cancelled()
            line = LinkLine(self, self._clock, self._counters, baudrate)
            self._lines.add(line)
            try:
                await port.open(line)
                self._problem = ""
                lost = await line.ended
                if isinstance(lost, FATAL):
                    raise lost
                error = lost or ConnectionError("the connection was closed")
                raise port.failed("failed", error)
            except BusDownError as error:
                self._problem = error.detail
            finally:
                self._lines.discard(line)
                line.close()
            await asyncio.sleep(port.wait_s)

    async def _listen(self) -> NoReturn:
        wait_s, loop = RECONNECT_S[0], asyncio.get_running_loop()
        while True:
            raise_if_cancelled()
            try:
                listener = self._bound()
            except OSError as error:
                self._note(f"cannot listen on {self.link.listen}: {error.strerror or error}")
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, RECONNECT_S[1])
                continue
            # Without serving at once, so that no cancellation leaves the socket open.
            server = await loop.create_server(self._called, sock=listener, start_serving=False)
            try:
                await server.start_serving()
                self._problem = ""
                while True:
                    raise_if_cancelled()
                    await asyncio.sleep(_TICK_S)
                    self._hang_up()
            finally:
                server.close()

    def _bound(self) -> socket.socket:
        host, number = self.link.address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, number), family=family)

    def _called(self) -> LinkLine:
        line = LinkLine(self, self._clock, self._counters)
        if self._is_stopped:  # asyncio had accepted it when the server was closed
            line.close()
        elif len(self._lines) >= 2 * len(self.nodes) + SPARE_LINES:
            self._note("too many connections without a session: one more was closed")
            line.close()
        else:
            self._lines.add(line)
            line.ended.add_done_callback(lambda _: self._lines.discard(line))
        return line

    def _hang_up(self) -> None:
        """Close the connections of those that never came to a session."""
        now_ms = self._clock.boot_ms()
        for line in list(self._lines):
            if line.node is None and now_ms - line.idle_since_ms > NO_SESSION_MS:
                self._note(f"a connection came to no session within {NO_SESSION_MS // 1000} s")
                line.close()

    async def _keep_slots(self) -> NoReturn:
        while True:
            raise_if_cancelled()
            now_ms = self._clock.boot_ms()
            next_ms = min(node.next_ms for node in self.nodes)
            await asyncio.sleep(min(max(next_ms - now_ms, 0) / 1000, _TICK_S) or 0.001)
            for node in self.nodes:
                node.tick(("bus_timeout", self._why(node)))

    # --- LineOwner ------------------------------------------------------------------------------

    def key_of(self, line: LinkLine, hello: Hello) -> bytes | int:
        """Return the key of a node that wants a session, or the reason to refuse it."""
        found = self.sessions.check(self.link.name, self.link.where, line, hello)
        if isinstance(found, Refusal):
            self._note(found.text)
            return found.reason
        return key_bytes(found)

    def opened(self, line: LinkLine, hello: Hello) -> PushingNode:
        """Return the node whose session began."""
        found = self.sessions.check(self.link.name, self.link.where, line, hello)
        if isinstance(found, Refusal):  # another connection was faster
            raise ConnectionError(found.text)
        self.sessions.opened(line, self.link.where, found)
        if self._port is not None:
            self._port.works()
        self._problem = ""
        self._gone.pop(found.device_id, None)
        if self._logged:
            self._logged = ""
            log.warning("bus %s: %s has a session", self.link.name, found.device.name)
        found.session_opened(line, hello.boot_epoch)
        return found

    def closed(self, line: LinkLine, reason: int | None) -> None:
        """Note that the session of a connection ended; None: with the connection."""
        text = "its connection ended"
        if reason is not None:
            text = _ENDED.get(reason, f"it ended for reason {reason}")
        line.idle_since_ms = self._clock.boot_ms()
        for node in self.nodes:
            if node.line is line:
                node.session_closed()
                self.sessions.closed(line, node)
                self._gone[node.device_id] = f"no session: {text}"

    def refused(self, line: LinkLine, reason: int) -> None:
        """Note that the node refuses us."""
        self._note(f"the node refuses: {_REFUSED.get(reason, f'reason {reason}')}")

    # --- what is wrong --------------------------------------------------------------------------

    def _note(self, text: str) -> None:
        """Keep ``text`` for the status, and log it once, a few lines a minute at most."""
        self._problem = text
        if text != self._logged and self._limit.take(self._clock.boot_ms()):
            self._logged = text
            log.warning(
                "bus %s: %s: %s",
                self.link.name,
                self.link.where,
                text,
                extra=about(bus=self.link.name),
            )

    def _why(self, node: PushingNode) -> str:
        """Return why a node brings nothing."""
        if node.line is not None:
            return f"it has a session and has pushed no sample for {node.silent_ms / 1000:.0f} s"
        if self._problem or node.device_id in self._gone:
            return self._problem or self._gone[node.device_id]
        if self.link.way is None:
            return "it has not called in"
        noise = sum(line.end.noise_bytes() for line in self._lines)
        if noise:
            return f"{noise} bytes came that are no frame: is it a node, at this speed?"
        return "nothing comes from the port: check wiring, power and speed"

    # --- status ---------------------------------------------------------------------------------

    @property
    def slots_unaccounted(self) -> int:
        """Return how many slots are over and neither answered nor missed for a cause."""
        return sum(node.slots_unaccounted for node in self.nodes)

    def flows(self, now_ms: int, start_ms: int) -> Iterator[DeviceFlow]:
        """Yield what comes from each device, since ``start_ms`` if nothing has come yet."""
        for node in self.nodes:
            last_ms = start_ms if node.is_new else node.tracker.last_ms
            problem = node.tracker.problem if node.line is not None else self._why(node)
            age_ms = now_ms - last_ms
            yield DeviceFlow(
                self.link.name,
                node.device.name,
                age_ms,
                node.period_ms,
                False,
                node.is_new,
                problem,
            )

    def statuses(
        self, now: Callable[[], int], names: Collection[str] | None
    ) -> Iterator[DeviceStatus]:
        """Yield the devices of this port, in the order of the configuration."""
        for node in self.nodes:
            if names is None or node.device.name in names:
                yield self._device_status(node, now())

    def _device_status(self, node: PushingNode, now_ms: int) -> DeviceStatus:
        tracker, line = node.tracker, node.line
        problem = tracker.problem
        if line is None:
            problem = self._why(node)
        problem = problem or self.sessions.double(node)
        state: DeviceState = "new"
        if problem and not (node.is_new and line is None and not node.slots.missed):
            state = "failing"
        elif not node.is_new:
            state = "ok"
        return DeviceStatus(
            id=node.device_id,
            name=node.device.name,
            bus=self.link.name,
            unit=node.device.unit,
            kind=node.device.kind,
            role=node.device.role,
            auth=tracker.auth,
            state=state,
            values=tracker.values(),
            age_ms=None if node.is_new else now_ms - tracker.last_ms,
            polls=node.frames,
            errors=node.errors,
            skipped=0,
            problem=problem,
            cause=node.slots.cause if node.slots else "",
            title=node.device.title,
            place=node.device.place,
            note=node.device.note,
            link=self._link_status(node),
        )

    def _link_status(self, node: PushingNode) -> LinkStatus:
        lines = self._lines if self.link.way is not None else set()
        line = next((one for one in self._lines if one.node is node), None)
        if line is None and lines:
            line = next(iter(lines))
        if line is None:
            return LinkStatus(session=False, sessions=node.sessions)
        end, counters = line.end, line.end.counters
        return LinkStatus(
            session=line.node is node,
            sessions=node.sessions,
            round_trip_ms=end.clock.delay_ms if end.clock.delay_ms >= 0 else None,
            frames=counters.frames,
            resent=end.resent(),
            noise_bytes=end.noise_bytes(),
            forged=counters.forged,
            repeats=counters.repeats,
            malformed=counters.malformed,
            refused=counters.refused + counters.refusals,
            flooded=counters.flooded,
        )
