"""Give a node another address and speed, so that it is never lost.

The node tries them (:mod:`protocols.wire.site`): it is back by itself unless it is heard there,
proves its key, and is told to stay in a write that is signed for the new address. Whatever is cut
in between, power, cable or this program, it is at one of the two places.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from boards.flash.errors import (
    SITE_DUPLICATE,
    SITE_LOST,
    SITE_NO_NODE,
    SITE_RETURNED,
    SITE_TAKEN,
    FlashingError,
)
from boards.node_line import NodeLine, NodeLineError, NodeRefusal, NodeSilence
from firmware.node.identity import NodeKey
from protocols.wire.modbus.pdu import DEVICE_FAILURE
from protocols.wire.site import KEEP, TRIAL

from .find import Presence, answer_s, is_taken, nodes_at, order

#: How long a node stays where it is tried.
TRIAL_S: Final = 15
_SWITCH_S: Final = 0.4  # from its answer on
_AGAIN_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Berth:
    """Where a node serves."""

    unit: int
    baud: int

    def __str__(self) -> str:
        """Return it as a technician reads it."""
        return f"address {self.unit} at {self.baud} baud"


def pick(line: NodeLine, nodes: Sequence[Presence], uid: bytes | None) -> Presence:
    """Return the node that is meant. FlashingError: there is none, or more than one."""
    if uid is not None:
        for node in nodes:
            if node.uid == uid:
                return node
        raise FlashingError(
            SITE_NO_NODE, f"{line.port}, address {line.unit}: no node with unique id {uid.hex()}"
        )
    if not nodes:
        raise FlashingError(SITE_NO_NODE, f"{line.port}, address {line.unit}: no node of ours")
    if len(nodes) > 1:
        names = ", ".join(node.uid.hex() for node in nodes)
        raise FlashingError(
            SITE_DUPLICATE, f"{line.port}, address {line.unit}: {len(nodes)} nodes: {names}"
        )
    return nodes[0]


def move(
    port: str,
    here: Berth,
    there: Berth,
    key: NodeKey | None,
    uid: bytes | None = None,
    *,
    trial_s: int = TRIAL_S,
    show: Callable[[str], None] = lambda _text: None,
) -> bytes:
    """Move a node and return its unique id. FlashingError, NodeLineError: it is where it was."""
    with NodeLine(port, here.unit, here.baud, answer_s=answer_s(here.baud)) as line:
        nodes = nodes_at(line)
        node = pick(line, nodes, uid)
        show(f"node {node.uid.hex()} is at {here}")
        if node.commissioned and key is None:
            raise NodeLineError("expected the node's key, for it takes signed writes only: --key")
        if key is not None and len(nodes) == 1:
            line.check_key(key, line.identity())
        if there.unit != here.unit:
            line.unit = there.unit
            if is_taken(line):
                raise FlashingError(SITE_TAKEN, f"{port}: something answers at {there.unit}")
            line.unit = here.unit
        try:
            order(line, node, TRIAL, [there.unit, there.baud // 100, trial_s], key)
        except NodeSilence:
            show("its answer did not come; it is looked for at both places")
    end = time.monotonic() + trial_s + 2 * _SWITCH_S
    time.sleep(_SWITCH_S)
    show(f"it is tried at {there} for {trial_s} s")
    if _stays(port, there, key, node.uid, end):
        show(f"node {node.uid.hex()} is at {there}")
        return node.uid
    show("it was not heard there; waiting until it is back")
    time.sleep(max(0.0, end - time.monotonic()) + _SWITCH_S)
    for place in (here, there):
        with NodeLine(port, place.unit, place.baud, answer_s=answer_s(place.baud)) as line:
            if any(each.uid == node.uid for each in nodes_at(line)):
                if place == there:
                    return node.uid
                raise FlashingError(
                    SITE_RETURNED, f"{port}: node {node.uid.hex()} was not heard at {there}"
                )
    raise FlashingError(
        SITE_LOST, f"{port}: node {node.uid.hex()} is at neither {here} nor {there}"
    )


def _stays(port: str, there: Berth, key: NodeKey | None, uid: bytes, end: float) -> bool:
    """Have the node keep where it is tried; False if it is not heard there before ``end``."""
    wanted = [there.unit, there.baud // 100]
    while time.monotonic() < end:
        try:
            with NodeLine(port, there.unit, there.baud, answer_s=answer_s(there.baud)) as line:
                nodes = [each for each in nodes_at(line) if each.uid == uid]
                if nodes and line.settings()[:2] == wanted:
                    return True
                if nodes:
                    if key is not None:
                        line.check_key(key, line.identity())
                    order(line, nodes[0], KEEP, [1], key)
                    if line.settings()[:2] == wanted:
                        return True
        except NodeRefusal as error:
            if error.code != DEVICE_FAILURE:
                raise
            raise NodeLineError(
                f"{port}: node {uid.hex()} cannot store its settings (status store-volatile): it "
                "comes back by itself; repair or replace the board"
            ) from error
        except NodeLineError:
            pass  # it is asked again while the trial lasts
        time.sleep(_AGAIN_S)
    return False
