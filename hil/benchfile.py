"""A bench written down in TOML: ``tianfu-hil bench FILE.toml``."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hil.bench import FAST, GATEWAY, ROLES, Place, one_of_each
from hil.bus.fault import Fault, Plan
from hil.engines.registry import KINDS
from hil.errors import HilError
from hil.sim.part import PartFault
from protocols.wire.registers import SETTINGS

EXAMPLE: Final = """\
# A bench for manual work: tianfu-hil bench FILE.toml
engine = "unix"             # unix, qemu or renode
seed = 1                    # draws the faults of line and parts
# baud = 9600               # pace the bytes of the line; without it they pass at once

[settings]                  # of every node, by the names of docs/registers.md
sample_period_ds = 10

[[node]]
name = "hall"
role = "air"                # air, water or camera
unit = 1                    # Modbus address
settings = { warmup_limit_s = 2 }   # of this node only
# settings = { link_baud_div_100 = 1152 }   # a serial link too, 115200 baud

[[node]]
name = "basin"
role = "water"
unit = 2

[parts.hall]                # how a part misbehaves: checksum, silent, garbage, saturated, warm-up
# pms5003 = "checksum"

# [[fault]]                 # of the line, or of a node's link; kinds and keys: hil/bus/fault.py
# link = "hall"
# kind = "byte-flip"
# rate = 0.01
# times = "unlimited"
"""


_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


class BenchFileError(HilError):
    """A file describes no bench; the text names file, key, value and remedy."""


@dataclass(frozen=True, slots=True)
class BenchFile:
    """The content of the file, checked."""

    engine: str
    seed: int
    places: tuple[Place, ...]
    baud: int | None
    settings: Mapping[str, int]
    parts: Mapping[str, Mapping[str, PartFault]] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    #: Faults of the serial link of a node, by its name.
    link_faults: Mapping[str, tuple[Fault, ...]] = field(default_factory=dict)


def read_bench(path: Path) -> BenchFile:
    """Read and check a file. BenchFileError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BenchFileError(
            f"{path}: {error.strerror}: `tianfu-hil bench --example > {path}` makes one"
        ) from error
    return parse_bench(text, str(path))


