"""What becomes of node frames: good, repeated, replayed, skipped, restarted, forged."""

import pytest

from gateway_agent.counters import Counters
from gateway_agent.field.boot_clock import BootClock
from gateway_agent.field.node import NodeTracker
from gateway_agent.keys import SharedKey
from gateway_agent.store.mark import Mark
from protocols.uplink import Decoded, Gap, Record, Stamp, check_proof, decode_record
from protocols.wire.hmac import HmacSha256
from protocols.wire.registers import AIR
from protocols.wire.sample import Header

from .frames_of_nodes import (
    AIR_POINTS,
    KEY,
    KEY_ID,
    NO_SAMPLE,
    UID,
    air_body,
    air_frame,
    event_frame,
    seal,
)

LAST = 0xFFFFFFFF


class Bench:
    """A tracker, its counters and a clock that goes on by one second per frame."""

    def __init__(self, mark: Mark | None = None) -> None:
        self.counters = Counters()
        key = SharedKey(KEY_ID, KEY)
        self.tracker = NodeTracker("tf-" + UID.hex(), UID, key, AIR, mark, self.counters)
        self.now = 0

    def stamp(self) -> Stamp:
        self.now += 1000
        return Stamp(self.now - 10, self.now, None, 0, 0)

    def take(self, frame: bytes) -> list[Decoded]:
        stamp = self.stamp()
        self.tracker.slots.begin(stamp.req_ms)
        return decoded(self.tracker.sample(frame, stamp))

    def events_due(self) -> bool:
        return self.tracker.events_due

    def fail(self, cause: str, times: int = 1) -> list[Decoded]:
        records: list[Record] = []
        for _ in range(times):
            now = self.stamp()
            self.tracker.slots.begin(now.req_ms)
            self.tracker.failed(cause, f"unit 1: {cause}", now.resp_ms)
            records += self.tracker.notice(now)
        return decoded(records)


def decoded(records: list[Record]) -> list[Decoded]:
    return [decode_record(record.data) for record in records]


def gaps(records: list[Decoded]) -> list[Gap]:
    return [record.gap for record in records if record.gap is not None]


def test_a_first_good_frame_becomes_a_record() -> None:
    bench = Bench()
    (record,) = bench.take(air_frame(5, 1))
    assert record.readings == 7
    assert tuple(value.name for value in record.values) == AIR_POINTS
    assert record.values[4].value == 555
    assert record.frame == air_frame(5, 1)
    assert bench.tracker.mark == Mark(5, 1, 0, KEY_ID)
    assert bench.tracker.auth == "ok"


def test_samples_in_order_leave_no_gap() -> None:
    bench = Bench(Mark(5, 1, 0))
    for seq in range(2, 6):
        (record,) = bench.take(air_frame(5, seq))
        assert record.gap is None
    assert bench.tracker.mark == Mark(5, 5, 0, KEY_ID)
    assert not bench.counters.gaps


def test_the_same_frame_again_is_counted_and_not_recorded() -> None:
    bench = Bench()
    bench.take(air_frame(5, 1))
    assert bench.take(air_frame(5, 1)) == []
    assert bench.counters.repeats == 1
    assert bench.tracker.auth == "ok"


@pytest.mark.parametrize("frame", [air_frame(5, 9), air_frame(4, 500), air_frame(5, 0)])
def test_a_replayed_frame_is_rejected_and_counted(frame: bytes) -> None:
    bench = Bench(Mark(5, 10, 0))
    assert bench.take(frame) == []
    assert bench.counters.replayed == 1
    assert bench.tracker.mark == Mark(5, 10, 0)
    assert bench.tracker.auth == "replayed"
    # What the replay hid is named with its cause.
    bench.take(air_frame(5, 11))
    assert bench.take(frame) == []
    (gap,) = gaps(bench.take(air_frame(5, 14)))
    assert (gap.cause, gap.boot_epoch, gap.first, gap.last) == ("replayed", 5, 12, 13)
    assert "already taken" in gap.detail


@pytest.mark.parametrize("cause", ["bus_timeout", "crc", "wrong_unit", "exception", "node_update"])
def test_a_jump_after_failures_names_their_cause(cause: str) -> None:
    bench = Bench()
    bench.take(air_frame(5, 1))
    bench.fail(cause, 3)
    records = bench.take(air_frame(5, 5))
    (gap,) = gaps(records)
    assert (gap.cause, gap.boot_epoch, gap.first, gap.last) == (cause, 5, 2, 4)
    assert f"{cause} 3" in gap.detail
    assert records[-1].readings == 7
    assert bench.counters.gaps == {cause: 1}


