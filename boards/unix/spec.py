"""The file that says what a node process is: ``main.py NODE.json``.

::

    {"role": "air", "uid": "<24 hex digits>", "store": "DIR", "line": "/dev/pts/3", "baud": 9600,
     "parts": {"pms5003": "/dev/pts/4", "bridge": "/dev/pts/5"}, "settings": {"unit_id": 2}}

``baud``, ``parts`` and ``settings`` may be left out. ``settings`` are what the board was
commissioned with, by register name; what is stored in the node goes before.
"""

import json

from micropython import const

from protocols.wire.registers import MAPS, SETTINGS
from protocols.wire.uid import parse_uid

_MAX_BYTES = const(8192)

KEYS = ("role", "uid", "store", "line", "baud", "parts", "settings")
PARTS = ("pms5003", "mhz19b", "bridge", "a02yyuw", "vc0706")


class SpecError(Exception):
    """The file is not usable; the text has one line per problem."""


class Spec:
    """A checked file."""

    def __init__(self, fields: "dict[str, object]") -> None:
        self._problems: list[str] = []
        for key in fields:
            if key not in KEYS:
                self._problem(key, "one of " + ", ".join(KEYS), key)
        self.role = self._text(fields, "role")
        roles = [map.role for map in MAPS]
        if self.role not in roles:
            self._problem("role", ", ".join(roles), self.role)
        self.uid = self._uid(self._text(fields, "uid"))
        self.store = self._text(fields, "store")
        self.line = self._text(fields, "line")
        self.parts = self._parts(fields.get("parts", {}))
        self.settings = self._settings(fields.get("settings", {}))
        baud = fields.get("baud", 9600)
        if isinstance(baud, int) and baud % 100 == 0 and 1200 <= baud <= 115200:
            if "baud_div_100" not in self.settings:
                self.settings["baud_div_100"] = baud // 100
        else:
            self._problem("baud", "a multiple of 100 from 1200 to 115200", baud)
        if self._problems:
            raise SpecError("\n".join(self._problems))

    def _problem(self, key: str, expected: str, got: object) -> None:
        self._problems.append("%s: expected %s, got %s" % (key, expected, repr(got)))

    def _text(self, fields: "dict[str, object]", key: str) -> str:
        value = fields.get(key)
        if not isinstance(value, str) or not value:
            self._problem(key, "a text", value)
            return ""
        return value

    def _uid(self, text: str) -> bytes:
        uid = parse_uid(text)
        if uid is None:
            self._problem("uid", "24 hex digits", text)
            return b""
        return uid

    def _parts(self, value: object) -> "dict[str, str]":
        parts: dict[str, str] = {}
        if not isinstance(value, dict):
            self._problem("parts", "an object of part name and tty", value)
            return parts
        for name in value:
            path = value[name]
            if name not in PARTS:
                self._problem("parts", "one of " + ", ".join(PARTS), name)
            elif not isinstance(path, str) or not path:
                self._problem("parts." + name, "the path of a tty", path)
            else:
                parts[name] = path
        return parts

    def _settings(self, value: object) -> "dict[str, int]":
        settings: dict[str, int] = {}
        if not isinstance(value, dict):
            self._problem("settings", "an object of register name and raw value", value)
            return settings
        known = {setting.name: setting for setting in SETTINGS}
        for name in value:
            raw = value[name]
            setting = known.get(name)
            if setting is None:
                self._problem("settings", "a name of docs/registers.md", name)
            elif not isinstance(raw, int) or not setting.low <= raw <= setting.high:
                expected = "%d to %d" % (setting.low, setting.high)
                self._problem("settings." + name, expected, raw)
            else:
                settings[name] = raw
        return settings


def load(path: str) -> Spec:
    """Read and check a file; SpecError says everything that is wrong with it."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise SpecError("%s: cannot be read (%s)" % (path, error))
    if len(data) > _MAX_BYTES:
        raise SpecError("%s: longer than %d bytes" % (path, _MAX_BYTES))
    try:
        fields = json.loads(data)
    except ValueError:
        raise SpecError(path + ": is not JSON")
    if not isinstance(fields, dict):
        raise SpecError(path + ": expected a JSON object")
    try:
        return Spec(fields)
    except SpecError as error:
        lines = str(error).split("\n")
        raise SpecError("\n".join([path + ": " + line for line in lines]))
