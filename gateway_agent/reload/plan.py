"""What a reload would change, key by key, and what of it only a new start can change."""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway_agent.config import GatewayConfig
from gateway_agent.redaction import public_url

ABSENT: Final = ""
_Flat: TypeAlias = dict[str, str]

_NEXT_START: Final = (
    "it cannot be changed while the agent runs, %s: restore it and reload the rest, or stop the"
    " agent and start it with this file"
)


class Rule(NamedTuple):
    """What a change of the keys that begin with ``keys`` does, or why it is refused.

    ``by``: who may change them in a running agent; ``file``: only its own file does.
    """

    keys: str
    effect: str
    by: Literal["all", "file", "nobody"] = "all"


#: The first that fits holds; :mod:`.parts` does what it says. Of buses and devices: `_effect`.
RULES: Final = (
    Rule("gateway.", _NEXT_START % "which records and signs under this identity", "nobody"),
    Rule("outbox.max_bytes", _NEXT_START % "which has opened its outbox with it", "nobody"),
    Rule("outbox.", "applied at once"),
    Rule("reload.", "holds from the next reload on"),
    Rule("orders.", "orders are taken from these keys from now on, and from no others", "file"),
    Rule("uplink.", "the uplink connects anew; records wait in the outbox meanwhile"),
    Rule(
        "exporter.",
        "this exporter begins anew where it was; one that is removed loses its place",
    ),
    Rule("web.", "the console begins anew"),
    Rule("alarm.", "applied at once; alarms of other rules keep their state"),
    Rule(
        "notify.",
        "this receiver begins anew with what waits for it; what waits for one that is removed is"
        " named as lost",
    ),
    Rule("otlp.", "metrics are pushed anew"),
)
_OWN_FILE: Final = (
    "who may order is changed by the gateway's own file only: edit that and use `tianfu-gateway"
    " reload`"
)
_ARRAYS: Final = ("device",)
_SHOWN: Final = 200  # characters of a table that comes or goes
_LABELS: Final = (".title", ".place", ".note")


class ConfigChange(Struct, frozen=True, kw_only=True):
    """One row of a difference. ``old`` and ``new`` are as a person writes them, "" for nothing."""

    path: str  # as bus.roof.device.air-1.period_ms
    old: str
    new: str
    effect: str  # what applying it does, or why it is refused
    refused: bool = False


class ReloadPlan(Struct, frozen=True, kw_only=True):
    """What a new configuration would change. ``problems``: why it cannot be applied at all."""

    digest: str  # SHA-256 of the new configuration
    rows: tuple[ConfigChange, ...]
    problems: tuple[str, ...] = ()

    @property
    def is_possible(self) -> bool:
        """Return whether it can be applied."""
        return not self.problems


def changes(old: GatewayConfig, new: GatewayConfig, is_own_file: bool) -> tuple[ConfigChange, ...]:
    """Return the differences, in the order of the new configuration, removed keys last.

    ``is_own_file``: the new one is the operator's file on the gateway.
    """
    before, after = _flat(old), _flat(new)
    paths = [path for path in after if before.get(path) != after[path]]
    paths += [path for path in before if path not in after]
    tables = _tables(before) & _tables(after)
    paths = list(dict.fromkeys(_whole(path, tables) for path in paths))
    buses = {bus.name for bus in (*old.bus, *old.link)}, {bus.name for bus in (*new.bus, *new.link)}
    rows = []
    for path in paths:
        row = ConfigChange(
            path=path,
            old=_shown(path, before),
            new=_shown(path, after),
            effect=_effect(path, *buses),
        )
        rows.append(row)
    return tuple(judged(row, is_own_file) for row in rows)


def judged(row: ConfigChange, is_own_file: bool) -> ConfigChange:
    """Return the row of a difference with what the rule of its key says."""
    for keys, effect, by in RULES:
        if not row.path.startswith(keys):
            continue
        refused = by == "nobody" or (by == "file" and not is_own_file)
        effect = _OWN_FILE if refused and by == "file" else effect
        return replace(row, effect=effect, refused=refused)
    return row


def refusals(rows: tuple[ConfigChange, ...]) -> tuple[str, ...]:
    """Return a sentence for each row that cannot be applied."""
    return tuple(
        f"{row.path}: expected {row.old or 'nothing'}, as it is in force, got"
        f" {row.new or 'nothing'}; {row.effect}"
        for row in rows
        if row.refused
    )


def _tables(keys: _Flat) -> set[str]:
    """Return the paths of all tables, each with a dot at its end."""
    found: set[str] = set()
    for key in keys:
        parts = key.split(".")
        found.update(".".join(parts[:count]) + "." for count in range(2, len(parts)))
    return found


def _whole(path: str, tables: set[str]) -> str:
    """Return the path of the table that comes or goes whole with a key, or of the key itself.

    ``tables``: that are there before and after.
    """
    parts = path.split(".")
    for count in range(2, len(parts)):
        table = ".".join(parts[:count]) + "."
        if parts[count - 1] not in _ARRAYS and table not in tables:
            return table
    return path


def _shown(path: str, keys: _Flat) -> str:
    if not path.endswith("."):
        return _visible(path, keys[path]) if path in keys else ABSENT
    found = [f"{key.removeprefix(path)} = {_visible(key, value)}" for key, value in keys.items()
             if key.startswith(path)]  # fmt: skip
    text = ", ".join(found)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " ..."


def _visible(key: str, value: str) -> str:
    is_url = key.endswith(".url")
    return msgspec.json.encode(public_url(msgspec.json.decode(value))).decode() if is_url else value


def _effect(path: str, old_buses: set[str], new_buses: set[str]) -> str:
    _, _, rest_of_bus = path.partition(".")
    bus, *rest = rest_of_bus.split(".", 1)
    if bus not in old_buses:
        return "this bus begins"
    if bus not in new_buses:
        return "this bus ends; what is missed of its devices is named"
    if path.endswith(_LABELS):
        return "applied at once, no poll is missed"
    if rest and rest[0].startswith("device."):
        return "this device alone begins, ends or changes; its bus pauses between two polls"
    return "this bus opens its port anew; other buses are not disturbed"


def _flat(config: GatewayConfig) -> _Flat:
    """Return every key of a configuration with its value; tables with a name have it as key."""
    found: _Flat = {}
    for path, value in _leaves("", msgspec.to_builtins(config, enc_hook=str)):
        found[path] = value
    return found


_TABLES: Final = {"exporters": "exporter", "link": "bus"}


def _leaves(path: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            at = f"{path}.{key}" if path else str(_TABLES.get(key, key))
            yield from _leaves(at, item)
    elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
        for index, item in enumerate(value):
            yield from _leaves(f"{path}.{item.get('name') or item.get('type') or index}", item)
    elif value is not None and value != []:
        yield path, msgspec.json.encode(value).decode()
