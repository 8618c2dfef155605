"""A pseudo terminal that an emulator made, as a wire: we open the end it names.

The other way round than :class:`hil.wires.pty.Pty`. Renode's other offer, a TCP server, listens on
all interfaces, where anybody could talk to the node; a terminal belongs to this user alone.
"""

from __future__ import annotations

import errno
import os
import termios
from pathlib import Path

from hil.wires.descriptor import TX_LIMIT, DescriptorWire
from hil.wires.whole_answers import WholeAnswers


def _set_raw(fd: int) -> None:
    # Every flag anew, not some of them: Renode makes its terminals after the one it was started
    # on, and without one after whatever its memory held.
    attributes = termios.tcgetattr(fd)
    flags = [0, 0, termios.CS8 | termios.CREAD | termios.CLOCAL, 0]
    speeds = [termios.B115200, termios.B115200]
    attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, [*flags, *speeds, attributes[6]])


class PtyWire(DescriptorWire):
    """A wire whose far end is a terminal that :meth:`connect` opens by its name.

    :meth:`flush` does not reach the up to 4095 bytes that the emulator has yet to read: Linux does
    not take them back, with tcflush either.
    """

    def __init__(self, tx_limit: int = TX_LIMIT) -> None:
        super().__init__(tx_limit)
        #: The terminal's own name, for tools that know a terminal by it.
        self.path = ""

    def connect(self, link: Path) -> None:
        """Open the terminal that ``link`` names, raw, in the running event loop. OSError.

        Call it before the node sends: a terminal that is not raw yet echoes what it receives.
        """
        self.disconnect()
        self.path = os.path.realpath(link)
        fd = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            _set_raw(fd)
        except termios.error as error:
            os.close(fd)
            raise OSError(errno.ENOTTY, "expected a terminal", self.path) from error
        self.attach(fd)


class PtyLine(WholeAnswers, PtyWire):
    """The RS-485 port of a Renode: an answer is heard when it is whole, which costs no time.

    On a line no pause of 3 ms stands in an answer, and a fault of a whole answer hits it once.
    """

    #: All of Renode may stand still in an answer: a host without a free CPU, .NET itself.
    hold_s = 1.0
