"""The errors of an update."""

from typing import Final

from .kinds import FlashFault

NO_ESP: Final = FlashFault(
    64,
    "no ESP32 in its bootloader answers",
    "the board was not put into its bootloader, or another port was named",
    "hold BOOT while pressing EN, and repeat the command",
)
NO_VOLUME: Final = FlashFault(
    65,
    "no board shows itself as a volume",
    "BOOTSEL was not held while USB was connected, or the volume is not mounted",
    "hold BOOTSEL while connecting USB, open the volume once in the file manager, and repeat",
)
MANY_VOLUMES: Final = FlashFault(
    66,
    "several boards show themselves as volumes",
    "more than one board is in its bootloader",
    "name one by its mount point with --port, or unplug the others",
)
