"""Two ends over a perfect wire: they open a session and carry messages of every channel."""

from protocols.wire.link.messages import CONFIG, EVENTS, FILE, LOG, SAMPLES

from .link_support import BOOTED_MS, Wire


def test_a_session_opens_and_both_ends_say_so_once() -> None:
    wire = Wire().opened()
    wire.run(60_000)
    assert wire.events.count(("node", 1)) == 1
    assert wire.events.count(("gateway", 1)) == 1
    assert wire.gateway.hello is not None
    assert wire.gateway.hello.boot_epoch == 7
    assert wire.node.noise_bytes() == wire.gateway.noise_bytes() == 0


def test_messages_of_every_channel_arrive_in_order() -> None:
    wire = Wire().opened()
    sent = []
    for number in range(40):
        for channel in (SAMPLES, EVENTS, CONFIG, FILE, LOG):
            message = bytes((channel, number)) + bytes(number * 5)
            sent.append((channel, message))
            while not wire.node.send(channel, message):
                wire.run(10)
    wire.run(1000)
    for channel in (SAMPLES, EVENTS, CONFIG, FILE, LOG):
        expected = [message for message in sent if message[0] == channel]
        assert [message for message in wire.at_gateway if message[0] == channel] == expected
        assert wire.node.waiting(channel) == 0


def test_requests_reach_the_node() -> None:
    wire = Wire().opened()
    for number in range(100):
        while not wire.gateway.send(CONFIG, bytes((1, number))):
            wire.run(10)
    wire.run(1000)
    assert wire.at_node == [(CONFIG, bytes((1, number))) for number in range(100)]


def test_the_nodes_clock_is_measured() -> None:
    wire = Wire().opened()
    wire.run(10_000)
    assert wire.gateway.clock.offset_ms == BOOTED_MS
    assert wire.gateway.clock.delay_ms == 0


def test_a_paced_line_carries_what_its_speed_allows() -> None:
    wire = Wire(baud=115_200).opened()
    carried = 0
    while wire.now_ms < 2100:
        while wire.node.send(FILE, bytes(484)):
            pass
        wire.run(1)
    carried = sum(len(message) for _, message in wire.at_gateway)
    assert 0.93 * 11_520 * 2 < carried < 11_520 * 2
