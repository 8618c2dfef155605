"""What a board was commissioned as: the JSON text in the record ``board`` of its store.

::

    {"role": "air", "uid": "<24 hex digits>", "settings": {"unit_id": 2}}

``uid`` may be left out: then the chip's own counts. With it a replaced board keeps its name.
``settings`` may be left out too; they are what the board starts with, by register name, and what
is stored by a master later goes before.
"""

import json

from protocols.wire.registers import MAPS, SETTINGS
from protocols.wire.uid import parse_uid

NAME = "board"
KEYS = ("role", "uid", "settings")


class RecordError(Exception):
    """The record is not usable; the text names the field, what was expected and what it is."""


class Record:
    """A checked record. ``uid`` is None where the chip's own counts."""

    def __init__(self, role: str, uid: bytes | None, settings: "dict[str, int]") -> None:
        self.role = role
        self.uid = uid
        self.settings = settings


def parse(content: bytes) -> Record:
    """The record in a store's content. RecordError."""
    try:
        fields = json.loads(content)
    except ValueError:
        raise RecordError("is no JSON")
    if not isinstance(fields, dict):
        raise _wrong("", "an object", fields)
    for key in fields:
        if key not in KEYS:
            raise _wrong("", "keys of " + ", ".join(KEYS), key)
    role = fields.get("role")
    roles = [map.role for map in MAPS]
    if role not in roles:
        raise _wrong("role", "one of " + ", ".join(roles), role)
    return Record(role, _uid(fields.get("uid")), _settings(fields.get("settings", {})))


def _uid(text: object) -> bytes | None:
    if text is None:
        return None
    uid = parse_uid(text)
    if uid is None:
        raise _wrong("uid", "24 hex digits", text)
    return uid


def _settings(value: object) -> "dict[str, int]":
    if not isinstance(value, dict):
        raise _wrong("settings", "an object of register name and raw value", value)
    known = {setting.name: setting for setting in SETTINGS}
    for name in value:
        setting = known.get(name)
        if setting is None:
            raise _wrong("settings", "names of docs/registers.md", name)
        raw = value[name]
        if not isinstance(raw, int) or not setting.low <= raw <= setting.high:
            raise _wrong("settings." + name, "%d to %d" % (setting.low, setting.high), raw)
    return value


def _wrong(field: str, expected: str, got: object) -> RecordError:
    return RecordError("%s: expected %s, got %s" % (field or "record", expected, repr(got)))
