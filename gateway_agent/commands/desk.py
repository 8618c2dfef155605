"""The desk that every command comes to: checks it, carries it out, and puts it into the stream.

A record that the command was taken is durable before anything is sent that changes a device, and
its outcome is recorded after it, so the stream names every command, also one that a power cut
interrupted. Who may command is the business of the way here: a socket, or a signed order.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol, TypeAlias

from gateway_agent.clock import GatewayClock
from gateway_agent.counters import Counters
from gateway_agent.field.devices import OpenNode
from gateway_agent.field.found import BusDevice, FoundDevice
from gateway_agent.field.link.file_fetch import FetchedFile, FetchError
from gateway_agent.status import PointValue
from protocols.modbus_client.turn import TurnAnswer, TurnQuestion, is_write, signed_register
from protocols.text_of_others import printable
from protocols.uplink import MAX_ACTION_DETAIL, MAX_OPERATOR_LENGTH, Action

from .command import Command, CommandFailed, CommandRefused, CommandResult, Outcome
from .device_line import SessionLine, TurnsLine
from .node_settings import NodeSettings, check_setting, raw_of, setting_of
from .profile_points import ProfilePoints

log = logging.getLogger(__name__)

MAX_RUNNING: Final = 8
COMMAND_S: Final = 30.0  # for all turns of one command
OPEN_S: Final = 5.0  # that a command waits for an agent that has just started
FETCH_S: Final = 120.0  # for a picture
STORE_S: Final = 10.0  # in which the store has to take the record of a command

Work: TypeAlias = Callable[[], Awaitable[tuple[str, list[PointValue]]]]
_NOT_YET: Final = "the agent does not poll yet: `tianfu-gateway status` shows why"


class CommandedField(Protocol):
    """What the desk needs of the field."""

    def find(self, name: str) -> FoundDevice | None:
        """Return a device."""

    def at(self, bus: str, unit: int) -> FoundDevice | None:
        """Return the device with this address on a bus."""

    async def fetch(
        self, node: str, file: int, progress: Callable[[int, int], None]
    ) -> FetchedFile:
        """Fetch a file of a node."""

    def note(
        self, device_id: str, action: Action, committed: Callable[[], None] | None = None
    ) -> None:
        """Record what was done."""


class CommandDesk:
    """The commands of one gateway; it refuses them until :meth:`open`."""

    def __init__(self, gateway: str, clock: GatewayClock, counters: Counters) -> None:
        self._gateway = gateway
        self._clock = clock
        self._counters = counters
        self._field: CommandedField | None = None
        self._opened = asyncio.Event()
        self._running = 0
        self._turns: dict[str, asyncio.Lock] = {}  # by device id: one command at a time

    def open(self, field: CommandedField) -> None:
        """Take commands for the devices of ``field`` from now on."""
        self._field = field
        self._opened.set()

    async def run(self, command: Command, by: str) -> CommandResult:
        """Carry a command out; it is recorded, also one that is refused.

        ``by``: who it is from, as the way here has proved it.
        """
        by = printable(by)[:MAX_OPERATOR_LENGTH]
        device_id = self._gateway
        result = CommandResult(outcome="failed", text="interrupted before its end")
        try:
            field, found = await self._found(command)
            device_id = found.device_id
            self._running += 1
            try:
                result = await self._carried_out(field, found, command, by)
            finally:
                self._running -= 1
        except CommandRefused as error:
            result = CommandResult(outcome=error.outcome, text=str(error))
        finally:
            self._record(device_id, command, by, result)
        return result

    def fetched(self, device: str, by: str, error: str) -> None:
        """Record that somebody fetched a file past the desk; ``error``: why it did not come."""
        command = Command(action="snapshot", device=device)
        outcome: Outcome = "refused" if error else "done"
        found = None if self._field is None else self._field.find(device)
        device_id = self._gateway if found is None else found.device_id
        result = CommandResult(outcome=outcome, text=error or "the file was fetched")
        self._record(device_id, command, by, result)

    async def turn(
        self,
        ask: Callable[[TurnQuestion, str], Awaitable[TurnAnswer]],
        question: TurnQuestion,
        by: str,
    ) -> TurnAnswer:
        """Let a tool on site ask, and record what it writes, also if it leaves meanwhile."""
        answer = TurnAnswer(silence="who asked has left before the answer: it may be done")
        try:
            answer = await ask(question, by)
        finally:
            self._turned(question, by, answer)
        return answer

    def _turned(self, question: TurnQuestion, by: str, answer: TurnAnswer) -> None:
        """Record a write that a tool on site has signed itself, or a plain one that was refused."""
        what = signed_register(question)
        if self._field is None or (what is None and not answer.error):
            return
        if what is None and not is_write(question):
            return
        found = self._field.at(question.bus, question.unit)
        device_id = self._gateway if found is None else found.device_id
        text = f"unit {question.unit} of bus {question.bus}"
        text += ": a plain write" if what is None else f": a signed write of register 0x{what:04X}"
        outcome: Outcome = "done"
        if answer.error:
            outcome, text = "refused", f"{text}: {answer.error}"
        elif answer.silence or answer.pdu[:1] in ("8", "9"):
            outcome, text = "failed", f"{text}: {answer.silence or 'exception ' + answer.pdu}"
        self._counters.commands[outcome] += 1
        self._field.note(device_id, Action(f"command-{outcome}", by, 0, _detail(text)))

    # --- inside ----------------------------------------------------------------------------------

    async def _found(self, command: Command) -> tuple[CommandedField, FoundDevice]:
        """Return where the command goes. CommandRefused."""
        with suppress(TimeoutError):
            async with asyncio.timeout(OPEN_S):
                await self._opened.wait()
        field = self._field
        if field is None:
            raise CommandRefused(_NOT_YET)
        if self._running >= MAX_RUNNING:
            raise CommandRefused(f"{MAX_RUNNING} commands are under way: repeat it later")
        found = field.find(command.device)
        if found is None:
            raise CommandRefused(
                f"{command.device!r} is no device of this gateway: name one as"
                " `tianfu-gateway status` shows it, or BUS/NAME"
            )
        return field, found

    async def _carried_out(
        self,
        field: CommandedField,
        found: FoundDevice,
        command: Command,
        by: str,
    ) -> CommandResult:
        if command.action == "snapshot":
            return await _snapshot(field, found.device_id)
        device = found.opened.device
        try:
            async with asyncio.timeout(COMMAND_S):
                async with self._turns.setdefault(found.device_id, asyncio.Lock()):
                    work = _work_of(found, command, by, self._clock)
                    if command.changes:
                        await self._taken(field, found.device_id, command, by)
                    text, values = await work()
        except TimeoutError:
            raise CommandFailed(
                f"{device.name}: not done within {COMMAND_S:g} s: is its port there, and has the"
                " outbox room? `tianfu-gateway status` shows it"
            ) from None
        return CommandResult(outcome="done", text=text, values=values)

    async def _taken(
        self, field: CommandedField, device_id: str, command: Command, by: str
    ) -> None:
        """Record a command and wait until that is durable. CommandRefused: it is not to be done."""
        stored = asyncio.Event()
        field.note(device_id, Action("command-taken", by, 0, _detail(str(command))), stored.set)
        try:
            async with asyncio.timeout(STORE_S):
                await stored.wait()
        except TimeoutError:
            raise CommandRefused(
                "the outbox takes no record, so nothing may be changed:"
                " `tianfu-gateway status` shows why"
            ) from None

    def _record(self, device_id: str, command: Command, by: str, result: CommandResult) -> None:
        self._counters.commands[result.outcome] += 1
        text = _detail(f"{command}: {result.text}")
        level = logging.INFO if result.outcome == "done" else logging.WARNING
        log.log(level, "command of %s is %s: %s", by, result.outcome, text)
        if self._field is not None:
            self._field.note(device_id, Action(f"command-{result.outcome}", by, 0, text))


def _detail(text: str) -> str:
    return printable(text)[:MAX_ACTION_DETAIL]


def _work_of(found: FoundDevice, command: Command, by: str, clock: GatewayClock) -> Work:
    """Check a command; return what carries it out. CommandRefused."""
    name = found.opened.device.name
    if not isinstance(found, BusDevice):
        return _node_work(NodeSettings(found.opened, SessionLine(name, found)), command)
    opened, line = found.opened, TurnsLine(name, found.turns, by)
    if isinstance(opened, OpenNode):
        return _node_work(NodeSettings(opened, line), command)
    points = ProfilePoints(opened, found.device_id, found.turns.bus, line, clock)
    return _profile_work(points, command)


def _node_work(node: NodeSettings, command: Command) -> Work:
    if command.action == "restart":

        async def restart() -> tuple[str, list[PointValue]]:
            await node.restart()
            return "the node restarts", []

        return restart
    setting = setting_of(command.point) if command.point or command.action == "set" else None
    if command.action == "get" or setting is None:

        async def get() -> tuple[str, list[PointValue]]:
            values = await node.get(setting)
            return f"{len(values)} settings" if setting is None else setting.name, values

        return get
    raw = raw_of(setting, command.value)
    check_setting(setting, command.confirm)
    return lambda: node.set(setting, raw)


def _profile_work(points: ProfilePoints, command: Command) -> Work:
    if command.action == "restart":
        raise CommandRefused(
            "only nodes of ours restart; where a device has a register for that, `set` its point"
        )
    if command.action == "get":
        wanted = [points.point(command.point)] if command.point else points.writable()
        if not wanted:
            raise CommandRefused("no point of its profile may be written: name the point to read")

        async def get() -> tuple[str, list[PointValue]]:
            return command.point or f"{len(wanted)} points", await points.get(wanted)

        return get
    write = points.write(command)
    return lambda: points.set(write)


async def _snapshot(field: CommandedField, device_id: str) -> CommandResult:
    try:
        async with asyncio.timeout(FETCH_S):
            file = await field.fetch(device_id, 1, lambda _have, _size: None)
    except FetchError as error:
        raise CommandRefused(str(error)) from error
    except TimeoutError:
        raise CommandFailed(f"no picture came within {FETCH_S:g} s") from None
    text = f"picture {file.number}, {len(file.data)} bytes, SHA-256 {file.sha256.hex()}"
    return CommandResult(outcome="done", text=text)
