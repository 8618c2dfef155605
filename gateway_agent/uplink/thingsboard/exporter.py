"""Send records to ThingsBoard as a gateway device of it, and do what it commands if it may."""

import asyncio
from typing import Final, NoReturn

import msgspec

from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.commands.command import Command
from gateway_agent.uplink.connection import Client
from gateway_agent.uplink.feed import ExportContext, Feed
from gateway_agent.uplink.mqtt_session import MqttSession
from protocols.uplink import thingsboard

from .config import ThingsBoardUplink

MAX_WAITING: Final = 4  # commands


class ThingsBoardExporter(MqttSession):
    """Publishes telemetry of all devices; commands it passes on, or refuses."""

    def __init__(self, config: ThingsBoardUplink, context: ExportContext) -> None:
        self._run_command = context.command
        self._by = f"thingsboard: {config.label}"
        self._commands: asyncio.Queue[thingsboard.RpcCommand] = asyncio.Queue(MAX_WAITING)
        take = self._take if config.allow_control else None
        core = thingsboard.ThingsBoardCore(context.gateway, dict(context.devices), take)
        super().__init__(config, context, core)

    def _take(self, command: thingsboard.RpcCommand) -> bool:
        try:
            self._commands.put_nowait(command)
        except asyncio.QueueFull:
            return False
        return True

    async def _obey(self, client: Client, feed: Feed) -> NoReturn:
        while True:
            raise_if_cancelled()
            call = await self._commands.get()
            command = msgspec.convert(
                {
                    "action": call.method,
                    "device": call.device,
                    "point": call.name,
                    "value": call.value,
                    "confirm": call.confirm,
                },
                Command,
            )
            result = await self._run_command(command, self._by)
            data: dict[str, object] = {one.name: one.value for one in result.values}
            if result.outcome == "done":
                data |= {"done": result.text}
            else:
                data = {"error": f"{result.outcome}: {result.text}"}
            await self._reply(client, feed, call.answer(data))
