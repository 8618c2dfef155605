"""What an operator may do on the pages; each is in the log and in the stream, with the name."""

import asyncio
from typing import Any, Final

from starlette.routing import Route

from gateway_agent.alarms.socket import AlarmOrder
from gateway_agent.alarms.watch import AlarmError
from gateway_agent.commands.command import Command, CommandResult
from gateway_agent.reload.plan import ReloadPlan
from gateway_agent.reload.reloader import CHANGED
from gateway_agent.tables import MAX_FILE_BYTES

from .access import Visitor
from .orders import OrderError, OrderKind, obeying
from .shapes import AlarmRequest, AlarmResult, ConfigText
from .view import AgentView, WatchedReloader

MAX_CONFIG: Final = 2 * MAX_FILE_BYTES  # as JSON, with what that has to escape


class Actions:
    """The orders that pages give."""

    def __init__(self, view: AgentView) -> None:
        self._view = view
        self.kinds: Final[tuple[OrderKind[Any], ...]] = (
            OrderKind(
                "/alarms/order", "Acknowledge or shelve", AlarmRequest, AlarmResult, self._alarms
            ),
            OrderKind(
                "/commands", "Read or change a device", Command, CommandResult, self._command
            ),
            OrderKind(
                "/config/plan",
                "What another configuration would change; nothing is changed",
                ConfigText,
                ReloadPlan,
                self._plan,
                MAX_CONFIG,
            ),
            OrderKind(
                "/config/apply",
                "Change the configuration, on probation",
                ConfigText,
                ReloadPlan,
                self._apply,
                MAX_CONFIG,
            ),
        )

    def routes(self, root: str) -> list[Route]:
        """Return the routes of all orders."""
        return [Route(root + kind.path, obeying(kind), methods=["POST"]) for kind in self.kinds]

    async def _alarms(self, order: AlarmRequest, visitor: Visitor) -> AlarmResult:
        asked = AlarmOrder(order.action, order.name, visitor.by, order.for_ms)
        try:
            changed = self._view.agent.obey_alarm_order(asked)
        except AlarmError as error:
            raise OrderError(str(error)) from error
        self._view.renew()
        return AlarmResult(changed=changed)

    async def _command(self, command: Command, visitor: Visitor) -> CommandResult:
        result = await self._view.agent.commands.run(command, visitor.by)
        self._view.renew()
        return result

    async def _plan(self, wanted: ConfigText, _: Visitor) -> ReloadPlan:
        return await asyncio.to_thread(self._reloader(wanted.base).plan, wanted.text)

    async def _apply(self, wanted: ConfigText, visitor: Visitor) -> ReloadPlan:
        plan = await self._reloader(wanted.base).apply(
            wanted.text, visitor.by, "the console", wanted.base
        )
        self._view.renew()
        return plan

    def _reloader(self, base: str) -> WatchedReloader:
        """Return what changes the configuration. OrderError: it has changed since ``base``."""
        reloader = self._view.agent.reloader
        if reloader is None:
            raise OrderError("the configuration cannot be changed yet: the agent has just started")
        if reloader.state().digest != base:
            raise OrderError(CHANGED)
        return reloader
