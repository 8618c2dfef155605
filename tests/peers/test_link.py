"""Both ends of the serial link against the implementation that was written from its page alone."""

import os
import struct

import pytest

from tests.peers.link_cases import KEY, KEY_ID, MAP_ID, UID, Download, get, key_of, serve
from tests.peers.link_ours import OurGateway, OurNode
from tests.peers.link_peer import (
    ASK,
    BY_PRIORITY,
    CONFIG,
    EVENTS,
    FILE,
    LOG,
    NO_KEY,
    SAMPLES,
    PeerGateway,
    PeerNode,
    opening,
)
from tests.peers.link_talk import End, Talk

FROM_NODE = (SAMPLES, EVENTS, CONFIG, FILE, LOG)
FROM_GATEWAY = (CONFIG, FILE)
ASKS = opening(ASK, b"\x01").strip(b"\0")
#: Who is the product's end.
OURS = ("node", "gateway")


def node_of(kind: str, epoch: int = 9, key: bytes | None = KEY) -> End:
    key_id = 0 if key is None else KEY_ID
    if kind == "node":
        return OurNode(UID, MAP_ID, epoch, key_id, key)
    return PeerNode(UID, MAP_ID, epoch, key_id, key or NO_KEY)


def gateway_of(kind: str) -> End:
    return OurGateway(key_of) if kind == "gateway" else PeerGateway(key_of)


def refusals(talk: Talk, side: int) -> set[object]:
    return {event[1] for event in talk.events[side] if event[0] == "refused"}


@pytest.mark.parametrize("ours", OURS)
def test_a_session_opens_and_every_channel_carries_its_messages_in_order(ours: str) -> None:
    talk = Talk(node_of(ours), gateway_of(ours))
    talk.opened()
    assert talk.now <= 2000
    sent = {}
    for side, channels in ((0, FROM_NODE), (1, FROM_GATEWAY)):
        for channel in channels:
            sent[side, channel] = [b"%d:" % at + os.urandom(at * 2) for at in range(1, 30)]
            for message in sent[side, channel]:
                talk.ends[side].send(channel, message)
    talk.until(
        lambda: all(
            len(talk.messages(1 - side, channel)) == len(messages)
            for (side, channel), messages in sent.items()
        ),
        20_000,
    )
    for (side, channel), messages in sent.items():
        assert talk.messages(1 - side, channel) == messages


@pytest.mark.parametrize("ours", OURS)
def test_a_message_of_every_length_that_fits_arrives(ours: str) -> None:
    talk = Talk(node_of(ours), gateway_of(ours))
    talk.opened()
    sizes = [1, 2, 126, 127, 128, 129, 253, 254, 255, 256, 257]
    sent = [bytes(size) if size & 1 else b"\xff" * size for size in sizes]
    for message in sent:
        talk.ends[0].send(FILE, message)
    talk.until(lambda: len(talk.messages(1, FILE)) == len(sent), 5000)
    assert talk.messages(1, FILE) == sent


@pytest.mark.parametrize(("ours", "faults"), [("node", 0.01), ("gateway", 0.01)])
def test_a_file_arrives_whole_over_noise_and_restarts_of_either_end(
    ours: str, faults: float
) -> None:
    """64 KB, bytes of it flipped, and one end after the other forgets everything."""
    data = os.urandom(65_536)
    talk = Talk(node_of(ours), gateway_of(ours), fault_rate=faults, seed=11)
    for end in talk.ends:
        if isinstance(end, PeerNode | PeerGateway):
            end.packet_limit = 90
    serve(talk, data)
    download = Download(talk.ends[1])
    talk.watch(download.on_event)
    for quarter, side in ((1, 0), (2, 1), (3, 0)):
        talk.until(lambda part=quarter: len(download.data) >= part * 16_384, 600_000)  # type: ignore[misc]
        if side == 0:
            talk.restart(0, node_of(ours, epoch=9 + quarter))
        else:
            talk.restart(1, gateway_of(ours))
            download.gateway = talk.ends[1]
        if isinstance(talk.ends[side], PeerNode | PeerGateway):
            talk.ends[side].packet_limit = 90  # type: ignore[attr-defined]
    talk.until(lambda: download.whole, 600_000)
    assert bytes(download.data) == data


@pytest.mark.parametrize("ours", OURS)
def test_a_request_for_another_file_and_one_behind_the_end_are_answered(ours: str) -> None:
    talk = Talk(node_of(ours), gateway_of(ours))
    serve(talk, b"a small picture")
    talk.opened()
    for request, reason in ((get(0, bytes(range(32))), 3), (get(16), 4)):
        talk.ends[1].send(FILE, request)
        talk.until(lambda: len(talk.messages(1, FILE)) > 0, 5000)
        assert talk.messages(1, FILE)[-1] == bytes((5, 1, reason))
        talk.events[1].clear()


@pytest.mark.parametrize("ours", OURS)
def test_the_clocks_are_compared_by_four_timestamps(ours: str) -> None:
    talk = Talk(node_of(ours), gateway_of(ours))
    talk.opened()
    talk.until(lambda: sum(event[0] == "time" for event in talk.events[1]) >= 8, 5000)
    for event in talk.events[1]:
        if event[0] == "time":
            _, offset, delay = event
            assert abs(float(str(offset))) <= 10  # both ends have the same clock here
            assert 0 <= float(str(delay)) <= 30


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize(
    ("uid", "key_id", "key", "reason"),
    [
        (bytes(12), KEY_ID, KEY, 2),
        (UID, KEY_ID + 1, KEY, 3),
        (UID, KEY_ID, bytes(32), 4),
        (UID, 0, None, 3),
    ],
    ids=["unknown", "key-id", "wrong-key", "no-key"],
)
def test_a_node_that_is_not_the_one_expected_is_refused_by_its_reason(
    ours: str, uid: bytes, key_id: int, key: bytes | None, reason: int
) -> None:
    node: End
    if ours == "node":
        node = OurNode(uid, MAP_ID, 1, key_id, key)
    else:
        node = PeerNode(uid, MAP_ID, 1, key_id, key or NO_KEY)
    talk = Talk(node, gateway_of(ours))
    talk.run(4000)
    assert not any(end.is_open for end in talk.ends)
    # A wrong key is found by the node, from the proof of the gateway; all else by the gateway.
    assert reason in refusals(talk, 1 if reason == 4 else 0)


