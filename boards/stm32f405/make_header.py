"""Make the C header of the board: ``make_header.py peripherals.toml board.toml OUT.h``.

What it takes from ``peripherals.toml``: every table. What it takes from ``board.toml``: ``[uart]``
(``port`` names a UART of peripherals.toml; ``tx``, ``rx`` and, where there is a driver-enable pin,
``de`` are pins such as "PA9"; ``console`` and ``line`` must be among the names), ``[i2c] bus``
(``port``, ``scl``, ``sda``) and the entries of ``[adc]`` (``pin``, ``channel``). Any other key is
not looked at. Plain Python 3.11, so that a build needs nothing else.
"""

import re
import sys
import tomllib
from pathlib import Path

Entry = dict[str, str | int]
Table = dict[str, Entry]

_PIN = re.compile(r"P([A-I])(1[0-5]|[0-9])")


class HeaderError(Exception):
    """A table lacks what the port needs; the text names it."""


def pin(where: str, text: object) -> int:
    """Return the number the port uses for a pin: 16 times the GPIO port plus the pin."""
    match = _PIN.fullmatch(str(text))
    if match is None:
        raise HeaderError(f"{where}: expected a pin such as PA9, got {text!r}")
    return (ord(match[1]) - ord("A")) * 16 + int(match[2])


def look_up(where: str, entry: Entry, key: str, table: Table) -> str:
    """Return the peripheral that ``entry[key]`` names."""
    name = entry.get(key)
    if not isinstance(name, str) or name not in table:
        raise HeaderError(f"{where}.{key}: expected one of {sorted(table)}, got {name!r}")
    return name


def header(chip: dict[str, Table], board: dict[str, Table]) -> str:
    """Return the text of the header."""
    lines = ["// Made by make_header.py from peripherals.toml and board.toml.", "#pragma once", ""]

    def define(name: str, value: int) -> None:
        lines.append(f"#define {name.upper()} ({value:#x})")

    for kind in ("uart", "i2c", "adc", "system", "memory"):
        for name, entry in chip[kind].items():
            for key, value in entry.items():
                if isinstance(value, int):
                    define(f"{name}_{key}", value)
    for name, hertz in chip["clock"].items():
        lines.append(f"#define CLOCK_{name.upper()}_HZ ({hertz})")

    lines += ["", "// number, peripheral, base, irq, apb, enable bit, af, tx, rx, de (-1: none)"]
    lines.append("#define BOARD_UARTS(X) \\")
    names: dict[str, str] = {}
    for name, entry in board["uart"].items():
        where = f"board.toml: uart.{name}"
        port = look_up(where, entry, "port", chip["uart"])
        if port in names.values():
            raise HeaderError(f"{where}.port: {port} is used twice")
        names[name] = port
        made = chip["uart"][port]
        de = pin(where, entry["de"]) if "de" in entry else -1
        lines.append(
            f"    X({port[-1]}, {port}, {made['base']:#x}, {made['irq']}, {str(made['clock'])[-1]},"
            f" {made['enable']}, {made['af']}, {pin(where, entry.get('tx'))},"
            f" {pin(where, entry.get('rx'))}, {de}) \\"
        )
    lines.append("")
    for name in ("console", "line"):
        if name not in names:
            raise HeaderError(f"board.toml: uart: expected an entry {name}, got {sorted(names)}")
        define(f"board_uart_{name}", int(names[name][-1]))

    bus = board["i2c"]["bus"]
    look_up("board.toml: i2c.bus", bus, "port", chip["i2c"])
    for key in ("scl", "sda"):
        define(f"board_i2c_{key}", pin(f"board.toml: i2c.bus.{key}", bus.get(key)))
    lines.append("\n// pin, channel of ADC1\n#define BOARD_ADC_CHANNELS(X) \\")
    for name, entry in board["adc"].items():
        where = f"board.toml: adc.{name}"
        lines.append(f"    X({pin(where, entry.get('pin'))}, {entry['channel']}) \\")
    return "\n".join([*lines, "", ""])


def main(arguments: list[str]) -> int:
    """Read both tables, write the header; 2 and a line on stderr if they do not fit."""
    if len(arguments) != 4:
        print("usage: make_header.py peripherals.toml board.toml OUT.h", file=sys.stderr)
        return 2
    chip, board = (tomllib.loads(Path(name).read_text("utf-8")) for name in arguments[1:3])
    try:
        text = header(chip, board)
    except HeaderError as error:
        print(error, file=sys.stderr)
        return 2
    out = Path(arguments[3])
    if not out.exists() or out.read_text("utf-8") != text:
        out.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
