"""A whole site on one table: one RS-485 line, nodes on it, parts on the nodes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Self

from hil.engines.unix import NodeSpec, UnixNode
from hil.line import Rs485Line
from hil.sim.a02yyuw import A02yyuw
from hil.sim.bridge import Bridge
from hil.sim.mhz19b import Mhz19b
from hil.sim.part import Part, Source
from hil.sim.pms5003 import Pms5003
from hil.sim.vc0706 import Vc0706

#: Endpoint of the master on the line.
GATEWAY: Final = "gateway"
ROLES: Final = ("air", "water", "camera")
#: A node samples every second and its parts are warm after two: a bench has no half hour.
FAST: Final[Mapping[str, int]] = {"sample_period_ds": 10, "warmup_limit_s": 2}


class Bench:
    """One node of each of ``roles``, named after its role, Modbus addresses from 1 on.

    Use as ``async with``: entering makes line and parts; :meth:`power_on` starts the nodes. What
    still runs at the end is killed. ``pms``, ``mhz``, ``air_bridge``, ``level``, ``water_bridge``
    and ``camera`` are the parts, each with its fault switch.
    """

    def __init__(
        self,
        folder: Path,
        source: Source,
        *,
        roles: Sequence[str] = ROLES,
        settings: Mapping[str, int] = FAST,
        seed: int = 0,
        baud: int | None = None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._stack = AsyncExitStack()
        self.roles = tuple(roles)
        self.line = Rs485Line([GATEWAY, *roles], seed=seed, baud=baud)
        self.pms = Pms5003(source, seed=seed + 1)
        self.mhz = Mhz19b(source, seed=seed + 2)
        self.air_bridge = Bridge(source, seed=seed + 3)
        self.level = A02yyuw(source, seed=seed + 4)
        self.water_bridge = Bridge(source, seed=seed + 5)
        self.camera = Vc0706(source, seed=seed + 6)
        self._parts: dict[str, dict[str, Part]] = {
            "air": {"pms5003": self.pms, "mhz19b": self.mhz, "bridge": self.air_bridge},
            "water": {"a02yyuw": self.level, "bridge": self.water_bridge},
            "camera": {"vc0706": self.camera},
        }
        self.nodes = {role: self._node(unit, role) for unit, role in enumerate(self.roles, 1)}

    def _node(self, unit: int, role: str) -> UnixNode:
        spec = NodeSpec(
            name=role,
            role=role,
            uid=f"7f{unit:022x}",
            line=self.line.path(role),
            parts={name: part.path for name, part in self._parts[role].items()},
            settings={**self._settings, "unit_id": unit},
            key=secrets.token_hex(32),
        )
        return UnixNode(spec, self._folder / role)

    @property
    def port(self) -> str:
        """The serial port of the gateway."""
        return self.line.path(GATEWAY)

    def device_id(self, role: str) -> str:
        """How records name a node."""
        return f"tf-{self.nodes[role].spec.uid}"

    def unit(self, role: str) -> int:
        """The Modbus address of a node."""
        return self.roles.index(role) + 1

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.line)
        for parts in self._parts.values():
            for part in parts.values():
                self._stack.callback(part.close)
        for role in self.roles:
            for part in self._parts[role].values():
                part.start()
            self._stack.push_async_callback(self.nodes[role].kill)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def power_on(self) -> None:
        """Start every node; NodeError if one does not come up."""
        await asyncio.gather(*(node.start() for node in self.nodes.values()))

    async def reset(self, role: str) -> None:
        """Cut one node's power and switch it on: it has heard nothing in between."""
        node = self.nodes[role]
        await node.kill()
        self.line.flush(role)
        await node.start()
