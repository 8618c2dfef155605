"""The errors of a serial port that cannot be used, before anything is asked of a board."""

from typing import Final

from .kinds import FlashFault

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
