"""Gives the parts of a running agent another configuration, in the order in which that is safe.

What may refuse comes first: the field changes whole or not at all. What comes after it cannot fail
for a reason that an operator could mend.
"""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from gateway_agent.alarms.desk import AlarmDesk
from gateway_agent.commands.orders import OrderDesk
from gateway_agent.config import GatewayConfig
from gateway_agent.field.field import Field
from gateway_agent.notify.notifiers import Notifiers
from gateway_agent.optional_parts import OptionalPart
from gateway_agent.progress import Flow
from gateway_agent.update.rollout import Rollout
from gateway_agent.uplink.export_task import Exporters
from gateway_agent.uplink.feed import ExportContext
from protocols.uplink import Action

from .in_force import ConfigSource
from .prepared import PreparedConfig

_UPDATING = (
    "nodes are updated now, so nothing is changed: wait for the end (`tianfu-gateway status`), or"
    " end it with `tianfu-gateway update --cancel`"
)


class ReloadableParts(Struct, frozen=True):
    """The parts of one agent; see :class:`.reloader.ReloadedAgent`.

    ``took`` is called with what the agent works with from then on.
    """

    field: Field
    rollout: Rollout
    alarms: AlarmDesk
    exporters: Exporters
    orders: OrderDesk
    notifiers: Notifiers
    push: OptionalPart[None]
    current: Callable[[], PreparedConfig]
    took: Callable[[PreparedConfig], None]
    context_of: Callable[[GatewayConfig], ExportContext]
    replace_uplink: Callable[[], Awaitable[None]]
    replace_console: Callable[[], None]
    flow: Callable[[], Flow]

    def running(self, source: ConfigSource) -> PreparedConfig:
        """Return what runs, with its files as they were read."""
        opened = [[reader.opened for reader in bus.readers] for bus in self.field.buses]
        return self.current()._replace(source=source, opened=opened)

    def hindrance(self) -> str:
        """Return why nothing may be changed now."""
        return _UPDATING if self.rollout.is_under_way else ""

    async def change(self, new: PreparedConfig) -> None:
        """Work with ``new``. RestError, ConfigError: nothing was changed."""
        config, old = new.config, self.current()
        in_uplink = self._in_uplink(old)
        await self.field.change(config, new.opened)
        self.took(new)
        self.rollout.change(config, new.opened)
        self.field.use_spare_time(self.rollout.drivers)
        self.alarms.change(config)
        self.orders.change(new.keys.operators)
        await self.notifiers.change(config)
        await self.exporters.change(config.exporters, self.context_of(config))
        if self._in_uplink(new) != in_uplink:
            await self.replace_uplink()
        if config.otlp != old.config.otlp:
            await self.push.change(config)
        if config.web != old.config.web:
            self.replace_console()

    def _in_uplink(self, one: PreparedConfig) -> tuple[object, ...]:
        """Return what the connection to the collector was made with, or would be now."""
        announcer, takes_orders = self.notifiers.announcer, self.orders.is_open
        return one.config.uplink, one.keys.collector, announcer, takes_orders

    async def settle(self) -> None:
        """Give up what was kept for the case that a change is undone."""
        self.notifiers.settle()
        await self.exporters.settle()

    def note(self, action: Action) -> None:
        """Record what was done."""
        self.field.note(self.current().config.gateway.id, action)
