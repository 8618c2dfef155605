"""What an operator may do on the pages; each is in the log and in the stream, with the name."""

from typing import Any, Final

from starlette.routing import Route

from gateway_agent.alarms.socket import AlarmOrder
from gateway_agent.alarms.watch import AlarmError
from gateway_agent.commands.command import Command, CommandResult

from .access import Visitor
from .orders import OrderError, OrderKind, obeying
from .shapes import AlarmRequest, AlarmResult
from .view import AgentView


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
