"""What is sent when: batches in flight, silence, repetition and new streams, without a broker."""

import pytest

from gateway_agent.store.outbox import Stats
from gateway_agent.store.window import Slice
from gateway_agent.uplink.flight import Flight, Pace
from protocols.uplink import Anchor

PACE = Pace(batch_records=10, interval_s=2.0, in_flight=2, retry_s=5.0)
STREAM = 1 << 32


def stats(last: int, receipted_to: int = 0, stream: int = STREAM) -> Stats:
    return Stats(stream, last, receipted_to, last - receipted_to, 0, 0)


def piece(first: int, last: int) -> Slice:
    return Slice(STREAM, first, last, b"", b"", (), Anchor(b"", 0, None, 0, 0))


def flight_at(now: float, last: int, receipted_to: int = 0) -> Flight:
    """A flight in a connection that begins ``now``."""
    flight = Flight(PACE, now)
    flight.rewind(stats(last, receipted_to), now)
    flight.follow(stats(last, receipted_to), now)
    return flight


def send(flight: Flight, first: int, last: int, now: float) -> bool:
    again = flight.begin(piece(first, last), now)
    flight.sent(piece(first, last), awaits_receipt=True)
    return again


def test_it_begins_after_the_last_receipt() -> None:
    assert flight_at(100.0, 50, receipted_to=20).sent_to == 20


def test_a_full_batch_goes_at_once_and_a_small_one_after_the_interval() -> None:
    flight = flight_at(100.0, 10)
    assert flight.wait_s(stats(10), 100.0, at_once=False) == 0
    send(flight, 1, 10, 100.0)
    assert flight.wait_s(stats(13), 100.5, at_once=False) == pytest.approx(1.5)
    assert flight.wait_s(stats(13), 102.0, at_once=False) == 0
    assert flight.wait_s(stats(13), 100.5, at_once=True) == 0
    assert flight.wait_s(stats(20), 100.5, at_once=False) == 0


def test_nothing_to_send_waits_for_the_end_of_silence() -> None:
    flight = flight_at(100.0, 0)
    assert flight.wait_s(stats(0), 100.0, at_once=True) >= 60
    flight = flight_at(100.0, 10)
    send(flight, 1, 10, 101.0)
    assert flight.wait_s(stats(10), 102.0, at_once=True) == pytest.approx(4.0)


def test_no_more_than_in_flight_are_without_a_receipt() -> None:
    flight = flight_at(100.0, 100)
    send(flight, 1, 10, 100.0)
    send(flight, 11, 20, 100.0)
    assert flight.wait_s(stats(100), 100.0, at_once=True) == pytest.approx(5.0)
    flight.follow(stats(100, receipted_to=10), 101.0)
    assert flight.wait_s(stats(100, receipted_to=10), 101.0, at_once=True) == 0


def test_a_receipt_inside_a_batch_does_not_end_its_flight() -> None:
    flight = flight_at(100.0, 100)
    send(flight, 1, 10, 100.0)
    send(flight, 11, 20, 100.0)
    flight.follow(stats(100, receipted_to=9), 101.0)
    assert flight.wait_s(stats(100, receipted_to=9), 101.0, at_once=True) > 0


def test_silence_sends_again_and_doubles_the_wait_up_to_eight_times() -> None:
    flight = flight_at(0.0, 10)
    now, waits = 0.0, []
    assert not send(flight, 1, 10, now)
    for _ in range(5):
        wait = flight.wait_s(stats(10), now, at_once=False)
        waits.append(wait)
        flight.follow(stats(10), now + wait - 0.1)
        assert flight.sent_to == 10
        now += wait
        flight.follow(stats(10), now)
        assert flight.sent_to == 0
        assert send(flight, 1, 10, now), "a repetition"
    assert waits == [5.0, 10.0, 20.0, 40.0, 40.0]
    flight.receipted(10, now)
    assert flight.wait_s(stats(10), now, at_once=False) == 5.0


