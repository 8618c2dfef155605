"""The vectors of the link, computed once more by the implementation made from its page alone."""

import json

import pytest

from tests.paths import ROOT
from tests.peers import link_peer as peer
from tests.peers.link_peer import Peer, PeerGateway, PeerNode

VECTORS = json.loads((ROOT / "protocols" / "vectors" / "link.json").read_text(encoding="utf-8"))
OPENING = {
    name: bytes.fromhex(value) if isinstance(value, str) else value
    for name, value in VECTORS["opening"].items()
}
DIALOGUE = VECTORS["dialogue"]


@pytest.mark.parametrize("case", VECTORS["cobs"], ids=lambda case: case["coded"][:16])
def test_stuffing_of_bytes(case: dict[str, str]) -> None:
    plain, coded = bytes.fromhex(case["plain"]), bytes.fromhex(case["coded"])
    assert peer.cobs(plain) == coded
    assert peer.un_cobs(coded) == plain


def test_proofs_and_keys_of_a_session() -> None:
    key, hello, answer = OPENING["key"], OPENING["hello"], OPENING["answer"]
    assert peer.proof(key, b"G", hello, answer) == OPENING["gateway_proof"]
    assert peer.proof(key, b"N", hello, answer) == OPENING["node_proof"]
    keys = (OPENING["node_key"], OPENING["gateway_key"])
    assert peer.session_keys(key, hello, answer) == keys


@pytest.mark.parametrize("case", VECTORS["refusals"], ids=lambda case: str(case["reason"]))
def test_refusals(case: dict[str, object]) -> None:
    reason = bytes((int(str(case["reason"])),))
    assert peer.opening(peer.REFUSE, reason) == bytes.fromhex(str(case["wire"]))


def test_every_frame_of_the_dialogue_is_sent_and_taken() -> None:
    ends: dict[str, Peer] = {
        "node": PeerNode(OPENING["uid"], VECTORS["opening"]["map_id"], 7, 1, OPENING["key"]),
        "gateway": PeerGateway(lambda uid, key_id: OPENING["key"]),
    }
    node_key, gateway_key = OPENING["node_key"], OPENING["gateway_key"]
    ends["node"]._start(node_key, gateway_key, 512, 4096, 0)
    ends["gateway"]._start(gateway_key, node_key, 512, 4096, 0)
    for end in ends.values():
        end.events.clear()
    for number, step in enumerate(DIALOGUE):
        kind, payload = getattr(peer, step["type"]), bytes.fromhex(step["payload"])
        wire, what = bytes.fromhex(step["wire"]), f"step {number}: {step['what']}"
        if kind < peer.DATA:
            assert peer.opening(kind, payload) == wire, what
            continue
        channel, sequence = step.get("channel", 0), step.get("sequence", 0)
        assert ends[step["says"]]._session(kind, channel, sequence, payload) == wire, what
        other = ends["node" if step["says"] == "gateway" else "gateway"]
        other.feed(wire, 1)
        if kind == peer.DATA:
            messages = [bytes.fromhex(message) for message in step["messages"]]
            assert [other.next_event() for _ in messages] == [
                ("message", channel, message) for message in messages
            ], what
            assert other.channels[channel].expected == (sequence + 1) & 0xFFFF, what
        other.events.clear()
    for end in ends.values():
        assert end.counts["noise"] == end.counts["forged"] == end.counts["repeats"] == 0
    assert not ends["node"].is_open  # the last step was a BYE
