"""Which nodes answer at one address: two of them garble each other, so they are asked apart.

Each node has a place from 0 to 65535, another for each salt. A request names a window of places and
only who stands in it answers: noise halves the window, an answer splits it around who gave it.
That ends with every node found, in about two requests each, and no node waits a time by chance.
"""

import secrets
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from boards.node_line import NodeLine, NodeRefusal, NodeSilence
from firmware.node.identity import NodeKey
from protocols.modbus_client import (
    Read,
    WriteCounter,
    read_request,
    select_request,
    write_by_uid_request,
)
from protocols.wire.modbus.pdu import READ_HOLDING
from protocols.wire.site import SELECT_WORDS, place

_TOP: Final = 0xFFFF
_SALTS: Final = 4  # two nodes in one place of each of them: one pair in 2**64
_ASKED_AGAIN: Final = 2  # silence is believed when it came this often
_NODE_S: Final = 0.25  # a node's own time: it may just be collecting its heap
_FRAMES: Final = 60  # characters of the longest question and its answer


@dataclass(frozen=True, slots=True)
class Presence:
    """A node that answered, and the counter of its next signed write."""

    uid: bytes
    unit: int
    commissioned: bool
    counter: WriteCounter


#: Ask the window; a node's answer, True for noise, None for silence.
Window = Callable[[int, int, int], Presence | bool | None]


def find(ask: Window) -> list[Presence]:
    """Return every node behind ``ask``, in the order of their unique ids."""
    found: dict[bytes, Presence] = {}
    for _ in range(_SALTS):
        salt = secrets.randbelow(_TOP + 1)
        if _search(ask, salt, 0, _TOP, found):
            break
    return [found[uid] for uid in sorted(found)]


def _search(ask: Window, salt: int, low: int, high: int, found: dict[bytes, Presence]) -> bool:
    """Search a window; False if nodes share one place of it."""
    if low > high:
        return True
    came = ask(salt, low, high)
    if came is None:
        return True
    if isinstance(came, Presence):
        found[came.uid] = came
        here = place(salt, came.uid)
        if low <= here <= high:
            left = _search(ask, salt, low, here - 1, found)
            return _search(ask, salt, here + 1, high, found) and left
        # A late answer to another question: of this window it shows no more than noise does.
    if low == high:
        return False
    middle = (low + high) // 2
    left = _search(ask, salt, low, middle, found)
    return _search(ask, salt, middle + 1, high, found) and left


def answer_s(baud: int) -> float:
    """Return how long a node of ours takes at most to answer such a question."""
    return _NODE_S + _FRAMES * 10 / baud


def nodes_at(line: NodeLine) -> list[Presence]:
    """Return every node of ours at the line's address. NodeLineError."""

    def ask(salt: int, low: int, high: int) -> Presence | bool | None:
        for _ in range(_ASKED_AGAIN):
            try:
                answer = line.ask(select_request(line.unit, salt, low, high))
            except NodeSilence as error:
                if error.noise_bytes:
                    return True
            except NodeRefusal:
                return None  # a node of before such windows, or another maker's
            else:
                if len(answer) != 2 + 2 * SELECT_WORDS:
                    return True
                fields = struct.unpack_from(">12sHHII", answer, 2)
                return Presence(
                    fields[0], fields[1], bool(fields[2]), WriteCounter(fields[3], fields[4])
                )
        return None

    return find(ask)


def is_taken(line: NodeLine) -> bool:
    """Return whether anything answers at the line's address, a node or not. NodeLineError."""
    for _ in range(_ASKED_AGAIN):
        try:
            line.ask(read_request(line.unit, Read(READ_HOLDING, 0, 1)))
        except NodeSilence as error:
            if error.noise_bytes:
                return True
        except NodeRefusal:
            return True
        else:
            return True
    return False


def order(
    line: NodeLine, node: Presence, register: int, values: Sequence[int], key: NodeKey | None
) -> None:
    """Send a write that only this node takes. NodeLineError; NodeSilence: it may have."""
    mac = None if key is None else key.mac
    line.ask(write_by_uid_request(line.unit, register, values, mac, node.uid, node.counter))
