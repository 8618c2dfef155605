"""What a bench asks of every engine: one interface for Renode, QEMU and the host interpreter.

An :class:`Engine` makes boards; a :class:`Board` is one node with its power switch, its wires and
its console. What only some of them can do is in :mod:`hil.engines.abilities`. Times are seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from hil.engines.abilities import Capability, HasConsole, Power
from hil.wires.virtual_clock import VirtualClock
from hil.wires.wire import Wire


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What one node is, whatever runs it.

    ``uid`` is 24 hex digits, ``settings`` are raw values by register name (``docs/registers.md``),
    ``key`` is 64 hex digits, or None for a node without a key.
    """

    name: str
    role: str
    uid: str
    settings: Mapping[str, int] = field(default_factory=dict)
    key_id: int = 1
    key: str | None = None
    baud: int = 9600
    release_keys: tuple[str, ...] = ()  # 64 hex digits each: it takes updates, if its engine can

    @property
    def line_baud(self) -> int:
        """Return the speed of its line: that of its settings, or ``baud``."""
        return 100 * self.settings.get("baud_div_100", self.baud // 100)

    @property
    def link_baud(self) -> int:
        """Return the speed of its serial link; 0: it has none."""
        return 100 * self.settings.get("link_baud_div_100", 0)


class Board(Power, HasConsole, Protocol):
    """One node. It is made switched off; ``wire`` works before ``start``."""

    spec: NodeSpec
    folder: Path
    #: The fields of the last boot line: boot_epoch, role, mem_alloc and others.
    boot: Mapping[str, object]

    def wire(self, port: str) -> Wire:
        """Return the UART called ``line`` or like a part (``pms5003``, ``mhz19b``, ...).

        LookupError lists the names.
        """

    async def stop_sampling(self, limit_s: float = ...) -> Mapping[str, object]:
        """Stop sampling, go on serving; return sampled_frames, sampled_readings, boot_epoch."""


class Engine(Protocol):
    """Makes boards. Use as ``async with``: what still runs at the end is killed, in the order it
    was made.
    """

    name: str
    capabilities: frozenset[Capability]

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def board(self, spec: NodeSpec, folder: Path) -> Board:
        """Make a board in ``folder`` (made if missing; its store survives restarts)."""


@runtime_checkable
class KeepsLogs(Protocol):
    """An engine whose emulator writes logs."""

    def logs(self) -> Mapping[str, Callable[[], str]]:
        """Return what reads each log as it is now, by file name."""


@runtime_checkable
class KeepsTime(Protocol):
    """An engine whose boards share a virtual time."""

    def virtual_s(self) -> float:
        """Return the virtual seconds since its first board was made."""


@runtime_checkable
class RunsAhead(Protocol):
    """An engine that can let the time of its boards run ahead of the host's."""

    #: Set it before entering: for a test that nothing outside has to keep up with.
    ahead: bool


@runtime_checkable
class KeepsLineTime(Protocol):
    """An engine whose boards have a virtual time that a line can go by."""

    def line_clock(self) -> VirtualClock:
        """Return that time, inside ``async with``."""
