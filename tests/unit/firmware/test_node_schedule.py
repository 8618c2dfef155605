"""Deadlines on a grid; the time since boot across the wrap of the ticks."""

from firmware.node.schedule import Schedule, Uptime
from firmware.node.watchdog import SAMPLING_LIMIT_MS, SERVING_LIMIT_MS, Watchdog
from tests.unit.firmware.node_fakes import Board, Wdt


def test_late_samples_do_not_shift_the_grid() -> None:
    schedule = Schedule(0, 1000)
    now = 0
    starts = []
    for late in (0, 300, 999, 1, 0, 700):
        now += schedule.due_in(now)
        starts.append(now)
        now += late  # the sample takes this long
        assert schedule.taken(now) == 0
    assert starts == [0, 1000, 2000, 3000, 4000, 5000]
    assert schedule.missed == 0


def test_slots_that_passed_entirely_are_missed() -> None:
    schedule = Schedule(0, 1000)
    assert schedule.taken(1999) == 0  # slot 1000 is due, late but not missed
    assert schedule.due_in(1999) == 0
    assert schedule.taken(2000) == 0
    assert schedule.taken(5000) == 2  # 3000 and 4000 passed, 5000 is due now
    assert schedule.due_in(5000) == 0
    assert schedule.missed == 2
    schedule.taken(5100)
    assert schedule.due_in(5100) == 900


def test_a_new_period_counts_from_the_last_slot() -> None:
    schedule = Schedule(0, 10000)
    schedule.taken(10)
    schedule.set_period(2000, 500)
    assert schedule.due_in(500) == 1500
    schedule.set_period(10000, 600)
    assert schedule.due_in(600) == 9400
    schedule.set_period(1000, 8000)  # seven slots of the new grid are in the past: none is missed
    assert schedule.due_in(8000) == 0
    assert schedule.taken(8001) == 0
    assert schedule.due_in(8001) == 999
    assert schedule.missed == 0


def test_uptime_across_the_wrap() -> None:
    board = Board("nowhere")
    uptime = Uptime(board)
    board.jump(499)
    assert uptime.ms() == 499
    board.jump(2)
    assert board.now_ms() < 10, "the ticks have wrapped"
    assert uptime.ms() == 501
    for _ in range(5):
        board.jump(1 << 28)
        uptime.ms()
    assert uptime.ms() == 501 + 5 * (1 << 28)


def test_watchdog_needs_both() -> None:
    wdt = Wdt()
    watchdog = Watchdog(wdt, 0)
    assert watchdog.check(10, False, False)
    now = 10
    for _ in range(20):  # both move
        now += 3000
        watchdog.sampling.beat()
        watchdog.serving.beat()
        assert watchdog.check(now, False, False)
    feeds = wdt.feeds
    last = now
    while now - last <= SERVING_LIMIT_MS:  # bytes wait, and serving does nothing
        now += 100
        watchdog.sampling.beat()
        fed = watchdog.check(now, False, False)
    assert not fed
    assert wdt.feeds > feeds
    watchdog.serving.beat()
    watchdog.sampling.beat()
    assert watchdog.check(now, False, False), "it goes on when serving does"
    last = now
    while now - last <= SAMPLING_LIMIT_MS:  # sampling stands still, serving does not
        now += 100
        watchdog.serving.beat()
        fed = watchdog.check(now, False, False)
    assert not fed


def test_watchdog_takes_rest_for_progress() -> None:
    watchdog = Watchdog(Wdt(), 0)
    for now in range(0, 10 * SAMPLING_LIMIT_MS, 1000):
        assert watchdog.check(now, True, True)
