"""A whole site: bench, broker, gateway and collector, brought up and down in order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Generic, Self, TypeVar

from hil.bench import Bench
from hil.engines.deadline import Deadline
from hil.site.accounts import SiteAccount, compare
from hil.site.files import SiteFiles
from hil.site.gateways import SiteBroker, SiteGateway
from hil.site.processes import CollectorProcess

_SETTLE_S: Final = 60.0

_GatewayT = TypeVar("_GatewayT", bound=SiteGateway)
_BrokerT = TypeVar("_BrokerT", bound=SiteBroker)


class Site(Generic[_BrokerT, _GatewayT]):
    """One site with its files in ``files``; ``bench`` has been entered and ``broker`` listens.

    Use it as ``async with``: entering writes the files, starts the collector, switches the nodes on
    and starts the gateway. SiteError, EngineError.
    """

    def __init__(
        self,
        files: SiteFiles,
        bench: Bench,
        broker: _BrokerT,
        gateway: _GatewayT,
        collector: CollectorProcess,
    ) -> None:
        self.files = files
        self.bench = bench
        self.broker = broker
        self.gateway = gateway
        self.collector = collector

    async def __aenter__(self) -> Self:
        self.files.write(self.bench, self.broker.port)
        try:
            await self.collector.start()
            await self.bench.power_on()
            await self.gateway.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """End the gateway, then the collector; do nothing for what has ended. Errors of both."""
        try:
            await self.gateway.stop()
        finally:
            await self.collector.stop()

    async def settle(self, limit_s: float = _SETTLE_S) -> SiteAccount:
        """Stop sampling, and compare until nothing is missing. sqlite3.Error without a database.

        What is still missing after ``limit_s``, or when the gateway has ended, is among the
        problems of the account.
        """
        names = self.bench.names
        answers = await asyncio.gather(*(self.bench.nodes[n].stop_sampling() for n in names))
        sampled = dict(zip(names, answers, strict=True))
        deadline = Deadline(limit_s)
        # A node may have an event to deliver at any time, so the figures agree only between two
        # records: one comparison proves nothing.
        while (account := self._account(sampled)).problems():
            if deadline.over() or not self.gateway.is_running():
                break
            await deadline.look()
        return account

    def _account(self, sampled: Mapping[str, Mapping[str, object]]) -> SiteAccount:
        device_ids = {name: self.bench.device_id(name) for name in sampled}
        return compare(
            sampled, device_ids, self.gateway.status(), self.files.database, self.gateway.starts
        )
