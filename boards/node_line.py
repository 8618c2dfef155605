"""One node on a serial line, as a technician's tool asks it: identity, registers, signed writes.

A gateway's agent owns its lines: beside it the line is reached through it (:mod:`.node_port`).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from firmware.node.identity import NodeKey
from protocols.modbus_client import (
    Read,
    Request,
    WriteCounter,
    decode_identification,
    identify_request,
    read_request,
    signed_write_request,
    write_request,
)
from protocols.modbus_client.identification import (
    ALL_OBJECTS,
    IMAGE_OBJECT,
    PRODUCT_OBJECT,
    ROLE_OBJECT,
    UID_OBJECT,
    VENDOR,
    VENDOR_OBJECT,
)
from protocols.modbus_client.names import EXCEPTION_NAMES
from protocols.wire.errors import UNKNOWN, PeerError
from protocols.wire.modbus.pdu import (
    EXCEPTION,
    ILLEGAL_ADDRESS,
    ILLEGAL_VALUE,
    NAK,
    READ_HOLDING,
    READ_INPUT,
)
from protocols.wire.registers import (
    COMMISSIONED_ADDRESS,
    EVENT_ADDRESS,
    EVENT_WORDS,
    MAPS,
    RAW_ADDRESS,
    SAMPLE_ADDRESS,
    SETTINGS,
    RegisterMap,
    map_of_role,
)
from protocols.wire.sample import (
    Event,
    Header,
    Sample,
    decode,
    decode_events,
    read_header,
    verify,
)
from protocols.wire.uid import parse_uid

from .errors import BoardError
from .flash.errors import UNSUPPORTED, FlashingError
from .node_port import NoAnswer, Tap, open_node_port

_TRIES: Final = 3
_ANSWER_S: Final = 1.0
_OBJECTS: Final = (VENDOR_OBJECT, UID_OBJECT)  # where an answer begins: its objects are in two


class NodeLineError(BoardError):
    """A node cannot be reached or refuses; the text has the remedy."""


class NodeSilence(NodeLineError):
    """No answer came; ``noise_bytes`` that are none came instead."""

    def __init__(self, text: str, noise_bytes: int = 0) -> None:
        super().__init__(text)
        self.noise_bytes = noise_bytes


class NodeRefusal(NodeLineError):
    """The node answered with an exception; ``code`` is its number."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """What a node is, by its own account: nothing of it is authenticated."""

    uid: bytes
    map: RegisterMap
    product: str
    image: str  # SHA-256 of the image that runs, in hex; empty of a board without an image


@dataclass(frozen=True, slots=True)
class WriteState:
    """Whether a node takes signed writes only, the counter of the next, and how many it refused."""

    commissioned: bool
    counter: WriteCounter
    refused: int


class NodeLine:
    """The line to one node; use it in a ``with`` block. NodeLineError from every method.

    ``tries`` and ``answer_s`` are how often it is asked and how long it is waited for; ``tap``
    takes every frame that was sent (True) and what came (False).
    """

    def __init__(
        self,
        port: str,
        unit: int,
        baud: int,
        *,
        answer_s: float | None = None,
        tries: int = _TRIES,
        tap: Tap = lambda _sent, _data: None,
    ) -> None:
        self.port = port
        self.unit = unit
        self._answer_s = _ANSWER_S if answer_s is None else answer_s
        self._tries = tries
        self._line = open_node_port(port, baud, tap)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._line.close()

    # --- what a node shows --------------------------------------------------------------------

    def identity(self) -> NodeIdentity:
        """Ask who the node is."""
        objects: dict[int, bytes] = {}
        for first in _OBJECTS:
            answer = self._ask(identify_request(self.unit, ALL_OBJECTS, first))
            try:
                objects |= decode_identification(answer).objects
            except PeerError as error:
                raise NodeLineError(f"{self._where()}: {error}") from error
        uid = parse_uid(objects.get(UID_OBJECT, b"").decode("latin-1"))
        role = objects.get(ROLE_OBJECT, b"").decode("latin-1")
        vendor, product = objects.get(VENDOR_OBJECT, b""), objects.get(PRODUCT_OBJECT, b"")
        if vendor != VENDOR or uid is None or role not in [map.role for map in MAPS]:
            raise NodeLineError(
                f"{self._where()}: expected a node of ours, got a device that identifies itself as "
                f"{vendor!r} {product!r}"
            )
        image = objects.get(IMAGE_OBJECT, b"").hex()
        return NodeIdentity(uid, map_of_role(role), product.decode("latin-1"), image)

    def write_state(self) -> WriteState:
        """Read whether the node wants signed writes, and the counter."""
        try:
            data = self._read(READ_HOLDING, COMMISSIONED_ADDRESS, 6)
        except NodeRefusal as error:
            if error.code != ILLEGAL_ADDRESS:
                raise
            # Firmware from before signed writes.
            return WriteState(False, WriteCounter(0, 0), 0)
        commissioned, epoch, number, refused = struct.unpack(">HIIH", data)
        return WriteState(bool(commissioned), WriteCounter(epoch, number), refused)

    def settings(self) -> list[int]:
        """Read the raw values of all settings, by address."""
        return self.holding(0, len(SETTINGS))

    def holding(self, address: int, words: int) -> list[int]:
        """Read holding registers."""
        return list(struct.unpack(f">{words}H", self._read(READ_HOLDING, address, words)))

    def raw(self, map: RegisterMap) -> list[int]:
        """Read what the part of each point gave at the last sample."""
        count = len(map.points)
        return list(struct.unpack(f">{count}H", self._read(READ_INPUT, RAW_ADDRESS, count)))

    def sample(self, map: RegisterMap) -> tuple[bytes, Sample]:
        """Read the sample frame; return it as it came and decoded, its tag not checked.

        FlashingError of a node whose registers are of another version.
        """
        frame = self._read(READ_INPUT, SAMPLE_ADDRESS, map.words)
        try:
            return frame, decode(frame)
        except PeerError as error:
            if error.code == UNKNOWN:
                raise FlashingError(UNSUPPORTED, f"{self._where()}: {error}") from error
            raise NodeLineError(f"{self._where()}: sample frame: {error}") from error

    def events(self) -> tuple[bytes, Header, tuple[Event, ...]]:
        """Read the event frame; return it as it came and decoded, its tag not checked.

        FlashingError of a node whose registers are of another version.
        """
        frame = self._read(READ_INPUT, EVENT_ADDRESS, EVENT_WORDS)
        try:
            return frame, *decode_events(frame)
        except PeerError as error:
            raise NodeLineError(f"{self._where()}: event frame: {error}") from error

    # --- what changes a node -------------------------------------------------------------------

    def check_key(self, key: NodeKey, identity: NodeIdentity) -> None:
        """Prove that the node has this key: a wrong one is named before anything is sent."""
        assert key.mac is not None
        frame = self._read(READ_INPUT, SAMPLE_ADDRESS, identity.map.words)
        header = read_header(frame)
        if header.key_id == 0:
            raise NodeLineError(
                f"{self._where()}: expected a node with key {key.key_id}, got one without a key "
                f"(unique id {identity.uid.hex()}): provision it"
            )
        if header.key_id != key.key_id:
            raise NodeLineError(
                f"{self._where()}: expected a node with key {key.key_id}, as in the key file, "
                f"got one that signs with key {header.key_id} (unique id {identity.uid.hex()})"
            )
        try:
            verify(frame, key.mac, identity.uid)
        except PeerError as error:
            raise NodeLineError(
                f"{self._where()}: expected samples signed with the key of the key file, got "
                f"another tag under the same key id {key.key_id}; the node with unique id "
                f"{identity.uid.hex()} has another key: name the file made for it"
            ) from error

    def write(
        self,
        register: int,
        values: Sequence[int],
        key: NodeKey | None,
        uid: bytes,
    ) -> None:
        """Write registers, signed if the node has a key; a signed write happens once at most."""
        state = self.write_state()
        request = write_request(self.unit, register, values)
        if state.commissioned:
            if key is None or key.mac is None:
                raise NodeLineError(
                    f"{self._where()}: expected the node's key, for it takes signed writes only: "
                    "name it with --key FILE"
                )
            request = signed_write_request(self.unit, register, values, key.mac, uid, state.counter)
        silence: NodeSilence | None = None
        for _ in range(_TRIES):
            try:
                self._ask_once(request)
            except NodeSilence as error:
                silence = error  # the write may have been taken: its counter shows that
            except NodeRefusal as error:
                # The counter shows whether the node took the first try, whose answer did not come.
                if silence is None or error.code != NAK:
                    raise
            else:
                return
            if state.commissioned and self.write_state().counter != state.counter:
                return
        assert silence is not None
        raise silence

    def ask(self, request: Request) -> bytes:
        """Ask once; return the answer from its function code on. NodeLineError."""
        return self._ask_once(request)

    # --- inside -------------------------------------------------------------------------------

    def _where(self) -> str:
        return f"{self.port}, address {self.unit}"

    def _read(self, function: int, address: int, words: int) -> bytes:
        return self._ask(read_request(self.unit, Read(function, address, words)))[2:]

    def _ask(self, request: Request) -> bytes:
        for _ in range(self._tries - 1):
            try:
                return self._ask_once(request)
            except NodeSilence:
                pass
        return self._ask_once(request)

    def _ask_once(self, request: Request) -> bytes:
        answer = self._line.exchange(request, self._answer_s)
        if isinstance(answer, NoAnswer):
            raise NodeSilence(
                f"{self._where()}: {answer.reason}; check address, speed, wiring and power",
                answer.noise_bytes,
            )
        if answer[0] & EXCEPTION:
            raise NodeRefusal(answer[1], f"{self._where()}: {_refusal(answer[1])}")
        return answer


def _refusal(code: int) -> str:
    name = EXCEPTION_NAMES.get(code, "unknown")
    why = {
        NAK: ": the tag or the counter of the write is wrong; nothing was changed",
        ILLEGAL_ADDRESS: ": the node has no such register",
        ILLEGAL_VALUE: ": outside the register's range (docs/registers.md); nothing was changed",
    }.get(code, "")
    return f"the node refused with exception {code:02X} ({name}){why}"
