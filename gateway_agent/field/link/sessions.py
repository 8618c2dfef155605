"""Which node has its session on which port, so that one unique id never has two.

Until it has proved its key a node is only a unique id, and a second board with the same id (a
copied flash, a spare that was left in place) could prove that too. The first keeps its session, the
second is refused, and both are named where an operator looks.
"""

from collections.abc import Iterable
from typing import NamedTuple

from protocols.wire.link.handshake import (
    KEY_NEEDED,
    NO_KEY,
    NOT_CONFIGURED,
    SAME_UID,
    WRONG_KEY_ID,
    WRONG_MAP,
    Hello,
)
from protocols.wire.registers import MAPS

from .pushing_node import PushingNode


class Refusal(NamedTuple):
    """Why a HELLO gets no session: the reason in the REFUSE, and a text for people."""

    reason: int
    text: str


class LinkSessions:
    """The nodes of all links, and where each has its session."""

    def __init__(self) -> None:
        self._nodes: dict[bytes, tuple[str, PushingNode]] = {}  # by unique id: name of its link
        self._where: dict[bytes, tuple[object, str]] = {}  # connection and port of the session
        self._doubles: dict[bytes, str] = {}

    def add(self, link: str, nodes: Iterable[PushingNode]) -> None:
        """Note the nodes that are configured on a link."""
        for node in nodes:
            self._nodes[node.uid] = link, node

    def remove(self, nodes: Iterable[PushingNode]) -> None:
        """Forget nodes that are configured no more, or anew."""
        for node in nodes:
            self._nodes.pop(node.uid, None)
            self._where.pop(node.uid, None)
            self._doubles.pop(node.uid, None)

    def check(self, link: str, port: str, line: object, hello: Hello) -> PushingNode | Refusal:
        """Return the node with the unique id of ``hello``, or why it gets no session here."""
        uid = hello.uid
        own, node = self._nodes.get(uid, ("", None))
        if node is None:
            return Refusal(
                NOT_CONFIGURED, f"the node with unique id {uid.hex()} is not configured: add it"
            )
        name = node.device.name
        if uid in self._where and self._where[uid][0] is not line:
            other = self._where[uid][1]
            self._doubles[uid] = f"a second node with its unique id is on {port}"
            return Refusal(
                SAME_UID,
                f"this node has the unique id of {name}, which has a session on {other}: two nodes"
                " with one id, or one that called in again before its old session ended",
            )
        if own != link:
            return Refusal(
                NOT_CONFIGURED,
                f"here is {name}, which is configured on bus {own}: plug it in there",
            )
        return self._check_key(node, hello)

    def _check_key(self, node: PushingNode, hello: Hello) -> PushingNode | Refusal:
        name, key = node.device.name, node.opened.key
        expected = 0 if key is None else key.key_id
        if hello.key_id == 0 and key is not None:
            return Refusal(
                KEY_NEEDED, f"{name} has no key, its key file holds key {expected}: provision it"
            )
        if hello.key_id != expected:
            text = f"{name} has key {hello.key_id}, its key file holds key {expected}"
            if key is None:
                text = f'{name} has key {hello.key_id}: name its file and remove auth = "none"'
            return Refusal(WRONG_KEY_ID, text)
        map = node.opened.map
        if hello.map_id != map.map_id:
            shown = f"map id 0x{hello.map_id:04x}, none of ours"
            shown = next((item.role for item in MAPS if item.map_id == hello.map_id), shown)
            return Refusal(WRONG_MAP, f"{name}: expected role {map.role}, the node is {shown}")
        return node

    def opened(self, line: object, port: str, node: PushingNode) -> None:
        """Note the session of a node."""
        self._where[node.uid] = line, port
        self._doubles.pop(node.uid, None)

    def closed(self, line: object, node: PushingNode) -> None:
        """Note that it ended, if it was this one."""
        if self._where.get(node.uid, (None,))[0] is line:
            del self._where[node.uid]

    def double(self, node: PushingNode) -> str:
        """Return where a second node with this unique id was refused since its session began."""
        return self._doubles.get(node.uid, "")


def key_bytes(node: PushingNode) -> bytes:
    """Return the key that a session of this node is proved with."""
    return NO_KEY if node.opened.key is None else node.opened.key.key
