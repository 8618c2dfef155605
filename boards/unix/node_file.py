"""The file that makes a process a node: ``main.py NODE.json``.

::

    {"role": "air", "uid": "<24 hex digits>", "store": "DIR", "line": "/dev/pts/3", "baud": 9600,
     "link": "/dev/pts/6",
     "parts": {"pms5003": "/dev/pts/4", "bridge": "/dev/pts/5"}, "settings": {"unit_id": 2}}

Role, unique id and settings are a board's commission (:mod:`firmware.node.commission`); a process
has no unique id of its own, so it needs one. ``link``, ``baud``, ``parts``,
``settings`` and ``release_keys`` may be left out. A ``link`` is the tty of the serial link and
switches it on, unless the settings have a speed of it. ``release_keys`` (texts of 64 hex digits)
gives the node slots for updates that are signed with one of these keys.
"""

from micropython import const

from firmware.node.commission import Commission, CommissionError, fields_of

_MAX_BYTES = const(8192)
_BAUD = const(9600)
_LINK_DIV_100 = const(1152)
_KEYS = ("store", "line", "link", "baud", "parts", "release_keys")
PARTS = ("pms5003", "mhz19b", "bridge", "a02yyuw", "vc0706")


class NodeFile(Commission):
    """A checked file."""

    def __init__(self, fields: "dict[str, object]") -> None:
        Commission.__init__(self, fields, _KEYS)
        if fields.get("uid") is None:
            self.wrong("uid", "24 hex digits", None)
        self.store = self._text(fields, "store")
        self.line = self._text(fields, "line")
        self.link = self._text(fields, "link") if "link" in fields else None
        if self.link and "link_baud_div_100" not in self.settings:
            self.settings["link_baud_div_100"] = _LINK_DIV_100
        self.parts = self._parts(fields.get("parts", {}))
        self.release_keys: list[bytes] | None = None
        if "release_keys" in fields:
            from .release_keys import read  # most processes have none

            self.release_keys = read(self, fields["release_keys"])
        baud = fields.get("baud", _BAUD)
        if isinstance(baud, int) and baud % 100 == 0 and 1200 <= baud <= 115200:
            if "baud_div_100" not in self.settings:
                self.settings["baud_div_100"] = baud // 100
        else:
            self.wrong("baud", "a multiple of 100 from 1200 to 115200", baud)
        self.check()

    def _text(self, fields: "dict[str, object]", key: str) -> str:
        value = fields.get(key)
        if not isinstance(value, str) or not value:
            self.wrong(key, "a text", value)
            return ""
        return value

    def _parts(self, value: object) -> "dict[str, str]":
        parts: dict[str, str] = {}
        if not isinstance(value, dict):
            self.wrong("parts", "an object of part name and tty", value)
            return parts
        for name in value:
            path = value[name]
            if name not in PARTS:
                self.wrong("parts", "one of " + ", ".join(PARTS), name)
            elif not isinstance(path, str) or not path:
                self.wrong("parts." + name, "the path of a tty", path)
            else:
                parts[name] = path
        return parts


def load(path: str) -> NodeFile:
    """Read and check a file. CommissionError names everything that is wrong with it."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise CommissionError("%s: cannot be read (%s)" % (path, error))
    if len(data) > _MAX_BYTES:
        raise CommissionError("%s: longer than %d bytes" % (path, _MAX_BYTES))
    try:
        return NodeFile(fields_of(data))
    except CommissionError as error:
        raise CommissionError("\n".join([path + ": " + line for line in str(error).split("\n")]))