def test_the_wait_for_a_receipt_begins_with_the_first_batch_in_flight() -> None:
    flight = flight_at(0.0, 100)
    send(flight, 1, 10, 3.0)
    send(flight, 11, 20, 6.0)
    flight.follow(stats(100), 7.9)
    assert flight.sent_to == 20
    flight.follow(stats(100), 8.0)
    assert flight.sent_to == 0


def test_a_new_stream_begins_at_its_receipt_and_repeats_nothing() -> None:
    flight = flight_at(0.0, 100)
    send(flight, 1, 10, 0.0)
    flight.restarted(1.0)
    flight.follow(stats(30, stream=STREAM + 1), 1.0)
    assert (flight.stream, flight.sent_to) == (STREAM + 1, 0)
    assert not send(flight, 1, 10, 1.0)


def test_without_receipts_nothing_stays_in_flight() -> None:
    flight = flight_at(0.0, 100)
    for first in range(1, 100, 10):
        flight.begin(piece(first, first + 9), 0.0)
        flight.sent(piece(first, first + 9), awaits_receipt=False)
    assert flight.sent_to == 100
    assert flight.wait_s(stats(100, receipted_to=100), 0.0, at_once=True) >= 60


def test_a_receipt_is_due_from_the_first_batch_sent_without_one() -> None:
    flight = flight_at(100.0, 50)
    assert flight.waiting_s(stats(50), 130.0) == 0
    send(flight, 1, 10, 130.0)
    send(flight, 11, 20, 131.0)
    assert flight.waiting_s(stats(50), 135.0) == 5
    flight.follow(stats(50), 140.0)  # all of it is sent again
    send(flight, 1, 10, 140.0)
    assert flight.waiting_s(stats(50), 190.0) == 60
    flight.rewind(stats(50), 195.0)  # in a new connection
    send(flight, 1, 10, 195.0)
    assert flight.waiting_s(stats(50), 200.0) == 70
    flight.receipted(10, 200.0)
    flight.follow(stats(50, receipted_to=10), 200.0)
    assert flight.waiting_s(stats(50, receipted_to=10), 203.0) == 3
    flight.receipted(20, 204.0)
    flight.follow(stats(50, receipted_to=20), 204.0)
    assert flight.waiting_s(stats(50, receipted_to=20), 300.0) == 0
    send(flight, 21, 30, 300.0)
    assert flight.waiting_s(stats(50, receipted_to=20), 301.0) == 1


def test_a_collector_that_says_again_how_far_it_came_gets_the_rest_at_once() -> None:
    """What was sent before it came reached nobody."""
    flight = flight_at(0.0, 100, receipted_to=20)
    send(flight, 21, 30, 0.0)
    send(flight, 31, 40, 0.1)
    flight.repeated(20, 0.5)
    flight.follow(stats(100, receipted_to=20), 0.5)
    assert flight.sent_to == 20
    assert flight.wait_s(stats(100, receipted_to=20), 0.5, at_once=False) == 0


def test_a_batch_on_its_way_to_the_broker_does_not_hide_that_word() -> None:
    flight = flight_at(0.0, 100)
    flight.begin(piece(1, 10), 0.0)
    flight.repeated(0, 0.1)
    flight.sent(piece(1, 10), awaits_receipt=True)
    flight.follow(stats(100), 0.2)
    assert flight.sent_to == 0


