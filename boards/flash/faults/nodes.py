"""The errors of a node on its bus, after it was flashed."""

from typing import Final

from .kinds import FlashFault

NO_NODE: Final = FlashFault(
    50,
    "the node does not answer on its bus",
    "the bus port is another one, A and B are swapped, or the node did not start",
    "check the wiring of the bus port, set BOOT0 low, press reset, and repeat the command",
)
OTHER_NODE: Final = FlashFault(
    51,
    "the node that answers is not the board that was flashed",
    "another node with the same address is on the bus",
    "leave only the board that was flashed on the bus, and repeat the command",
)
NOT_PROVEN: Final = FlashFault(
    52,
    "the node's samples are not signed with the key that it was given",
    "the node did not read its record store",
    "repeat the command; a board that fails twice is to be thrown away",
)
SELF_TEST: Final = FlashFault(
    53,
    "the node's self-test failed",
    "a part of the chip is damaged, or its flash takes nothing",
    "repeat the command; a board that fails twice is to be thrown away",
)
NO_POWER_CYCLE: Final = FlashFault(
    54,
    "the node was not seen to start again from power on",
    "its power was not taken away in time, or it was reset in another way, or it did not come back",
    "repeat the command; when it asks, set BOOT0 low, take the board's power away and give it back",
)
STILL_IN_LOADER: Final = FlashFault(
    55,
    "the node is silent, and the bootloader of its chip answers",
    "BOOT0 is still high, so the chip started its bootloader again",
    "set BOOT0 low, press reset, and repeat the command",
)
OTHER_CHIP: Final = FlashFault(
    57,
    "the node's unique id is not the one that the USB serial number was derived from",
    "another node with the same role, image and address is on the bus, or the chip is a copy whose "
    "bootloader shows a number of its own",
    "leave only the board that was flashed on the bus, and repeat the command; a copied chip: use "
    "--method uart or swd",
)
UNSUPPORTED: Final = FlashFault(
    56,
    "the node runs a firmware that this program does not understand",
    "its registers are of another version than this program's",
    "install the program of the firmware's version, or flash the node with this one's image",
)
