"""The errors of the board itself, of what is to be written, and of what was written."""

from typing import Final

from .kinds import FlashFault

WRONG_CHIP: Final = FlashFault(
    20,
    "the board has another chip than the one named",
    "another board is on the port, or --board names the wrong one",
    "connect the right board, or name it with --board (`tianfu-node boards` lists them)",
)
READ_PROTECTED: Final = FlashFault(
    21,
    "the chip is read-out protected",
    "somebody set its protection; to take it away erases the whole flash, keys included",
    "repeat the command with --unlock if everything on the board may be lost",
)
WRITE_PROTECTED: Final = FlashFault(
    22,
    "the chip does not let a sector be erased or written",
    "the sector's write protection is on, or the supply voltage is too low",
    "check the 3.3 V supply; else take the protection away with ST's tool, and repeat the command",
)
IMAGE: Final = FlashFault(
    23,
    "the image cannot be flashed",
    "it could not be built, or it is empty or larger than its place in flash",
    "run `tianfu-node build BOARD`, or name another file with --image",
)
TWINS: Final = FlashFault(
    24,
    "two boards show one unique id",
    "a board was plugged in twice, or a copied chip has the id of another",
    "unplug one of them and repeat the command; if both show it alone too, throw one away",
)
NO_REPL: Final = FlashFault(
    25,
    "no MicroPython answers on the port",
    "the board has no MicroPython yet, its program never gives way, or another port was named",
    "press reset and repeat; a board without MicroPython: name the port's release with --firmware",
)
WRONG_PORT: Final = FlashFault(
    26,
    "the board runs MicroPython for another chip",
    "another board is on the port, or --board names the wrong one",
    "connect the right board, or name it with --board (`tianfu-node boards` lists them)",
)
OTHER_MICROPYTHON: Final = FlashFault(
    27,
    "the board's MicroPython cannot run the node's files",
    "it is older than 1.19 or has another bytecode than mpy-cross writes",
    "give it a release from 1.25 on, with --firmware, and repeat the command",
)
REPL_FAILED: Final = FlashFault(
    28,
    "MicroPython failed while files were copied",
    "the file system is full or damaged, the cable was pulled, or the board was reset",
    "connect the board again and repeat the same command: what is right already is kept",
)
FIRMWARE: Final = FlashFault(
    29,
    "the firmware file is not for this board",
    "it is another board's or another format, it is cut off, or it was changed",
    "fetch the release for this board anew, and name it with --firmware",
)
MISMATCH: Final = FlashFault(
    30,
    "the flash does not hold what was written",
    "the flash is worn or the supply is unstable",
    "repeat the command; a board that fails twice is to be thrown away",
)
WRONG_IMAGE: Final = FlashFault(
    31,
    "the image is made for another board",
    "--image names the file of another board, or a file that is no image",
    "name the right file with --image, or leave it out: the board's own is built",
)