@pytest.mark.parametrize("ours", OURS)
def test_a_node_without_a_key_is_taken_where_that_is_configured(ours: str) -> None:
    def check(uid: bytes, key_id: int) -> bytes | int:
        return NO_KEY if (uid, key_id) == (UID, 0) else 7

    gateway: End = OurGateway(check) if ours == "gateway" else PeerGateway(check)
    talk = Talk(node_of(ours, key=None), gateway)
    talk.opened()
    talk.ends[0].send(SAMPLES, b"unproven")
    talk.until(lambda: talk.messages(1, SAMPLES) == [b"unproven"], 1000)


@pytest.mark.parametrize(
    ("largest", "window"), [(255, 4096), (513, 4096), (512, 0), (512, 255)], ids=str
)
def test_our_gateway_refuses_sizes_that_are_out_of_range(largest: int, window: int) -> None:
    peer = PeerNode(UID, MAP_ID, 1, KEY_ID, KEY, largest=largest, window=window)
    talk = Talk(peer, OurGateway(key_of))
    talk.run(3000)
    assert not talk.ends[1].is_open
    assert refusals(talk, 0) == {5}


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize(("largest", "window"), [(256, 4096), (512, 256), (300, 600)], ids=str)
def test_the_smaller_frame_and_window_are_agreed(ours: str, largest: int, window: int) -> None:
    node, gateway = node_of(ours), gateway_of(ours)
    peer = gateway if ours == "node" else node
    assert isinstance(peer, PeerNode | PeerGateway)
    peer.largest, peer.window = largest, window
    talk = Talk(node, gateway)
    talk.opened()
    messages = [struct.pack(">H", at) + bytes(100) for at in range(40)]
    for message in messages:
        talk.ends[0].send(SAMPLES, message)
    before = len(messages)
    talk.until(lambda: len(talk.messages(1, SAMPLES)) == before, 10_000)
    assert talk.messages(1, SAMPLES) == messages
    assert max(talk.longest) <= largest


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize("side", [0, 1], ids=["node", "gateway"])
def test_a_bye_of_either_end_ends_the_session_and_a_new_one_follows(ours: str, side: int) -> None:
    talk = Talk(node_of(ours), gateway_of(ours))
    talk.opened()
    talk.ends[side].close(1)
    talk.until(lambda: any(event[:2] == ("closed", 1) for event in talk.events[1 - side]), 1000)
    talk.restart(side, node_of(ours) if side == 0 else gateway_of(ours))
    talk.opened()
    talk.ends[0].send(EVENTS, b"after")
    talk.until(lambda: talk.messages(1, EVENTS) == [b"after"], 1000)


@pytest.mark.parametrize("ours", OURS)
def test_frames_of_a_session_that_come_again_later_change_nothing(ours: str) -> None:
    talk = Talk(node_of(ours), gateway_of(ours))
    talk.record = [[], []]
    talk.opened()
    talk.ends[0].send(SAMPLES, b"once")
    talk.ends[1].send(CONFIG, b"asked")
    talk.until(lambda: bool(talk.messages(1, SAMPLES)) and bool(talk.messages(0, CONFIG)), 1000)
    opened = [sum(event[0] == "opened" for event in events) for events in talk.events]
    for side, frames in enumerate(talk.record):
        for data in list(frames):
            if ASKS in data:  # anybody may ask; that opens a session anew, with new proofs
                continue
            talk.ends[1 - side].feed(b"\0" + data + b"\0", talk.now)
    talk.run(3000)
    assert talk.messages(1, SAMPLES) == [b"once"]
    assert talk.messages(0, CONFIG) == [b"asked"]
    assert all(end.is_open for end in talk.ends)
    again = [sum(event[0] == "opened" for event in events) for events in talk.events]
    assert again == opened


@pytest.mark.parametrize("ours", OURS)
def test_what_is_not_taken_over_is_held_and_then_released(ours: str) -> None:
    node = node_of(ours)
    gateway: End
    gateway = OurGateway(key_of, held=(SAMPLES,)) if ours == "gateway" else PeerGateway(key_of)
    if isinstance(gateway, PeerGateway):
        gateway.held.add(SAMPLES)
    talk = Talk(node, gateway)
    talk.opened()
    messages = [struct.pack(">H", at) + bytes(200) for at in range(60)]
    for message in messages:
        node.send(SAMPLES, message)
    talk.run(5000)
    held = len(talk.messages(1, SAMPLES))
    assert 0 < held < 60, "the window has a bound"
    # Another channel goes on meanwhile.
    node.send(EVENTS, b"now")
    talk.until(lambda: talk.messages(1, EVENTS) == [b"now"], 200)

    def take_over() -> bool:
        gateway.taken(SAMPLES)
        return len(talk.messages(1, SAMPLES)) == 60

    talk.until(take_over, 60_000)
    assert talk.messages(1, SAMPLES) == messages


def test_the_channels_are_those_of_the_page() -> None:
    assert sorted(BY_PRIORITY) == sorted(FROM_NODE)
