"""What is wired where on the STM32F405 board: read from the tables its image is built from."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Final

from msgspec import Struct, convert

from boards.spec import FOLDER


class _Uart(Struct, frozen=True):
    port: str
    parts: dict[str, str] = {}  # by role


class _Channel(Struct, frozen=True):
    channel: int


class _Board(Struct, frozen=True):
    """What a bench needs of board.toml."""

    uart: dict[str, _Uart]
    adc: dict[str, _Channel]


class _Area(Struct, frozen=True):
    base: int
    size: int


class _Chip(Struct, frozen=True):
    """What a bench needs of peripherals.toml."""

    memory: dict[str, _Area]


def _read(name: str) -> Mapping[str, object]:
    return tomllib.loads((FOLDER / "stm32f405" / name).read_text(encoding="utf-8"))


_BOARD: Final = convert(_read("board.toml"), _Board)
_STORE: Final = convert(_read("peripherals.toml"), _Chip).memory["store"]

ROLES: Final = tuple(_BOARD.uart["first"].parts)
CONSOLE: Final = _BOARD.uart["console"].port
#: The chip's UART behind the line and each part, by role.
PORTS: Final[Mapping[str, Mapping[str, str]]] = {
    role: {
        "line": _BOARD.uart["line"].port,
        **{uart.parts[role]: uart.port for uart in _BOARD.uart.values() if role in uart.parts},
    }
    for role in ROLES
}
#: UARTs that no role uses.
SPARE: Final[Mapping[str, str]] = {
    name: uart.port for name, uart in _BOARD.uart.items() if name.startswith("spare")
}
ADC_CHANNELS: Final[Mapping[str, int]] = {name: entry.channel for name, entry in _BOARD.adc.items()}
#: The record store's sectors.
STORE_ADDRESS: Final = _STORE.base
STORE_BYTES: Final = _STORE.size
