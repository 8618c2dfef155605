"""Faults of the line, and plans of them that can be written to a file and repeated."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Final, Self

from protocols.modbus_client.frames import SHORTEST_FRAME


class FaultKind(StrEnum):
    """What a fault does: to one burst, to single bytes, or to an endpoint for a while."""

    # To one burst
    FLIP = "flip"  # one bit inverted: a wrong CRC
    DROP = "drop"  # nobody receives it
    DUPLICATE = "duplicate"  # received twice
    NOISE = "noise"  # `size` random bytes before it
    CUT = "cut"  # only the first `size` bytes are received
    DELAY = "delay"  # received `delay_s` later: a late answer
    FOREIGN = "foreign"  # first byte replaced by `unit`, CRC made good again: another node answers
    SPLIT = "split"  # a pause of `delay_s` inside it; 0: a little over t1.5
    # To each byte, with `rate`
    BYTE_FLIP = "byte-flip"  # one bit inverted
    BYTE_DROP = "byte-drop"  # not received
    BYTE_DUPLICATE = "byte-duplicate"  # received twice
    BYTE_INSERT = "byte-insert"  # a random byte before it
    # To an endpoint, for `lasts_s` or until disarmed
    STUCK = "stuck"  # its driver holds the line at `level`: nothing gets through
    SWAP = "swap"  # its A and B are swapped: it receives and sends every bit inverted
    UNPLUG = "unplug"  # it is off the line


BYTE_KINDS: Final = frozenset(
    (
        FaultKind.BYTE_FLIP,
        FaultKind.BYTE_DROP,
        FaultKind.BYTE_DUPLICATE,
        FaultKind.BYTE_INSERT,
    )
)
STATE_KINDS: Final = frozenset((FaultKind.STUCK, FaultKind.SWAP, FaultKind.UNPLUG))


@dataclass(slots=True)
class Fault:
    """An armed fault: applied to the next ``times`` bursts of ``origin`` (None: of any endpoint).

    For the byte kinds ``times`` counts bytes, for the endpoint kinds there is one application.
    ``times`` None means until :meth:`~hil.bus.line.Rs485Line.disarm`; ``rate`` is the share of
    bursts or bytes it hits, drawn from the line's seeded generator. The first ``after`` bursts of
    its origin pass. ``applied`` counts. ValueError for a value out of its range.
    """

    kind: FaultKind
    origin: str | None = None
    times: int | None = 1
    rate: float = 1.0
    size: int = 4
    delay_s: float = 0.0
    unit: int = 247
    after: int = 0
    level: int = 0
    lasts_s: float | None = None
    applied: int = field(default=0, compare=False)
    seen: int = field(default=0, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.kind = FaultKind(self.kind)
        if self.times is not None and self.times < 1:
            raise ValueError(f"times: expected 1 or more, or none, got {self.times}")
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate: expected 0 to 1, got {self.rate}")
        if not 0 <= self.unit <= 255:
            raise ValueError(f"unit: expected 0 to 255, got {self.unit}")
        if self.level not in (0, 1):
            raise ValueError(f"level: expected 0 or 1, got {self.level}")
        for name in ("size", "delay_s", "after", "lasts_s"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name}: expected 0 or more, got {value}")
        if self.kind in STATE_KINDS and self.origin is None:
            raise ValueError(f"origin: {self.kind} is of one endpoint, expected its name")

    def fits(self, burst: bytes) -> bool:
        """Return whether it would change this burst: a short answer cannot be cut at byte 20."""
        if self.kind is FaultKind.CUT:
            return len(burst) > self.size
        if self.kind is FaultKind.SPLIT:
            return len(burst) > 1
        return self.kind is not FaultKind.FOREIGN or len(burst) >= SHORTEST_FRAME

    def concerns(self, origin: str) -> bool:
        """Return whether it is armed for what this endpoint sends."""
        return self.origin is None or self.origin == origin

    def used_up(self) -> bool:
        """Return whether its last application is over."""
        if self.kind in STATE_KINDS:
            return self.applied > 0
        return self.times is not None and self.applied >= self.times


@dataclass(frozen=True, slots=True)
class FaultApplied:
    """One application of a fault: to byte ``at`` of what was sent, -1: to all of it."""

    kind: FaultKind
    origin: str
    at: int
    detail: str

    def __str__(self) -> str:
        where = f" at byte {self.at}" if self.at >= 0 else ""
        return f"{self.kind}{where}: {self.detail}"


#: Fields that a written plan has; the others count what happened.
_WRITTEN: Final = tuple(f for f in fields(Fault) if f.compare)


@dataclass(frozen=True, slots=True)
class Plan:
    """A seed and the faults of a run, in the order they are armed: enough to repeat it.

    ``Plan.parse(plan.to_toml()) == plan``; JSON likewise.
    """

    seed: int = 0
    faults: tuple[Fault, ...] = ()

    def fresh(self) -> tuple[Fault, ...]:
        """Return copies that have hit nothing yet."""
        return tuple(
            Fault(**{f.name: getattr(fault, f.name) for f in _WRITTEN}) for fault in self.faults
        )

    def _tables(self) -> list[dict[str, str | int | float]]:
        tables = []
        for fault in self.faults:
            plain = asdict(fault)
            table = {
                f.name: str(plain[f.name]) if f.name == "kind" else plain[f.name]
                for f in _WRITTEN
                if f.name == "kind" or plain[f.name] != f.default
            }
            if table.get("times", 1) is None:
                table["times"] = "unlimited"
            tables.append(table)
        return tables

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps({"seed": self.seed, "fault": self._tables()})

    def to_toml(self) -> str:
        """Return TOML: ``seed``, and one ``[[fault]]`` table for each fault."""
        lines = [f"seed = {self.seed}"]
        for table in self._tables():
            lines += ["", "[[fault]]"]
            # A JSON string or number is a TOML one; names of endpoints are plain text.
            lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        return "\n".join(lines) + "\n"

    @classmethod
    def parse(cls, text: str, where: str = "plan") -> Self:
        """Read TOML or JSON. ValueError names ``where``, the fault, the key and the remedy."""
        try:
            data: object = (
                json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
            )
        except ValueError as error:
            raise ValueError(f"{where}: expected TOML or JSON: {error}") from None
        if not isinstance(data, dict):
            raise ValueError(f"{where}: expected a table, got {type(data).__name__}")
        unknown = data.keys() - {"seed", "fault"}
        if unknown:
            raise ValueError(f"{where}: unknown key {min(unknown)!r}; known are seed and fault")
        seed, tables = data.get("seed", 0), data.get("fault", [])
        if type(seed) is not int:
            raise ValueError(f"{where}: seed: expected an integer, got {seed!r}")
        if not isinstance(tables, list):
            raise ValueError(f"{where}: expected [[fault]] tables, got {tables!r}")
        return cls(seed, tuple(_fault(t, f"{where}: fault {i}") for i, t in enumerate(tables, 1)))


def _fault(table: object, where: str) -> Fault:
    if not isinstance(table, Mapping):
        raise ValueError(f"{where}: expected a table, got {table!r}")
    names = [f.name for f in _WRITTEN]
    for key in table:
        if key not in names:
            raise ValueError(f"{where}: unknown key {key!r}; known are {', '.join(names)}")
    kinds = ", ".join(FaultKind)
    if table.get("kind") not in list(FaultKind):
        raise ValueError(f"{where}: kind: expected one of {kinds}, got {table.get('kind')!r}")

    def number(key: str, default: float) -> float:
        value = table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{where}: {key}: expected a number, got {value!r}")
        return value

    def integer(key: str, default: int) -> int:
        value = table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{where}: {key}: expected an integer, got {value!r}")
        return value

    origin = table.get("origin")
    if origin is not None and not isinstance(origin, str):
        raise ValueError(f"{where}: origin: expected an endpoint's name, got {origin!r}")
    try:
        return Fault(
            FaultKind(table["kind"]),
            origin,
            None if table.get("times") == "unlimited" else integer("times", 1),
            number("rate", 1.0),
            integer("size", 4),
            number("delay_s", 0.0),
            integer("unit", 247),
            integer("after", 0),
            integer("level", 0),
            None if table.get("lasts_s") is None else number("lasts_s", 0.0),
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}" if where not in str(error) else str(error)) from None
