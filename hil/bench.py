"""A bench: one RS-485 line, nodes on it, their serial links, simulated parts on the nodes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from hil.bus import DuplexLine, Rs485Line
from hil.engines.abilities import Bridged
from hil.engines.base import Board, Engine, KeepsLineTime, NodeSpec
from hil.engines.unix import UnixEngine
from hil.sim.a02yyuw import A02yyuw
from hil.sim.bridge import BridgedParts
from hil.sim.mhz19b import Mhz19b
from hil.sim.part import Part, Source
from hil.sim.pms5003 import Pms5003
from hil.sim.vc0706 import Vc0706
from hil.wires.pty import Pty
from hil.wires.wire import Wire
from protocols.identity import node_id

#: Endpoint of the master on the line, and of the gateway on each link.
GATEWAY: Final = "gateway"
ROLES: Final = ("air", "water", "camera")
#: A node samples every second and its parts are warm after two: a bench has no half hour.
FAST: Final[Mapping[str, int]] = {"sample_period_ds": 10, "warmup_limit_s": 2}


@dataclass(frozen=True, slots=True)
class Place:
    """One node of a bench. ``settings`` are its own, beside those of the whole bench."""

    name: str
    role: str
    unit: int  # Modbus address
    settings: Mapping[str, int] = field(default_factory=dict)


def one_of_each(roles: Sequence[str]) -> tuple[Place, ...]:
    """Return nodes named after their roles, with Modbus addresses from 1 on."""
    return tuple(Place(role, role, unit) for unit, role in enumerate(roles, 1))


class Bench:
    """The nodes that ``places`` lists, or one node of each of ``roles`` (see :func:`one_of_each`).

    Use as ``async with``: entering makes boards (of ``engine``, by default the host interpreter),
    line and parts; :meth:`power_on` starts the nodes. What still runs at the end is killed.
    ``pms``, ``mhz``, ``air_bridge``, ``level``, ``water_bridge`` and ``camera`` are the parts of
    the last node of their role, each with its fault switch; a bridge is there only where the engine
    has one in place of I2C, 1-Wire and ADC. A node whose settings have a speed of the serial link
    (``link_baud_div_100``) has its own line in ``links``, by name; it may have both.
    """

    line: Rs485Line
    pms: Pms5003
    mhz: Mhz19b
    air_bridge: BridgedParts
    level: A02yyuw
    water_bridge: BridgedParts
    camera: Vc0706

    def __init__(
        self,
        folder: Path,
        source: Source,
        *,
        engine: Engine | None = None,
        roles: Sequence[str] = ROLES,
        places: Sequence[Place] | None = None,
        settings: Mapping[str, int] = FAST,
        seed: int = 0,
        baud: int | None = None,
        release_keys: tuple[str, ...] = (),
    ) -> None:
        self.engine: Engine = engine or UnixEngine()
        self.places = tuple(places) if places is not None else one_of_each(roles)
        #: The names of the nodes: their roles, unless ``places`` gives others.
        self.names = tuple(place.name for place in self.places)
        self.nodes: dict[str, Board] = {}
        #: The parts of each node, by the name of the port they are wired to.
        self.parts: dict[str, dict[str, Part]] = {}
        self.links: dict[str, DuplexLine] = {}
        self._folder = folder
        self._source = source
        self._settings = settings
        self._seed = seed
        self._baud = baud
        self._release_keys = release_keys
        self._stack = AsyncExitStack()

    @property
    def port(self) -> str:
        """Return the serial port of the gateway."""
        return self.line.path(GATEWAY)

    @property
    def baud(self) -> int:
        """Return the line speed of the nodes, which sets their t3.5 and the master's."""
        return 100 * self._settings.get("baud_div_100", 96)

    def link_port(self, name: str) -> str:
        """Return the gateway's serial port of a node's link. LookupError for a node without."""
        if name not in self.links:
            raise LookupError(f"{name!r} has no link: expected one of {list(self.links)}")
        return self.links[name].path(GATEWAY)

    def device_id(self, name: str) -> str:
        """Return the device id of a node, as in the records."""
        return node_id(bytes.fromhex(self.nodes[name].spec.uid))

    def unit(self, name: str) -> int:
        """Return the Modbus address of a node."""
        return next(place.unit for place in self.places if place.name == name)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.engine)
            for place in self.places:
                spec, folder = self._spec(place), self._folder / place.name
                self.nodes[place.name] = await self.engine.board(spec, folder)
            wires: dict[str, Wire] = {GATEWAY: Pty(rx_limit=4095)}
            wires |= {name: board.wire("line") for name, board in self.nodes.items()}
            clock, baud = None, self._baud
            if isinstance(self.engine, KeepsLineTime):
                # In their time bytes pass at the nodes' own speed.
                clock, baud = self.engine.line_clock(), self._baud or self.baud
            self.line = Rs485Line(wires, seed=self._seed, baud=baud, clock=clock)
            await stack.enter_async_context(self.line)
            for index, (name, board) in enumerate(self.nodes.items()):
                if board.spec.link_baud:
                    # A board with a time of its own paces its UART itself.
                    pace = board.spec.link_baud if clock is None else None
                    ends: dict[str, Wire] = {GATEWAY: Pty(rx_limit=4095), name: board.wire("link")}
                    link = DuplexLine(ends, seed=self._seed + 7 * (index + 1), baud=pace)
                    self.links[name] = await stack.enter_async_context(link)
            for index, place in enumerate(self.places):
                earlier = sum(other.role == place.role for other in self.places[:index])
                node = self.nodes[place.name]
                self.parts[place.name] = self._parts(place.role, node, self._seed + 10 * earlier)
                for part in self.parts[place.name].values():
                    stack.callback(part.close)
                    part.start()
                stack.push_async_callback(node.kill)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _spec(self, place: Place) -> NodeSpec:
        return NodeSpec(
            name=place.name,
            role=place.role,
            uid=f"7f{place.unit:022x}",
            settings={**self._settings, **place.settings, "unit_id": place.unit},
            key=secrets.token_hex(32),
            release_keys=self._release_keys,
        )

    def _parts(self, role: str, board: Board, seed: int) -> dict[str, Part]:
        source = self._source
        parts: dict[str, Part] = {}
        if role == "air":
            self.pms = Pms5003(source, seed=seed + 1, wire=board.wire("pms5003"))
            self.mhz = Mhz19b(source, seed=seed + 2, wire=board.wire("mhz19b"))
            parts = {"pms5003": self.pms, "mhz19b": self.mhz}
            if isinstance(board, Bridged):
                self.air_bridge = parts["bridge"] = _bridged(board, source, seed + 3)
        elif role == "water":
            self.level = A02yyuw(source, seed=seed + 4, wire=board.wire("a02yyuw"))
            parts = {"a02yyuw": self.level}
            if isinstance(board, Bridged):
                self.water_bridge = parts["bridge"] = _bridged(board, source, seed + 5)
        else:
            self.camera = Vc0706(source, seed=seed + 6, wire=board.wire("vc0706"))
            parts = {"vc0706": self.camera}
        return parts

    async def power_on(self) -> None:
        """Start every node that is off. EngineError if one does not come up."""
        off = [node for node in self.nodes.values() if not node.is_running()]
        await asyncio.gather(*(node.start() for node in off))

    async def reset(self, name: str) -> None:
        """Cut one node's power and switch it on; it misses what is on the line meanwhile."""
        await self.nodes[name].power_cycle()


def _bridged(board: Bridged, source: Source, seed: int) -> BridgedParts:
    return BridgedParts(source, board.analog_inputs(), seed=seed, wire=board.bridge())