def parse_bench(text: str, where: str) -> BenchFile:
    """Check a text that came from ``where``. BenchFileError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BenchFileError(f"{where}: expected TOML: {error}") from error
    known = ("engine", "seed", "node", "roles", "baud", "settings", "parts", "fault")
    for key in data:
        _one_of(where, "key", key, known)
    engine = _one_of(where, "engine", data.get("engine", "unix"), tuple(KINDS))
    places = _places(where, data)
    settings = dict(FAST) | _settings(where, data.get("settings", {}))
    faults, link_faults = _faults(where, data.get("fault", []), _linked(places, settings))
    baud = data.get("baud")
    return BenchFile(
        engine=engine,
        seed=_integer(where, "seed", data.get("seed", 0), 0, 2**32 - 1),
        places=places,
        baud=None if baud is None else _integer(where, "baud", baud, 1200, 115_200),
        settings=settings,
        parts=_parts(where, data.get("parts", {}), [place.name for place in places]),
        faults=faults,
        link_faults=link_faults,
    )


def _linked(places: tuple[Place, ...], settings: Mapping[str, int]) -> tuple[str, ...]:
    """Return the nodes that have a serial link."""
    speed = {
        place.name: {**settings, **place.settings}.get("link_baud_div_100", 0) for place in places
    }
    return tuple(name for name, value in speed.items() if value)


def _faults(
    where: str, value: object, linked: tuple[str, ...]
) -> tuple[tuple[Fault, ...], dict[str, tuple[Fault, ...]]]:
    """Return the faults of the line, and those of the links by node."""
    of_links: dict[str, list[Fault]] = {}
    of_line: list[Fault] = []
    for number, table in enumerate(value if isinstance(value, list) else [value], 1):
        at = f"{where}: fault {number}"
        keys = dict(_table(at, "fault", table))
        link = keys.pop("link", None)
        try:
            faults = Plan.parse(json.dumps({"fault": [keys]}), where).fresh()
        except ValueError as error:
            raise BenchFileError(str(error).replace(": fault 1", f": fault {number}")) from error
        if link is None:
            of_line += faults
        elif not linked:
            raise BenchFileError(
                f"{at}: link: no node has a serial link, got {link!r}: give it a speed in its "
                "settings, link_baud_div_100"
            )
        else:
            of_links.setdefault(_one_of(at, "link", link, linked), []).extend(faults)
    return tuple(of_line), {name: tuple(faults) for name, faults in of_links.items()}


def _places(where: str, data: Mapping[str, object]) -> tuple[Place, ...]:
    """Return the nodes: the ``[[node]]`` tables, or one node for each entry of ``roles``."""
    if "node" not in data:
        roles = data.get("roles", list(ROLES))
        if not isinstance(roles, list) or not roles or len(set(map(str, roles))) != len(roles):
            raise BenchFileError(
                f"{where}: roles: expected a list of different roles, got {roles!r}; "
                "several nodes of one role are [[node]] tables"
            )
        return one_of_each([_one_of(where, "roles", role, ROLES) for role in roles])
    tables = data["node"]
    if "roles" in data or not isinstance(tables, list) or not tables:
        raise BenchFileError(f"{where}: node: expected [[node]] tables, and no roles beside them")
    places = []
    for number, value in enumerate(tables, 1):
        at = f"{where}: node {number}"
        table = _table(at, "node", value)
        for key in table:
            _one_of(at, "key", key, ("name", "role", "unit", "settings"))
        name = table.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BenchFileError(f"{at}: name: expected letters, digits, - and _, got {name!r}")
        places.append(
            Place(
                name,
                _one_of(at, "role", table.get("role"), ROLES),
                _integer(at, "unit", table.get("unit", number), 1, 247),
                _settings(at, table.get("settings", {})),
            )
        )
    for key in ("name", "unit"):
        values = [getattr(place, key) for place in places]
        if len(set(values)) != len(values):
            raise BenchFileError(f"{where}: node: expected every {key} once, got {values}")
    if any(place.name == GATEWAY for place in places):
        raise BenchFileError(f"{where}: node: name: {GATEWAY!r} is the line's own endpoint")
    return tuple(places)


def _table(where: str, key: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise BenchFileError(f"{where}: {key}: expected a table [{key}], got {value!r}")
    return value


def _settings(where: str, value: object) -> dict[str, int]:
    known = {setting.name: setting for setting in SETTINGS}
    settings: dict[str, int] = {}
    for name, number in _table(where, "settings", value).items():
        _one_of(where, "settings", name, tuple(known))
        low, high = known[name].low, known[name].high
        settings[name] = _integer(where, f"settings.{name}", number, low, high)
    return settings


def _parts(where: str, value: object, names: list[str]) -> dict[str, dict[str, PartFault]]:
    parts: dict[str, dict[str, PartFault]] = {}
    for node, table in _table(where, "parts", value).items():
        _one_of(where, "parts", node, tuple(names))
        parts[node] = {}
        for name, fault in _table(where, f"parts.{node}", table).items():
            kinds = tuple(kind.value for kind in PartFault)
            parts[node][name] = PartFault(_one_of(where, f"parts.{node}.{name}", fault, kinds))
    return parts


def _integer(where: str, key: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BenchFileError(
            f"{where}: {key}: expected an integer from {low} to {high}, got {value!r}"
        )
    return value


def _one_of(where: str, key: str, value: object, known: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in known:
        raise BenchFileError(
            f"{where}: {key}: expected one of {', '.join(known)}, got {value!r}; "
            "`tianfu-hil bench --example` shows every key"
        )
    return value