def test_a_jump_without_failures_is_an_overrun() -> None:
    bench = Bench()
    bench.take(air_frame(5, 1))
    (gap,) = gaps(bench.take(air_frame(5, 3)))
    assert (gap.cause, gap.first, gap.last) == ("node_overrun", 2, 2)


def test_a_repeat_ends_an_outage_that_cost_nothing() -> None:
    bench = Bench()
    bench.take(air_frame(5, 1))
    bench.fail("bus_timeout")
    bench.take(air_frame(5, 1))
    (gap,) = gaps(bench.take(air_frame(5, 3)))
    assert gap.cause == "node_overrun"


def test_the_first_read_after_a_start_names_the_gateway() -> None:
    bench = Bench(Mark(5, 10, 0))
    bench.fail("bus_timeout")
    (gap,) = gaps(bench.take(air_frame(5, 21)))
    assert (gap.cause, gap.first, gap.last) == ("gateway_down", 11, 20)


def test_samples_before_the_first_contact_are_named() -> None:
    bench = Bench()
    (gap,) = gaps(bench.take(air_frame(5, 4)))
    assert (gap.cause, gap.boot_epoch, gap.first, gap.last) == ("gateway_down", 5, 1, 3)


def test_sequence_and_epoch_wrap() -> None:
    bench = Bench(Mark(LAST, LAST - 1, 0))
    (record,) = bench.take(air_frame(LAST, LAST))
    assert record.gap is None
    (record,) = bench.take(air_frame(LAST, 0))  # a real sample: its qualities are good
    assert record.readings == 7
    bench.tracker.mark = Mark(LAST, LAST - 1, 0)
    assert [(gap.first, gap.last) for gap in gaps(bench.take(air_frame(LAST, 2)))] == [
        (LAST, LAST),
        (0, 1),
    ]
    (gap,) = gaps(bench.take(air_frame(0, 1)))
    assert (gap.cause, gap.boot_epoch) == ("node_reset", LAST)


def test_one_restart() -> None:
    bench = Bench()
    bench.take(air_frame(5, 1))
    first, second = gaps(bench.take(air_frame(6, 3)))
    assert (first.cause, first.boot_epoch, first.first) == ("node_reset", 5, None)
    assert (second.cause, second.boot_epoch, second.first, second.last) == ("node_reset", 6, 1, 2)
    assert bench.tracker.mark == Mark(6, 3, 0, KEY_ID)
    assert bench.counters.gaps == {"node_reset": 2}


def test_two_restarts_in_a_row() -> None:
    bench = Bench()
    bench.take(air_frame(5, 100))
    (gap,) = gaps(bench.take(air_frame(7, 1)))
    assert gap.cause == "node_reset"
    assert "after 100" in gap.detail
    assert "1 boots between were never read" in gap.detail


def test_a_restarted_node_without_a_sample_waits() -> None:
    bench = Bench()
    bench.take(air_frame(5, 1))
    assert bench.take(air_frame(6, 0, quality=NO_SAMPLE)) == []
    assert bench.tracker.mark == Mark(5, 1, 0, KEY_ID)
    assert [gap.boot_epoch for gap in gaps(bench.take(air_frame(6, 1)))] == [5]


