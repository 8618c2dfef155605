"""What is wired where on the board that emulators run: read from the tables of its image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, convert

from boards.folder import default_name, store_area, tables
from hil.sim.analog import PROBES, AnalogInput
from hil.sim.part import Water


class _Uart(Struct, frozen=True):
    port: str
    baud: int = 0  # of the console; a line's is a setting, a part's its own
    parts: dict[str, str] = {}  # by role


class _Channel(AnalogInput, frozen=True):
    channel: int


class _Board(Struct, frozen=True):
    """What a bench needs of board.toml."""

    uart: dict[str, _Uart]
    adc: dict[str, _Channel]


_NAME: Final = default_name()
_BOARD: Final = convert(tables(_NAME), _Board)

ROLES: Final = tuple(_BOARD.uart["first"].parts)
CONSOLE: Final = _BOARD.uart["console"].port
CONSOLE_BAUD: Final = _BOARD.uart["console"].baud
#: As the board's PARTS have them; a test compares both.
PART_BAUDS: Final[Mapping[str, int]] = {
    "pms5003": 9600,
    "a02yyuw": 9600,
    "vc0706": 38400,
    "mhz19b": 9600,
}
#: The chip's UART behind the line, the serial link and each part, by role.
PORTS: Final[Mapping[str, Mapping[str, str]]] = {
    role: {
        **{name: _BOARD.uart[name].port for name in ("line", "link")},
        **{uart.parts[role]: uart.port for uart in _BOARD.uart.values() if role in uart.parts},
    }
    for role in ROLES
}
#: UARTs that no role uses.
SPARE: Final[Mapping[str, str]] = {
    name: uart.port for name, uart in _BOARD.uart.items() if name.startswith("spare")
}
ADC_CHANNELS: Final[Mapping[str, int]] = {name: entry.channel for name, entry in _BOARD.adc.items()}
_CLEAR: Final = Water(distance=1953, temperature=12.5, ph=7.0, turbidity=0.0)
#: The 12 bit codes of clear water, by channel.
ADC_CODES: Final[Mapping[int, int]] = {
    entry.channel: entry.code(PROBES[name](_CLEAR)) for name, entry in _BOARD.adc.items()
}
#: The record store's sectors.
STORE_ADDRESS, STORE_BYTES = store_area(_NAME)
