"""Overload, a broker's return, and pacing over an hour, with a clock that is simulated."""

import itertools
import random
import statistics

import pytest

from gateway_agent.config_uplink import LATENCY_MS
from gateway_agent.uplink.backoff import Backoff
from gateway_agent.uplink.flight import Pace

from .flight_world import RECORD_BYTES, Draw, FlightWorld

WINDOW = 1 << 18
PACE = Pace(batch_records=1000, interval_s=1.0, window_bytes=WINDOW, in_flight=64, retry_s=5.0)
LOW = PACE._replace(interval_s=LATENCY_MS["low"] / 1000)


@pytest.mark.parametrize("way_s", [0.001, 0.1])
def test_twice_what_a_collector_can_take_costs_nothing_of_what_it_takes(way_s: float) -> None:
    """Five minutes; the outbox is full after one."""
    capacity, minutes = 1000, 5
    world = FlightWorld(PACE, collector_s=1 / capacity, way_s=way_s, outbox=60 * capacity)
    world.each(0.05, 60.0 * minutes, lambda: world.commit(round(2 * capacity * 0.05)))
    world.run_until(60.0 * minutes)
    assert world.offered == pytest.approx(2 * capacity * 60 * minutes, rel=0.01)
    assert world.stored >= 0.95 * capacity * 60 * minutes
    # Each record is stored, waits, or was skipped where it came from.
    assert world.offered - world.skipped - world.stored <= 60 * capacity
    assert world.skipped > 0
    assert world.repeated() == 0
    assert world.most_in_flight <= WINDOW + PACE.batch_records * RECORD_BYTES


@pytest.mark.parametrize("knows_absence", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
def test_all_is_stored_soon_after_a_broker_listens_again(knows_absence: bool) -> None:
    """After an outage of up to a minute, whoever of gateway and collector comes back first."""
    for seed in range(15):
        random.seed(seed)
        _outage(FlightWorld(PACE, collector_s=1e-4, knows_absence=knows_absence))


def _outage(world: FlightWorld) -> None:
    world.each(0.05, 100.0, lambda: world.commit(5))
    world.run_until(10.0)
    assert world.stored
    world.go_away()
    world.run_until(10.0 + random.uniform(1.0, 60.0))
    world.come_back()
    back, waiting = world.now, world.offered
    world.run_until(back + 60.0, lambda: world.stored >= waiting)
    assert world.now - back < 5.0
    world.run_until(world.now + 20.0)
    assert world.repeated() == 0
    assert len(world.lost) <= 4  # tried again after 0.5, 1 and 2 s while there is no collector


@pytest.mark.parametrize("is_silent", [False, True], ids=["refused", "silent"])
@pytest.mark.parametrize("latency", LATENCY_MS)
def test_the_longest_waits_of_both_sides_end_within_5_s_of_a_broker_s_return(
    latency: str, is_silent: bool
) -> None:
    """It comes back at the worst moments, right after it was asked in vain, at 50 ms from us."""
    pace = PACE._replace(interval_s=LATENCY_MS[latency] / 1000)
    sides: tuple[Draw, ...] = (min, max)
    for gateway, collector, knows in itertools.product(sides, sides, (True, False)):

        def world(draws: tuple[Draw, Draw], knows: bool) -> FlightWorld:
            world = FlightWorld(
                pace, collector_s=1e-4, way_s=0.05, knows_absence=knows, is_silent=is_silent,
                draws=draws,
            )  # fmt: skip
            world.each(0.5, 60.0, lambda: world.commit(40))
            world.run_until(20.0)
            world.go_away()
            return world

        tried = world((gateway, collector), knows)
        tried.run_until(40.0)
        moments = sorted({at + 1e-3 for at in tried.in_vain if at >= 28.0})
        assert len(moments) >= 5
        for moment in moments:
            _comes_back(world((gateway, collector), knows), moment)


def _comes_back(world: FlightWorld, moment: float) -> None:
    world.run_until(moment)
    world.come_back()
    waiting = world.offered
    world.run_until(moment + 60.0, lambda: world.stored >= waiting)
    assert world.now - moment < 5.0
    world.run_until(world.now + 3.0)
    assert world.repeated() == 0  # where both come back at one instant, too


def test_a_fleet_does_not_return_at_one_instant() -> None:
    """Of gateways that lost their broker at once, some come back in each tenth of a second."""
    for away_s in (0.2, 1.0, 10.0, 60.0):
        times: list[float] = []
        for seed in range(100):
            backoff = Backoff(draw=random.Random(seed).uniform)
            at = 0.0
            while at < away_s:
                at += backoff.next_s()
            times.append(at)
        assert max(sum(at <= other < at + 0.1 for other in times) for at in times) <= 60


def test_a_collector_that_is_away_costs_one_batch_now_and_then() -> None:
    world = FlightWorld(PACE, collector_s=1e-4, knows_absence=False)
    world.each(0.05, 400.0, lambda: world.commit(100))
    world.run_until(10.0)
    world.leave()
    world.run_until(16.0)  # a window was on its way, or would have been
    sent = len(world.lost)
    world.run_until(311.0)
    assert len(world.lost) - sent <= 10  # after 10, 20 and each 40 s
    world.subscribe()
    back, waiting = world.now, world.offered
    world.run_until(back + 120.0, lambda: world.stored >= waiting)
    assert world.now - back < 80.0  # 600,000 records at 10,000/s, and what comes meanwhile


@pytest.mark.parametrize(("pace", "most_s"), [(LOW, 0.1), (PACE, 1.0)], ids=["low", "normal"])
@pytest.mark.parametrize("lag_s", [0.0003, 0.4])
def test_the_age_of_readings_does_not_drift_in_an_hour(
    pace: Pace, most_s: float, lag_s: float
) -> None:
    """Polls each second, committed a moment later, each time a little later than the period."""
    world = FlightWorld(pace, collector_s=1e-4, way_s=lag_s / 4)
    world.each(1.0, 3600.0, lambda: world.after(0.05, lambda: world.commit(10, 0.05)))
    world.run_until(3600.0)
    by_minute: dict[int, list[float]] = {}
    for when, age in world.ages:
        if when >= 60.0:
            by_minute.setdefault(int(when // 60), []).append(age)
    medians = [statistics.median(ages) for ages in by_minute.values()]
    assert len(medians) >= 58
    assert max(medians) - min(medians) <= 0.005
    assert max(medians) <= most_s + lag_s + 0.07