def test_answers_to_batches_that_came_twice_send_nothing_a_third_time() -> None:
    """Both copies are answered: the first with a new receipt, the second with the same again."""
    flight = flight_at(0.0, 100)
    send(flight, 1, 10, 0.0)
    send(flight, 11, 20, 0.0)
    flight.follow(stats(100), 5.0)  # the collector was slow: both go again
    send(flight, 1, 10, 5.0)
    send(flight, 11, 20, 5.0)
    for to in (10, 20):
        flight.receipted(to, 6.0)
        flight.follow(stats(100, receipted_to=to), 6.0)
    send(flight, 21, 30, 6.5)
    for _ in range(2):
        flight.repeated(20, 7.0)
        flight.follow(stats(100, receipted_to=20), 7.0)
        assert flight.sent_to == 30
    flight.repeated(20, 7.5)  # this one answers nothing
    flight.follow(stats(100, receipted_to=20), 7.5)
    assert flight.sent_to == 20


def test_answers_to_batches_that_were_too_early_send_the_rest_once() -> None:
    flight = flight_at(0.0, 100)
    send(flight, 1, 10, 0.0)
    send(flight, 11, 20, 0.0)
    flight.repeated(0, 0.1)  # the first was lost
    flight.follow(stats(100), 0.1)
    send(flight, 1, 10, 0.1)
    flight.repeated(0, 0.2)
    flight.follow(stats(100), 0.2)
    assert flight.sent_to == 10


def test_a_lost_answer_is_not_waited_for() -> None:
    flight = flight_at(0.0, 100)
    send(flight, 1, 10, 0.0)
    send(flight, 11, 20, 0.0)
    flight.receipted(20, 0.1)
    flight.follow(stats(100, receipted_to=20), 0.1)
    send(flight, 21, 30, 0.2)
    flight.repeated(20, 0.3)
    flight.follow(stats(100, receipted_to=20), 0.3)
    assert flight.sent_to == 20


def test_a_batch_that_nobody_was_subscribed_to_goes_again_alone_until_somebody_is() -> None:
    flight = flight_at(0.0, 100)
    now, waits = 0.0, []
    for _ in range(6):
        assert flight.begin(piece(1, 10), now) == (now > 0)
        flight.unheard(piece(1, 10), now)
        assert flight.is_unheard
        flight.follow(stats(100), now)
        wait = flight.wait_s(stats(100), now, at_once=False)
        waits.append(wait)
        now += wait
        assert flight.wait_s(stats(100), now, at_once=False) == 0
    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    flight.begin(piece(1, 10), now)
    flight.unheard(piece(1, 10), now)
    flight.repeated(0, now)  # a collector comes
    flight.follow(stats(100), now)
    assert not flight.is_unheard
    assert flight.wait_s(stats(100), now, at_once=False) == 0


def test_a_new_connection_waits_for_its_first_receipt_no_longer_than_the_first_did() -> None:
    flight = flight_at(0.0, 10)
    now = 0.0
    for _ in range(4):
        send(flight, 1, 10, now)
        now += flight.wait_s(stats(10), now, at_once=False)
        flight.follow(stats(10), now)
    flight.rewind(stats(10), now)
    send(flight, 1, 10, now)
    assert flight.wait_s(stats(10), now, at_once=False) == 5.0


@pytest.mark.parametrize("sending_s", [0.002, 0.4])
def test_readings_do_not_age_more_and_more_until_they_are_sent(sending_s: float) -> None:
    """An hour of a record each second and a batch each second, as a loop with a clock sees it."""
    flight = Flight(PACE._replace(interval_s=1.0, in_flight=4000, retry_s=1e6), 0.0)
    now, ages = 0.0, []
    flight.rewind(stats(0), now)
    for second in range(1, 3600):
        now = max(now, float(second))  # the record is there
        books = stats(second)
        while flight.sent_to < second:
            flight.follow(books, now)
            wait = flight.wait_s(books, now, at_once=False)
            if wait:
                now += wait
                continue
            now += 0.003  # it is read from the outbox, signed and compressed
            flight.begin(piece(flight.sent_to + 1, second), now)
            now += sending_s
            flight.sent(piece(flight.sent_to + 1, second), awaits_receipt=True)
            ages.append(now - second)
    assert len(ages) == 3599
    assert max(ages) <= sending_s + 0.007
