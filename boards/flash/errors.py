"""What can go wrong while a board is flashed: one table, from which docs/errors.md is made.

An error begins with its code, so that a technician can look it up and a program can compare it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from boards.errors import BoardError

PREFIX: Final = "TF-FLASH"
ON_SITE: Final = "TF-SITE"


@dataclass(frozen=True, slots=True)
class FlashFault:
    """One row: what it is, why it happens, what to do about it."""

    number: int
    title: str
    cause: str
    action: str
    prefix: str = PREFIX

    @property
    def code(self) -> str:
        """The code as it is printed."""
        return f"{self.prefix}-{self.number:03}"


NO_PORT: Final = FlashFault(
    1,
    "the port cannot be opened",
    "the path is wrong, or the adapter is not plugged in",
    "plug the adapter in and give the path that `ls /dev/serial/by-id` shows",
)
PORT_BUSY: Final = FlashFault(
    2,
    "another program uses the port",
    "a terminal, an agent or another flash job has the port open",
    "end that program and repeat the command",
)
NO_PERMISSION: Final = FlashFault(
    3,
    "you may not use the port",
    "the system gives serial ports to a group that you are not in",
    "type `sudo usermod -aG dialout $USER` and log in again, or put "
    'KERNEL=="ttyUSB[0-9]*|ttyACM[0-9]*", TAG+="uaccess" into '
    "/etc/udev/rules.d/70-serial.rules and plug the adapter in again",
)
CABLE: Final = FlashFault(
    4,
    "the port failed while it was in use",
    "the cable or the adapter was pulled, or lost its power",
    "connect it again and repeat the same command: it begins anew and leaves nothing half done",
)
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
KEY_FILE: Final = FlashFault(
    40,
    "the node's key cannot be stored on this computer",
    "the folder is not writable or the disk is full",
    "name another folder with --keys, and repeat the command",
)
NO_ADDRESS: Final = FlashFault(
    45,
    "no address is left",
    "the station log has a proven node at each of the 247 addresses of a bus",
    "name the address with --unit, or begin another station log with --log",
)
BATCH_STOPPED: Final = FlashFault(
    46,
    "two boards in a row failed in the same way",
    "what they have in common is the cause: cable, adapter, supply, image or bus",
    "look up the code of the failures, mend that, and repeat the command",
)
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
UNSUPPORTED: Final = FlashFault(
    56,
    "the node runs a firmware that this program does not understand",
    "its registers are of another version than this program's",
    "install the program of the firmware's version, or flash the node with this one's image",
)
SITE_NO_NODE: Final = FlashFault(
    70,
    "no such node at this address",
    "another address or speed, another node, or firmware from before such windows",
    "check --unit, --baud, --uid, wiring and power (`tianfu-node probe`), and repeat the command",
    ON_SITE,
)
SITE_DUPLICATE: Final = FlashFault(
    71,
    "several nodes have one address",
    "they were provisioned alike",
    "give one of them another: `tianfu-node commission address PORT --uid ID --to N --key FILE`",
    ON_SITE,
)
SITE_TAKEN: Final = FlashFault(
    72,
    "the new address is taken",
    "another device on the line has it",
    "choose another with --to; nothing was changed",
    ON_SITE,
)
SITE_RETURNED: Final = FlashFault(
    73,
    "the node was not heard at the new place and came back",
    "the line or another device on it does not carry the new speed, or the line is noisy",
    "the node is where it was; choose another speed or address, and repeat the command",
    ON_SITE,
)
SITE_LOST: Final = FlashFault(
    74,
    "the node is heard at neither place",
    "its power or the cable was cut meanwhile",
    "restore power and cable: it serves at one of the two places; look with `tianfu-node probe`",
    ON_SITE,
)
SITE_UNSTEADY: Final = FlashFault(
    75,
    "the probe does not come to rest",
    "it is not in the liquid, needs more time, or its cable is loose",
    "stir, wait, and repeat the command; the node has its old coefficients",
    ON_SITE,
)
SITE_PROBE: Final = FlashFault(
    76,
    "the probe is not usable",
    "it is worn, dirty or dry, or the references were swapped or are too old",
    "clean the probe, take fresh references, and repeat the command; else replace the probe",
    ON_SITE,
)

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

FAULTS: Final[Sequence[FlashFault]] = (
    NO_PORT,
    PORT_BUSY,
    NO_PERMISSION,
    CABLE,
    SILENT,
    NO_LOADER,
    REFUSED,
    STALLED,
    NO_DFU,
    MANY_DFU,
    NO_PROBE,
    NO_TARGET,
    LOW_VOLTAGE,
    NO_USB_PERMISSION,
    WRONG_CHIP,
    READ_PROTECTED,
    WRITE_PROTECTED,
    IMAGE,
    TWINS,
    NO_REPL,
    WRONG_PORT,
    OTHER_MICROPYTHON,
    REPL_FAILED,
    FIRMWARE,
    MISMATCH,
    WRONG_IMAGE,
    KEY_FILE,
    NO_ADDRESS,
    BATCH_STOPPED,
    NO_NODE,
    OTHER_NODE,
    NOT_PROVEN,
    SELF_TEST,
    NO_POWER_CYCLE,
    STILL_IN_LOADER,
    UNSUPPORTED,
    SITE_NO_NODE,
    SITE_DUPLICATE,
    SITE_TAKEN,
    SITE_RETURNED,
    SITE_LOST,
    SITE_UNSTEADY,
    SITE_PROBE,
    NO_ESP,
    NO_VOLUME,
    MANY_VOLUMES,
)


class FlashingError(BoardError):
    """A board was not flashed; ``fault`` is the row of the table, ``what`` this case of it."""

    def __init__(self, fault: FlashFault, what: str) -> None:
        super().__init__(f"{fault.code}: {what}; {fault.action}")
        self.fault = fault
        self.what = what
