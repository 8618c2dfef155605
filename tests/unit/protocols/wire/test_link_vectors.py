"""The vectors of the link: what a second implementation has to send, byte for byte."""

from protocols.wire.hmac import HmacSha256
from protocols.wire.link.end import MESSAGE, NO_EVENT, LinkEnd
from protocols.wire.link.frame import ACK, BYE, DATA, REFUSE, TIME, FrameReader, cobs_encode
from protocols.wire.link.gateway import GatewayEnd
from protocols.wire.link.handshake import (
    GATEWAY,
    NODE,
    PROOF_BYTES,
    Hello,
    pack_answer,
    proof,
    session_keys,
)
from protocols.wire.link.messages import EVENTS, FILE, PICTURE, SAMPLES
from protocols.wire.link.node import NodeEnd
from tests.dual import vectors

from .link_support import plain

_VECTORS = vectors("link")
_OPENING = _VECTORS["opening"]
_BOOT_MS = 215_000


def _bytes(name: str) -> bytes:
    return bytes.fromhex(_OPENING[name])


def test_cobs() -> None:
    out = bytearray(600)
    for case in _VECTORS["cobs"]:
        data = bytes.fromhex(case["plain"])
        assert bytes(out[: cobs_encode(data, len(data), out, 0)]) == bytes.fromhex(case["coded"])


def test_opening() -> None:
    hello = Hello(
        _OPENING["map_id"],
        _bytes("uid"),
        _OPENING["boot_epoch"],
        _OPENING["key_id"],
        512,
        _OPENING["node_window"],
    ).pack(_bytes("node_nonce"))
    assert hello == _bytes("hello")
    answer = pack_answer(
        _OPENING["key_id"], 512, _OPENING["gateway_window"], _bytes("gateway_nonce")
    )
    assert answer == _bytes("answer")
    mac = HmacSha256(_bytes("key"))
    assert proof(mac, GATEWAY, hello, answer) == _bytes("gateway_proof")
    assert proof(mac, NODE, hello, answer) == _bytes("node_proof")
    assert len(_bytes("node_proof")) == PROOF_BYTES
    assert session_keys(_bytes("key"), hello, answer) == (
        _bytes("node_key"),
        _bytes("gateway_key"),
    )


def test_refusals() -> None:
    for case in _VECTORS["refusals"]:
        assert plain(REFUSE, bytes((case["reason"],))) == bytes.fromhex(case["wire"])


class Dialogue:
    """Both ends; one step of the dialogue at a time."""

    def __init__(self) -> None:
        self.node = NodeEnd(
            _bytes("uid"),
            _OPENING["map_id"],
            _OPENING["boot_epoch"],
            _OPENING["key_id"],
            _bytes("key"),
            lambda count: _bytes("node_nonce"),
            lambda: _BOOT_MS,
            window=_OPENING["node_window"],
        )
        self.gateway = GatewayEnd(
            lambda hello: _bytes("key"),
            lambda count: _bytes("gateway_nonce"),
            window=_OPENING["gateway_window"],
        )
        self.handed: list[bytes] = []
        # Both want to begin; the dialogue is the one in which the gateway's ASK comes first.
        self.node._offered = True

    def other(self, end: LinkEnd) -> LinkEnd:
        return self.gateway if end is self.node else self.node

    def events(self, end: LinkEnd) -> None:
        while True:
            event = end.next_event()
            if event == NO_EVENT:
                return
            if event == MESSAGE:
                self.handed.append(bytes(end.message))

    def step(self, step: "dict[str, object]", chunk: int) -> None:
        """Let one end send what the step says, and the other take it, in pieces of ``chunk``."""
        end: LinkEnd = self.node if step["says"] == "node" else self.gateway
        wire = bytes.fromhex(str(step["wire"]))
        if step["what"] == "has committed them":
            assert isinstance(step["channel"], int)
            end.taken(step["channel"], end._in[step["channel"]].handed)  # type: ignore[union-attr]
        if step["type"] == "BYE":
            end.close(1)
        messages = step.get("messages", [])
        assert isinstance(messages, list)
        for message in messages:
            assert isinstance(step["channel"], int)
            assert end.send(step["channel"], bytes.fromhex(message))
        length = end.poll(0)
        assert b"\x00" + bytes(end.tx[:length]).lstrip(b"\x00") == wire
        other = self.other(end)
        self.handed.clear()
        for at in range(0, len(wire), chunk):
            piece = wire[at : at + chunk]
            other.feed(piece, len(piece), 0)
            self.events(other)
        assert self.handed == [bytes.fromhex(message) for message in messages]
        self.events(end)


def test_the_dialogue_byte_for_byte_whole_and_in_pieces() -> None:
    for chunk in (1, 7, 1000):
        dialogue = Dialogue()
        for step in _VECTORS["dialogue"]:
            dialogue.step(step, chunk)
        for end in (dialogue.node, dialogue.gateway):
            assert end.noise_bytes() == 0
            assert end.counters.forged == end.counters.malformed == 0
            assert not end.is_open
        assert dialogue.gateway.clock.offset_ms == _BOOT_MS


def test_the_dialogue_shows_every_type_and_channel() -> None:
    types = {step["type"] for step in _VECTORS["dialogue"]}
    assert types == {"ASK", "HELLO", "ANSWER", "CONFIRM", "DATA", "ACK", "TIME", "BYE"}
    channels = {step["channel"] for step in _VECTORS["dialogue"] if "channel" in step}
    assert channels == {1, 2, 3, 5, 6}
    assert (SAMPLES, EVENTS, FILE, PICTURE) == (1, 2, 5, 1)


def test_every_frame_is_found_in_one_stream_of_both_sides() -> None:
    stream = b"".join(bytes.fromhex(step["wire"]) for step in _VECTORS["dialogue"])
    for data in (stream, bytearray(stream), memoryview(stream)):
        reader = FrameReader()
        found = []
        at = 0
        while at < len(data):
            at = reader.feed(data, at, len(data))
            if reader.size:
                found.append(reader.content[0])
        names = {"DATA": DATA, "ACK": ACK, "TIME": TIME, "BYE": BYE}
        names.update({"ASK": 1, "HELLO": 2, "ANSWER": 3, "CONFIRM": 4})
        assert found == [names[step["type"]] for step in _VECTORS["dialogue"]]
        assert reader.noise_bytes == 0
