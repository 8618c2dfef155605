"""What is missed is counted, survives in a mark, and goes on in a later process or boot."""

import pytest

from gateway_agent.clock import Wall
from gateway_agent.field.heartbeat import Stall
from gateway_agent.field.slot_account import Resumed, SlotAccount, counted, resume
from gateway_agent.store.mark import Mark, MissedSlots, SlotMark, UncountedOutage
from protocols.uplink import CLOCK_NONE, CLOCK_SYNCHRONISED

BOOT, NEXT_BOOT = b"a" * 16, b"b" * 16
SET, UNSET = Wall(1_800_000_100_000, 20, CLOCK_SYNCHRONISED), Wall(None, 0, CLOCK_NONE)
BUSY = MissedSlots("bus_busy", 3, 9_000, 9_600)


def test_each_slot_counts_once() -> None:
    account = SlotAccount()
    account.begin(1000)
    account.answer()
    account.note("crc", "after the answer, as of an event frame", 1010)
    account.begin(2000)
    account.note("bus_timeout", "no answer", 2500)
    account.note("bus_timeout", "a second word about the same slot", 2510)
    account.skip("bus_busy", "busy", 2, 3000, 4000, 4100)
    assert (account.answered, account.missed, account.pending) == (1, 3, 3)
    assert account.cause == "bus_timeout"  # a fault of the device goes before a busy bus
    assert account.total() == MissedSlots("bus_timeout", 3, 2000, 4000)
    assert [named.missed for named in account.take()] == [
        MissedSlots("bus_timeout", 1, 2000, 2000),
        MissedSlots("bus_busy", 2, 3000, 4000),
    ]
    assert (account.named, account.pending) == (3, 0)


def test_what_a_busy_bus_costs_is_named_once_a_minute() -> None:
    account, records = SlotAccount(), 0
    for second in range(600):  # every other slot is skipped
        now = 1000 * second
        if second % 2:
            account.skip("bus_busy", "busy", 1, now, now, now)
        else:
            account.begin(now)
            account.answer()
        assert not account.is_failing
        if account.notice_due(now):
            records += len(account.take())
    assert 9 <= records <= 10
    assert account.named + account.pending == 300


def test_an_answer_ends_what_a_death_of_the_gateway_cost() -> None:
    """Two deaths are two gaps: no poll that was answered lies between the times of one."""
    account = SlotAccount()
    account.restore([MissedSlots("gateway_down", 1, 1000, 1000)], 1500)
    account.begin(2000)
    account.answer()
    assert account.is_failing  # the poller names what is missed with the answer
    assert [named.missed for named in account.take()] == [
        MissedSlots("gateway_down", 1, 1000, 1000)
    ]
    assert account.marked() == ()


def test_a_silent_device_is_named_at_growing_distance() -> None:
    account, moments = SlotAccount(), []
    for now in range(0, 1_000_000, 1000):
        account.begin(now)
        account.note("bus_timeout", "no answer", now)
        if account.notice_due(now):
            account.take()
            moments.append(now // 1000)
    assert moments == [60, 181, 422, 903]
    assert account.named + account.pending == account.missed == 1000


def test_in_the_same_boot_the_grid_goes_on() -> None:
    mark = SlotMark(BOOT, 10_000, 200, None, 0, (BUSY,))
    assert resume(mark, BOOT, 200, 10_150, UNSET) == Resumed(10_000, (BUSY,), None)
    down = MissedSlots("gateway_down", 5, 10_000, 10_800)
    assert resume(mark, BOOT, 200, 11_150, UNSET) == Resumed(11_000, (BUSY, down), None)
    assert resume(mark, BOOT, 200, 9_900, UNSET) == Resumed(10_000, (BUSY,), None)
    # A shorter period holds at once; what passed is counted with the one that held then.
    assert resume(mark, BOOT, 50, 9_900, UNSET).due_ms == 9_950
    assert resume(mark, BOOT, 50, 11_150, UNSET) == Resumed(11_000, (BUSY, down), None)


def test_in_another_boot_wall_time_leads() -> None:
    # 95 s before now by wall time; this boot is 30 s old.
    mark = SlotMark(BOOT, 10_000, 10_000, 1_800_000_005_000, 20, (BUSY,))
    going_on = resume(mark, NEXT_BOOT, 10_000, 30_000, SET)
    shifted = MissedSlots("bus_busy", 3, -66_000, -65_400)
    down = MissedSlots("gateway_down", 9, -65_000, 15_000)
    assert going_on == Resumed(25_000, (shifted, down), None)


@pytest.mark.parametrize("wall_ms", [None, 1_800_000_005_000])
def test_without_a_clock_the_outage_is_named_and_counted_later(wall_ms: int | None) -> None:
    mark = SlotMark(BOOT, 10_000, 10_000, wall_ms, 20, (BUSY,))
    going_on = resume(mark, NEXT_BOOT, 10_000, 30_000, UNSET)
    assert going_on.due_ms == 30_000
    assert going_on.missed == (
        MissedSlots("bus_busy", 3, None, None),
        MissedSlots("gateway_down", None, None, None),
    )
    if wall_ms is None:
        assert going_on.outage is None
        return
    assert going_on.outage == UncountedOutage(wall_ms, 20, 10_000, 30_000)
    # 70 s later the clock is set: it began 95 s before this boot was 30 s old.
    later = Wall(1_800_000_170_000, 20, CLOCK_SYNCHRONISED)
    assert counted(going_on.outage, 100_000, later) == MissedSlots(
        "gateway_down", 9, -65_000, 15_000
    )
    # It is still known after one more death in this boot, and no more in another one.
    mark = SlotMark(NEXT_BOOT, 40_000, 10_000, None, 0, (), going_on.outage)
    assert resume(mark, NEXT_BOOT, 10_000, 40_000, UNSET).outage == going_on.outage
    assert resume(mark, BOOT, 10_000, 40_000, UNSET).outage is None


def test_a_device_that_was_taken_out_and_comes_back_begins_anew() -> None:
    mark = SlotMark(BOOT, 10_000, 0, 1_800_000_005_000, 20)
    assert resume(mark, NEXT_BOOT, 500, 30_000, SET) == Resumed(30_000, (), None)


@pytest.mark.parametrize(
    "slots",
    [
        None,
        SlotMark(BOOT, 10_000, 200, None, 0),
        SlotMark(BOOT, -5, 86_400_000, 1_800_000_000_000, 86_400_000, (BUSY, BUSY)),
        SlotMark(BOOT, 10_000, 0, None, 0, (), UncountedOutage(1, 2, 3, 4)),
        SlotMark(BOOT, 1, 2, 3, 4, (MissedSlots("gateway_down", None, None, None),)),
    ],
)
def test_a_mark_is_read_as_it_was_stored(slots: SlotMark | None) -> None:
    mark = Mark(5, 70_000, 3, 1, slots)
    assert Mark.unpack(mark.pack()) == mark


def test_a_mark_of_an_older_outbox_is_still_read() -> None:
    old = bytes.fromhex("050000000000000070110100000000000300000000000000")
    assert Mark.unpack(old) == Mark(5, 70_000, 3, 0)
    assert Mark.unpack(old + bytes.fromhex("0700000000000000")) == Mark(5, 70_000, 3, 7)


def test_the_slots_of_a_stall() -> None:
    stall = Stall(1000, 2000)
    assert list(stall.slots(700, 300, 10)) == [1, 2, 3, 4]  # 1000 to 1900
    assert list(stall.slots(700, 300, 3)) == [1, 2]
    assert list(stall.slots(2100, 300, 10)) == []
    assert list(stall.slots(100, 100, 5)) == []
