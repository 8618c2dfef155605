"""What a board was commissioned as: its role, its unique id, the settings it starts with.

::

    {"role": "air", "uid": "<24 hex digits>", "settings": {"unit_id": 2}}

``uid`` may be left out: then the chip's own counts. With it a replaced board keeps its name.
``settings`` may be left out too; they are raw values by register name, and what a master stores
later goes before. A board keeps this text in its store under ``NAME``.
"""

import json

from micropython import const

from protocols.wire.registers import MAPS, SETTINGS
from protocols.wire.uid import parse_uid

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Files

NAME = "board"
_KEYS = ("role", "uid", "settings")


class CommissionError(Exception):
    """A board is not commissioned, or wrongly; the text has one line per problem."""


class Commission:
    """A checked commission. ``uid`` is None where the chip's own counts.

    ``others`` are further keys that may be there; a subclass reads them, reports what is wrong with
    :meth:`wrong` and calls :meth:`check` at its end.
    """

    def __init__(self, fields: "dict[str, object]", others: "tuple[str, ...]" = ()) -> None:
        self._problems: list[str] = []
        for key in fields:
            if key not in _KEYS and key not in others:
                self.wrong(key, "one of " + ", ".join(_KEYS + others), key)
        role = fields.get("role")
        roles = [map.role for map in MAPS]
        if role not in roles:
            self.wrong("role", "one of " + ", ".join(roles), role)
        self.role = str(role)
        uid = fields.get("uid")
        self.uid = parse_uid(uid)
        if self.uid is None and uid is not None:
            self.wrong("uid", "24 hex digits", uid)
        self.settings = self._settings(fields.get("settings", {}))

    def wrong(self, key: str, expected: str, got: object) -> None:
        """Note a problem."""
        self._problems.append("%s: expected %s, got %s" % (key, expected, repr(got)))

    def check(self) -> "Commission":
        """Return itself; CommissionError if something is wrong."""
        if self._problems:
            raise CommissionError("\n".join(self._problems))
        return self

    def _settings(self, value: object) -> "dict[str, int]":
        settings: dict[str, int] = {}
        if not isinstance(value, dict):
            self.wrong("settings", "an object of register name and raw value", value)
            return settings
        known = {setting.name: setting for setting in SETTINGS}
        for name in value:
            raw = value[name]
            setting = known.get(name)
            if setting is None:
                self.wrong("settings", "a name of docs/registers.md", name)
            elif not isinstance(raw, int) or not setting.allows(raw):
                self.wrong("settings." + name, "%d to %d" % (setting.low, setting.high), raw)
            else:
                settings[name] = raw
        return settings


def fields_of(content: bytes) -> "dict[str, object]":
    """Return the fields of a JSON object. CommissionError for any other text."""
    try:
        fields = json.loads(content)
    except ValueError:
        raise CommissionError("is no JSON")
    if not isinstance(fields, dict):
        raise CommissionError("expected a JSON object, got " + repr(fields))
    return fields


def parse(content: bytes) -> Commission:
    """Return the commission in a store's content. CommissionError."""
    return Commission(fields_of(content)).check()


def read(store: "Files") -> Commission:
    """Return the commission that a store holds. CommissionError."""
    content = store.read(NAME)
    if content is None:
        raise CommissionError(
            "no record '%s' in %s: provision this board" % (NAME, store.directory)
        )
    try:
        return parse(content)
    except CommissionError as error:
        raise CommissionError("record '%s' in %s: %s" % (NAME, store.directory, error))