@pytest.mark.parametrize(
    ("frame", "cause"),
    [
        (air_frame(5, 2)[:-1] + b"\x00", "bad_tag"),
        (air_frame(5, 2).replace(b"\x02\x2b", b"\x02\x2c"), "bad_tag"),  # CO2 556 for 555
        (seal(air_body(4, 2), key=bytes(32)), "bad_tag"),
        (seal(air_body(5, 2), key=bytes(32)), "bad_tag"),
        (seal(air_body(5, 2), uid=bytes(12)), "bad_tag"),  # another node's frame
        (seal(air_body(5, 2), key_id=8), "key_unknown"),
        (air_body(5, 2) + bytes(18), "key_unknown"),  # a node without a key
    ],
    ids=["tag", "body", "old", "key", "uid", "key-id", "unsigned"],
)
def test_a_bad_tag_never_enters_as_data(frame: bytes, cause: str) -> None:
    bench = Bench()
    bench.take(air_frame(5, 1))
    assert bench.take(frame) == []
    assert bench.counters.node_tag_failures == 1
    assert bench.tracker.auth == "bad"
    assert bench.tracker.mark == Mark(5, 1, 0, KEY_ID)
    (gap,) = gaps(bench.take(air_frame(5, 3)))
    assert gap.cause == cause
    assert bench.tracker.auth == "ok"


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (seal(air_body(5, 2, map_version=2)), "version"),
        (seal(air_body(5, 2)[:-2]), "length"),
        (seal(air_body(5, 2, quality=9)), "quality"),
        (event_frame(5, 1, (1,)), "map id"),
        (b"\x01\x01", "frame"),
    ],
    ids=["version", "length", "quality", "event", "short"],
)
def test_a_frame_that_cannot_be_read_is_counted(frame: bytes, text: str) -> None:
    bench = Bench(Mark(5, 1, 0))
    assert bench.take(frame) == []
    assert bench.counters.poll_errors == {"bad_frame": 1}
    assert text in bench.tracker.problem


def test_a_node_in_another_role_is_refused() -> None:
    bench = Bench()
    head = bytes.fromhex("01020001 00000005 00000001 000003e8 0000 0000")
    water = seal(head + bytes(2) + bytes.fromhex("03e8 0802 02bc 0064"))
    assert bench.take(water) == []
    assert bench.tracker.problem == "role: expected air, the node is water"


def test_an_outage_is_reported_while_it_lasts_at_growing_distance() -> None:
    bench = Bench()
    bench.take(air_frame(5, 1))
    reported = gaps(bench.fail("bus_timeout", 500))  # 500 s, one failure a second
    # After 60 s, then 120 s and 240 s later.
    assert [(gap.cause, gap.boot_epoch, gap.first) for gap in reported] == [
        ("bus_timeout", 5, None)
    ] * 3
    assert "61 polls" in reported[0].detail
    assert "after sample 1" in reported[0].detail
    (gap,) = gaps(bench.take(air_frame(5, 101)))
    assert (gap.cause, gap.first, gap.last) == ("bus_timeout", 2, 100)


def test_events_are_read_once_and_in_order() -> None:
    bench = Bench()
    bench.take(air_frame(5, 1, events=2))
    assert bench.events_due()
    (record,) = decoded(bench.tracker.events(event_frame(5, 2, (1, 8)), bench.stamp()))
    assert [(event.number, event.name) for event in record.events] == [(1, "boot"), (2, "sensor")]
    assert bench.tracker.mark == Mark(5, 1, 2, KEY_ID)
    bench.take(air_frame(5, 2, events=2))
    assert not bench.events_due()
    bench.take(air_frame(5, 3, events=3))
    (record,) = decoded(bench.tracker.events(event_frame(5, 3, (1, 8, 4)), bench.stamp()))
    assert [event.number for event in record.events] == [3]


def test_an_event_between_two_samples_is_seen_on_a_repeat() -> None:
    bench = Bench()
    bench.take(air_frame(5, 1))
    bench.take(air_frame(5, 1, events=1))
    assert bench.events_due()


def test_events_that_fell_out_of_the_queue_are_a_gap() -> None:
    bench = Bench(Mark(5, 1, 2))
    records = decoded(bench.tracker.events(event_frame(5, 20, (4,) * 16), bench.stamp()))
    (gap,) = gaps(records)
    assert gap.cause == "node_overrun"
    assert "events 3 to 4" in gap.detail
    assert [event.number for event in records[-1].events] == list(range(5, 21))


def test_replayed_and_forged_event_frames() -> None:
    bench = Bench(Mark(5, 1, 2))
    assert bench.tracker.events(event_frame(5, 1, (1,)), bench.stamp()) == []
    assert bench.counters.replayed == 1
    forged = event_frame(5, 3, (1, 1, 1))[:-1] + b"\x00"
    assert bench.tracker.events(forged, bench.stamp()) == []
    assert bench.counters.node_tag_failures == 1
    assert bench.tracker.mark == Mark(5, 1, 2)


# --- a node that was provisioned anew ---------------------------------------------------------


