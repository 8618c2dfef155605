"""The errors of bootloaders and programmers: they do not answer, or not as they should."""

from typing import Final

from .kinds import FlashFault

SILENT: Final = FlashFault(
    10,
    "no bootloader answers",
    "BOOT0 was low at the last reset, RX and TX are swapped, or the board has no power",
    "set BOOT0 high, press reset, and repeat the command",
)
NO_LOADER: Final = FlashFault(
    11,
    "what answers is no bootloader",
    "the firmware runs instead of the bootloader, or another speed or device is on the port",
    "set BOOT0 high, press reset, and repeat the command; a lower --baud helps on long wires",
)
REFUSED: Final = FlashFault(
    12,
    "the bootloader refused a command",
    "the line garbles bytes, or the bootloader lacks the command",
    "repeat the command with a lower --baud; if it comes again, use another adapter",
)
STALLED: Final = FlashFault(
    13,
    "the bootloader stopped answering",
    "the board lost its power or was reset",
    "set BOOT0 high, press reset, and repeat the same command",
)
NO_DFU: Final = FlashFault(
    14,
    "no board in DFU mode is plugged in",
    "BOOT0 was low at the last reset, the USB cable only charges, or --port names another socket",
    "set BOOT0 high (pyboard: connect P1 with 3V3), press reset, and repeat the command",
)
MANY_DFU: Final = FlashFault(
    15,
    "several boards in DFU mode are plugged in",
    "boards in DFU mode cannot be told apart by their serial numbers, only by their USB sockets",
    "name one by its USB path with --port, as `dfu-util -l` shows it, or unplug the others",
)
NO_PROBE: Final = FlashFault(
    16,
    "no ST-LINK is plugged in",
    "the ST-LINK's USB cable is not connected, or --port names another serial number",
    "connect the ST-LINK (on a Discovery board: the mini-USB socket), and repeat the command",
)
NO_TARGET: Final = FlashFault(
    17,
    "the ST-LINK finds no chip",
    "SWDIO, SWCLK or GND is not connected, or the board has no power",
    "check the three wires and the board's power, hold reset while the command begins, repeat it",
)
LOW_VOLTAGE: Final = FlashFault(
    18,
    "the board's supply voltage is too low to flash it",
    "the ST-LINK measures less than the chip needs to erase its flash",
    "give the board its 3.3 V, connect the ST-LINK's VAPP/VDD to it, and repeat the command",
)
NO_USB_PERMISSION: Final = FlashFault(
    19,
    "you may not use the USB device",
    "the system gives a bootloader or an ST-LINK on USB to root alone",
    'put SUBSYSTEM=="usb", ATTR{idVendor}=="0483", TAG+="uaccess" into '
    "/etc/udev/rules.d/70-stm32.rules, plug the device in again, and repeat the command",
)
