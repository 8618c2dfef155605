"""The node's clock as the gateway sees it: the best of eight exchanges, its wrap, its drift."""

from protocols.wire.link.clock import NodeClock

from .support import Lcg


def _exchange(
    clock: NodeClock, sent_ms: int, offset_ms: int, there_ms: int, back_ms: int, held_ms: int = 3
) -> None:
    """One exchange with a node whose clock is ``offset_ms`` ahead."""
    t2 = sent_ms + there_ms + offset_ms
    t3 = t2 + held_ms
    t4 = sent_ms + there_ms + held_ms + back_ms
    clock.exchanged(sent_ms, t2 & 0xFFFFFFFF, t3 & 0xFFFFFFFF, t4)


def test_offset_and_delay_are_those_of_rfc_5905() -> None:
    clock = NodeClock()
    assert clock.delay_ms == -1
    # By hand: t1 1000, t2 5010, t3 5013, t4 1031: ((4010) + (3982)) / 2 and 31 - 3.
    clock.exchanged(1000, 5010, 5013, 1031)
    assert clock.offset_ms == 3996
    assert clock.delay_ms == 28


def test_the_exchange_with_the_smallest_delay_of_the_last_eight_counts() -> None:
    clock = NodeClock()
    random = Lcg(3)
    _exchange(clock, 0, 70_000, 5, 5)
    for number in range(1, 8):
        _exchange(clock, number * 5000, 70_000, 20 + random.below(200), 10 + random.below(200))
        assert (clock.offset_ms, clock.delay_ms) == (70_000, 10)
    _exchange(clock, 40_000, 70_000, 21, 7)
    # The first one is the ninth now; the error is half of the difference of the two ways at most.
    assert clock.delay_ms > 10
    assert abs(clock.offset_ms - 70_000) <= clock.delay_ms / 2


def test_the_nodes_clock_wraps_after_49_days() -> None:
    clock = NodeClock()
    offset_ms = 0xFFFFFFFF - 6000
    for sent_ms in range(0, 60_000, 2500):
        _exchange(clock, sent_ms, offset_ms, 4, 4)
        assert clock.offset_ms == offset_ms
        for age_ms in (0, 5, 20_000):
            t_boot_ms = sent_ms - age_ms + offset_ms & 0xFFFFFFFF
            assert clock.gateway_ms(t_boot_ms, sent_ms) == sent_ms - age_ms


def test_drift_shows_after_a_minute() -> None:
    for ppm in (-150, 0, 40, 2000):
        clock = NodeClock()
        for sent_ms in range(0, 600_000, 5000):
            _exchange(clock, sent_ms, 9000 + sent_ms * ppm // 1_000_000, 3, 3)
            if sent_ms < 60_000:
                assert clock.drift_ppm == 0
        assert abs(clock.drift_ppm - ppm) < 15


def test_a_node_that_answers_with_nonsense_breaks_nothing() -> None:
    clock = NodeClock()
    random = Lcg(5)
    for number in range(200):
        t2 = random.below(65536) << 16 | random.below(65536)
        t3 = random.below(65536) << 16 | random.below(65536)
        clock.exchanged(number * 10, t2, t3, number * 10 + 5)
        assert len(clock._exchanges) <= 8
        clock.gateway_ms(t2, number * 10)