def test_a_new_key_is_a_new_life_of_the_node() -> None:
    bench = Bench(Mark(9, 500, 30, KEY_ID - 1))
    assert bench.take(air_frame(1, 0, quality=NO_SAMPLE)) == []
    assert bench.tracker.auth == "ok"
    lost, early, record = bench.take(air_frame(1, 3, events=1))
    assert lost.gap is not None
    assert early.gap is not None
    assert (lost.gap.cause, lost.gap.boot_epoch, lost.gap.first) == ("node_reset", 9, None)
    assert "key 7 came into force" in lost.gap.detail
    assert "under key 6 nothing is known after sample 9/500" in lost.gap.detail
    assert (early.gap.boot_epoch, early.gap.first, early.gap.last) == (1, 1, 2)
    assert record.readings == 7
    assert bench.tracker.mark == Mark(1, 3, 0, KEY_ID)
    assert bench.counters.replayed == 0
    assert bench.events_due()
    (events,) = decoded(bench.tracker.events(event_frame(1, 1, (1,)), bench.stamp()))
    assert [event.number for event in events.events] == [1]


@pytest.mark.parametrize("seq", [400, 501])
def test_a_new_key_with_the_store_kept_is_recorded_as_well(seq: int) -> None:
    bench = Bench(Mark(9, 500, 0, KEY_ID + 1))
    gap = gaps(bench.take(air_frame(9, seq)))[0]
    assert gap.cause == "node_reset"
    assert "key 7 came into force" in gap.detail
    assert bench.tracker.mark == Mark(9, seq, 0, KEY_ID)


def test_under_the_new_key_replays_are_rejected_as_before() -> None:
    bench = Bench(Mark(9, 500, 0, KEY_ID - 1))
    bench.take(air_frame(1, 1))
    bench.take(air_frame(1, 2))
    assert bench.take(air_frame(1, 1)) == []
    assert bench.counters.replayed == 1
    # Frames of the life before: whatever their numbers, their key is no longer in force.
    assert bench.take(seal(air_body(9, 501), key_id=KEY_ID - 1)) == []
    assert bench.counters.node_tag_failures == 1
    assert bench.tracker.mark == Mark(1, 2, 0, KEY_ID)


def test_the_same_key_with_a_new_store_stays_rejected_with_a_remedy() -> None:
    bench = Bench(Mark(9, 500, 0, KEY_ID))
    assert bench.take(air_frame(1, 1)) == []
    assert bench.tracker.auth == "replayed"
    assert "a new store needs a key with a new id" in bench.tracker.problem
    assert bench.tracker.mark == Mark(9, 500, 0, KEY_ID)
    assert bench.take(air_frame(9, 499)) == []
    assert "new id" not in bench.tracker.problem


def test_events_of_a_new_key_wait_for_a_sample() -> None:
    mark = Mark(9, 500, 1, KEY_ID - 1)
    bench = Bench(mark)
    assert bench.tracker.events(event_frame(9, 2, (1, 8)), bench.stamp()) == []
    assert bench.tracker.events(event_frame(1, 1, (1,)), bench.stamp()) == []
    assert bench.counters.replayed == 0
    assert bench.tracker.mark == mark


def test_a_mark_of_an_unknown_key_learns_it() -> None:
    bench = Bench(Mark(5, 1, 0))
    (record,) = bench.take(air_frame(5, 2))
    assert record.gap is None
    assert bench.tracker.mark == Mark(5, 2, 0, KEY_ID)


# --- when events were -------------------------------------------------------------------------


ALLOWED_MS = 10  # for the drift of two crystals within a minute


def stamp_at(resp_ms: int) -> Stamp:
    return Stamp(resp_ms - 10, resp_ms, 1_765_432_100_000, 20, 3)


def event_offsets(bench: Bench, resp_ms: int, t_boot_ms: int = 5000) -> list[int]:
    """The event frame's only event was at 4000 ms of the node's clock."""
    frame = event_frame(5, 1, (4,), t_boot_ms)
    (record,) = decoded(bench.tracker.events(frame, stamp_at(resp_ms)))
    check_proof(record, lambda uid, key_id: HmacSha256(KEY))
    return [event.offset_ms for event in record.events]


