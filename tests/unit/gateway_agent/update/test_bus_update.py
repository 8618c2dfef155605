"""Updates over a bus in virtual time: share, broadcast, faults, rivals, restarts of either side."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

from gateway_agent.update.bus_update import BusUpdate
from gateway_agent.update.node_session import Phase
from tests.virtual_update import VirtualBus, image

SMALL = image(4000)


@contextmanager
def bus_of(
    *units: int, faults: float = 0.0, period_ms: int = 5000, seed: int = 1
) -> Iterator[VirtualBus]:
    bus = VirtualBus(units, faults=faults, period_ms=period_ms, seed=seed)
    try:
        yield bus
    finally:
        bus.close()


def phases(work: BusUpdate) -> list[Phase]:
    return [node.phase for node in work.nodes]


def versions(bus: VirtualBus) -> list[int]:
    return [node.bench.status().version for node in bus.nodes]


def test_one_node_is_updated_with_a_third_of_the_bus_and_no_late_poll() -> None:
    with bus_of(1, 2, 3) as bus:
        work = bus.work(SMALL, nodes=1)
        bus.run(work)
        assert phases(work) == ["done"]
        assert versions(bus) == [5, 0, 0]
        assert work.spent_ms <= 0.3 * bus.now + 400
        assert bus.late_ms <= 1
        assert bus.unanswered == 0
        assert 1 <= bus.away <= 4, "while it erases and starts"
        assert bus.nodes[0].erases == 1
        assert bus.nodes[0].bench.status().trial == 0


def test_a_broadcast_serves_all_nodes_and_then_each_gets_what_it_misses() -> None:
    with bus_of(1, 2, 3, faults=0.0005) as bus:
        work = bus.work(SMALL)
        bus.run(work)
        assert phases(work) == ["done"] * 3
        assert versions(bus) == [5] * 3
        assert work.sent < 2 * 17, "of 17 blocks: for all, and what was damaged"


def test_one_percent_of_byte_faults_ends_with_the_right_image_everywhere() -> None:
    with bus_of(1, 2, faults=0.01) as bus:
        content = image(1200)
        work = bus.work(content)
        bus.run(work)
        assert phases(work) == ["done"] * 2
        for node in bus.nodes:
            assert node.bench.slots is not None
            assert node.bench.slots.status()[:2] == (1, 5)
            assert node.bench.directory.get("slot1")[512 : 512 + 1200] == content.content


def test_writes_shorten_on_a_bad_line_whose_gateway_is_killed_twice() -> None:
    """Whole blocks take more than 3,600 s here: one in thirteen gets through."""
    with bus_of(1, 2, 3, faults=0.01) as bus:
        content = image(4000)
        work = bus.work(content)
        for part in (1, 2):
            while min(len(node.missing) for node in work.nodes) > 12 - 4 * part or not work.sent:
                bus.turn([work])
            bus.now += 20_000
            work = bus.work(content)
        bus.run(work)
        assert phases(work) == ["done"] * 3
        assert bus.now < 1_500_000
        assert [node.erases for node in bus.nodes] == [1] * 3
        for node in bus.nodes:
            assert node.bench.directory.get("slot1")[512 : 512 + 4000] == content.content


def test_no_poll_is_late_whatever_the_nodes_and_the_line_do() -> None:
    """Six updates: a poll that falls due while an answer is waited for would be late."""
    for number in range(6):
        faults = (0.0, 0.003, 0.01)[number % 3]
        with bus_of(*range(1, 9), faults=faults, seed=number) as bus:
            work = bus.work(image(700), nodes=1 + number % 4)
            chance = random.Random(number)
            while not work.is_over and bus.now < 3_600_000:
                bus.turn([work])
                if chance.random() < 0.003:
                    bus.nodes[chance.randrange(2)].reset(bus.now)
            assert (bus.late, bus.skipped) == (0, 0), number
            assert set(phases(work)) == {"done"}, number


def test_what_does_not_fit_is_refused_before_anything_is_erased() -> None:
    for wrong, reason in (
        (image(800, board=b"made_up_1"), "wrong-class"),
        (image(800, abi=bytes(8)), "wrong-abi"),
        (image(800, seed=bytes(32)), "bad-signature"),
    ):
        with bus_of(1) as bus:
            work = bus.work(wrong)
            bus.run(work)
            assert phases(work) == ["failed"]
            assert reason in work.nodes[0].problem
            assert bus.nodes[0].erases == 0


def test_an_old_manifest_that_is_replayed_is_refused() -> None:
    with bus_of(1) as bus:
        bus.run(bus.work(SMALL))
        work = bus.work(image(800, version=3))
        bus.run(work)
        assert "not-newer" in work.nodes[0].problem
        assert versions(bus) == [5]
        assert bus.nodes[0].erases == 1


def test_a_gateway_that_was_killed_goes_on_where_it_was() -> None:
    with bus_of(1, 2) as bus:
        first = bus.work(SMALL)
        while first.sent < 9:
            bus.turn([first])
        bus.now += 30_000
        again = bus.work(SMALL)
        bus.run(again)
        assert phases(again) == ["done"] * 2
        assert again.sent <= 17 - 9 + 1
        assert [node.erases for node in bus.nodes] == [1, 1]


def test_a_gateway_may_be_killed_at_any_moment() -> None:
    for seed in range(5):
        with bus_of(1, 2) as bus:
            chance = random.Random(seed)
            work = bus.work(image(1000))
            while not work.is_over and bus.now < 1_200_000:
                bus.turn([work])
                if chance.random() < 0.05:
                    bus.now += chance.randrange(10_000)
                    work = bus.work(image(1000))
            assert phases(work) == ["done"] * 2, seed


def test_a_node_that_resets_in_the_middle_goes_on() -> None:
    with bus_of(1) as bus:
        work = bus.work(SMALL)
        while work.sent < 8:
            bus.turn([work])
        bus.nodes[0].reset(bus.now)
        bus.run(work)
        assert phases(work) == ["done"]
        assert bus.nodes[0].erases == 1
        assert work.sent <= 17 + 4


def test_a_node_that_resets_just_before_an_order_goes_on() -> None:
    """It has forgotten the manifest, or that the image is complete; that refuses no image."""
    for order in ("begin", "activate"):
        with bus_of(1) as bus:
            work = bus.work(image(1000))
            (node,) = work.nodes
            while node._next != "order" or node._order != (1 if order == "begin" else 2):
                bus.turn([work])
            bus.nodes[0].reset(bus.now)
            bus.run(work)
            assert phases(work) == ["done"], order
            assert bus.nodes[0].erases == 1


def test_two_gateways_on_one_bus_do_not_mix_their_images() -> None:
    with bus_of(1) as bus:
        ours, theirs = bus.work(SMALL, 77), bus.work(image(3000, version=6), 78)
        bus.run(ours, theirs)
        assert sorted(phases(ours) + phases(theirs)) in (["done", "done"], ["done", "failed"])
        running = bus.nodes[0].bench.slots
        assert running is not None
        slot, version = running.status()[:2]
        content = (SMALL if version == 5 else image(3000, version=6)).content
        stored = bus.nodes[0].bench.directory.get(f"slot{slot}")
        assert stored[512 : 512 + len(content)] == content


def test_an_order_whose_answer_is_lost_is_found_in_the_status() -> None:
    with bus_of(1) as bus:
        bus.lost = {b"\x10\x01\x00"}  # every signed write is taken, no answer to one arrives
        work = bus.work(image(1000))
        bus.run(work)
        assert phases(work) == ["done"]
        assert bus.nodes[0].erases == 1
        assert bus.nodes[0].boots == 2


def test_a_trial_that_is_never_confirmed_is_reported_with_what_to_do() -> None:
    with bus_of(1) as bus:
        work = bus.work(image(1000))
        while work.nodes[0].phase != "restarting":
            bus.turn([work])
        for _ in range(4):
            bus.nodes[0].reset(bus.now, after_failure=True)
        bus.run(work)
        assert phases(work) == ["failed"]
        assert "reverted" in work.nodes[0].problem
        assert versions(bus) == [0]


def test_a_trial_is_confirmed_after_three_samples_with_a_good_tag() -> None:
    with bus_of(1) as bus:
        work = bus.work(image(1000))
        (node,) = work.nodes
        good, node.polled = node.polled, lambda: None  # type: ignore[method-assign]
        while bus.nodes[0].bench.status().trial == 0:
            bus.turn([work])
        for samples in range(3):
            end = bus.now + 60_000
            while bus.now < end:
                bus.turn([work])
            assert (node.phase, bus.nodes[0].bench.status().trial) == ("trial", 1), samples
            good()
        bus.run(work)
        assert phases(work) == ["done"]
        assert bus.nodes[0].bench.status().trial == 0


def test_a_silent_node_does_not_stop_the_others_and_is_given_up() -> None:
    with bus_of(1, 2) as bus:
        bus.nodes[1].deaf_until = 1e12
        work = bus.work(image(1000))
        bus.run(work)
        assert phases(work) == ["done", "failed"]
        assert "does not answer" in work.nodes[1].problem


def test_a_bus_without_pauses_is_named_with_what_to_do() -> None:
    with bus_of(1, 2, 3, period_ms=400) as bus:
        work = bus.work(SMALL)
        bus.run(work, until_ms=120_000)
        assert not work.is_over
        assert "raise period_ms" in work.hindrance
        assert bus.late_ms <= 150


def test_nothing_is_sent_that_does_not_end_before_the_next_poll() -> None:
    with bus_of(1, 2, 3, 4, period_ms=4000) as bus:
        work = bus.work(SMALL)
        bus.run(work)
        assert phases(work) == ["done"] * 4
        assert bus.late_ms <= 1
