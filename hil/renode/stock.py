"""Names in Renode's own `platforms/cpus/stm32f4.repl`: a fact to check our overlay against.

The same in 1.16.1 and in its successor (August 2026); written from reading both.
"""

from __future__ import annotations

from typing import Final

NAMES: Final = frozenset(
    {"fsmcBank1", "sram", "flash", "flash_controller", "nvic", "cpu", "pwr", "crc", "exti"}
    | {"usart1", "usart2", "usart3", "uart4", "uart5", "can1", "can2", "ethernet", "rom1", "rom2"}
    | {f"gpioPort{letter}" for letter in "ABCDEFGHIJK"}
    | {f"{bus}{number}" for bus in ("spi", "i2c") for number in (1, 2, 3)}
    | {f"timer{number}" for number in range(1, 15)}
    | {"dma1", "dma2", "rng", "iwdg", "rtc", "rcc", "nvicInput23", "nvicInput40"}
    | {"bitbandPeripherals", "bitbandSram", "sysbus"}
)