def test_an_event_read_late_keeps_its_time() -> None:
    bench = Bench()
    # Node and gateway differ by 100 s; the frames are 700, 30 and 400 ms old when they come.
    for seq, age in ((1, 700), (2, 30), (3, 400)):
        bench.tracker.sample(air_frame(5, seq), stamp_at(100_000 + 1000 * seq + age))
    # 60 s after the event, 30 ms of the youngest sample are all that is not known.
    (offset,) = event_offsets(bench, 164_000)
    assert abs(offset + 59_970) <= ALLOWED_MS


def test_a_repeated_frame_and_the_event_frame_set_the_time_too() -> None:
    bench = Bench(Mark(5, 3, 0))
    bench.tracker.sample(air_frame(5, 3), stamp_at(103_900))
    # Made at 5000 ms and read at once: younger than the sample by 895 ms.
    assert event_offsets(bench, 105_005) == [-1_000]


def test_without_a_sample_of_the_boot_the_event_frame_is_all_there_is() -> None:
    assert event_offsets(Bench(Mark(5, 3, 0)), 164_000) == [-1_000]


def test_the_clock_of_the_boot_before_is_forgotten() -> None:
    bench = Bench()
    bench.tracker.sample(seal(air_body(4, 200)), stamp_at(100_000))  # its clock: 200 s
    bench.tracker.sample(air_frame(5, 1), stamp_at(101_500))
    assert event_offsets(bench, 110_500) == [-6_000]


def test_a_frame_that_is_not_taken_sets_no_time() -> None:
    bench = Bench()
    bench.tracker.sample(air_frame(5, 3), stamp_at(103_050))
    forged = seal(air_body(5, 90), key=bytes(32))
    bench.tracker.sample(forged, stamp_at(103_060))
    (offset,) = event_offsets(bench, 113_050)
    assert abs(offset + 9_000) <= ALLOWED_MS


def test_a_node_that_booted_with_the_gateway() -> None:
    """Their clocks differ by 20 ms in the one, then by 5 ms in the other direction."""
    bench = Bench()
    bench.tracker.sample(air_frame(5, 1), stamp_at(1_020))
    bench.tracker.sample(air_frame(5, 2), stamp_at(1_995))
    (offset,) = event_offsets(bench, 33_995)
    assert abs(offset + 30_000) <= ALLOWED_MS


def test_event_times_across_the_wrap_of_the_nodes_clock() -> None:
    bench = Bench()
    # air_frame's clock is 1000 * seq modulo 2**32: 4294967000 and, after the wrap, 704.
    for seq, resp in ((4_294_967, 50_000), (4_294_968, 51_000)):
        bench.tracker.sample(air_frame(5, seq), stamp_at(resp))
    # At 51 s of the gateway the node shows 704 ms; the event is at 4000 ms, the frame at 5000.
    (offset,) = event_offsets(bench, 84_296)
    assert abs(offset + 30_000) <= ALLOWED_MS


def header_at(t_boot_ms: int) -> Header:
    return Header(0x0101, 1, 5, 1, t_boot_ms % 2**32, 0, 0, KEY_ID)


@pytest.mark.parametrize("ppm", [-50, 0, 50])
def test_the_node_clock_is_followed_as_it_drifts(ppm: int) -> None:
    """A month, a frame every ten minutes, 20 ms old at best."""
    clock = BootClock()
    resp_ms = 2**32 - 3_600_000
    node_ms = 1_000
    for number in range(30 * 144):
        clock.seen(header_at(node_ms - 20 - 37 * (number % 5)), resp_ms)
        error = (clock.at(resp_ms) - node_ms + 2**31) % 2**32 - 2**31
        assert -400 < error <= 300, number
        resp_ms += 600_000
        node_ms += 600_000 + ppm * 600_000 // 1_000_000


def test_an_exchange_of_times_is_better_than_the_age_of_any_frame() -> None:
    clock = BootClock()
    header = header_at(100_000)
    assert clock.age(header, 7000) == 0  # nothing is known of this boot
    clock.measured(KEY_ID, 5, 99_000, 5000)  # the node shows 104,000
    assert clock.age(header, 5000) == 4000
    clock.seen(header, 5000)  # a frame that waited for 4 s
    assert clock.at(5000) == 104_000
    other = Header(0x0101, 1, 6, 1, 1000, 0, 0, KEY_ID)  # of the next boot
    assert clock.age(other, 5000) == 0
    wrapped = BootClock()
    wrapped.measured(KEY_ID, 5, 99_000 - (1 << 32), 5000)
    assert wrapped.age(header, 5000) == 4000
