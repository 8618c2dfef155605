"""What is sent when: batches in flight, silence, repetition and new streams, without a broker."""

import pytest

from gateway_agent.store.outbox import Stats
from gateway_agent.store.window import Slice
from gateway_agent.uplink.flight import Flight, Pace
from protocols.uplink import Anchor

PACE = Pace(batch_records=10, interval_s=2.0, window_bytes=1000, in_flight=2, retry_s=5.0)
MANY = 1000  # batches without a PUBACK that the broker takes
STREAM = 1 << 32


def stats(last: int, receipted_to: int = 0, stream: int = STREAM) -> Stats:
    return Stats(stream, last, receipted_to, last - receipted_to, 0, 0)


def piece(first: int, last: int) -> Slice:
    return Slice(STREAM, first, last, b"", b"", (), Anchor(b"", 0, None, 0, 0))


def flight_at(now: float, last: int, receipted_to: int = 0, is_alone: bool = False) -> Flight:
    """A flight in a connection that begins ``now``; a receipt has come in it, or not."""
    flight = Flight(PACE, now)
    flight.rewind(stats(last, receipted_to), now, MANY)
    flight.follow(stats(last, receipted_to), now)
    if not is_alone:
        flight.receipted(receipted_to, now)
    return flight


def send(flight: Flight, first: int, last: int, now: float, size: int = 10) -> bool:
    """Send a batch that the broker acknowledges; return whether it was sent before, too."""
    sent = flight.send(piece(first, last), size, now)
    assert flight.acknowledged(is_heard=True, now=now) is sent
    return sent.again


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


def test_batches_follow_each_other_without_a_puback_up_to_the_bytes_of_the_window() -> None:
    pace = PACE._replace(in_flight=64)
    flight = Flight(pace, 0.0)
    flight.rewind(stats(1000), 0.0, MANY)
    flight.follow(stats(1000), 0.0)
    flight.receipted(0, 0.0)
    books, sent = stats(1000), []
    while flight.wait_s(books, 0.0, at_once=False) == 0:
        first = flight.sent_to + 1
        sent.append(flight.send(piece(first, first + 9), 300, 0.0))
    assert [batch.size for batch in sent] == [300] * 4  # the fourth is the one that fills it
    flight.receipted(10, 1.0)
    flight.follow(stats(1000, 10), 1.0)
    assert flight.wait_s(stats(1000, 10), 1.0, at_once=False) == 0
    flight.send(piece(41, 50), 5000, 1.0)  # larger than the window
    flight.receipted(40, 2.0)
    flight.follow(stats(1000, 40), 2.0)
    assert flight.wait_s(stats(1000, 40), 2.0, at_once=False) > 0
    flight.receipted(50, 3.0)
    flight.follow(stats(1000, 50), 3.0)
    assert flight.wait_s(stats(1000, 50), 3.0, at_once=False) == 0


def test_no_more_are_without_a_puback_than_the_broker_takes() -> None:
    flight = Flight(PACE._replace(in_flight=64), 0.0)
    flight.rewind(stats(1000), 0.0, 3)
    flight.follow(stats(1000), 0.0)
    flight.receipted(0, 0.0)
    for first in (1, 11, 21):
        assert flight.wait_s(stats(1000), 0.0, at_once=False) == 0
        flight.send(piece(first, first + 9), 10, 0.0)
    flight.receipted(30, 0.1)  # before the broker's answers
    flight.follow(stats(1000, 30), 0.1)
    assert flight.wait_s(stats(1000, 30), 0.1, at_once=True) > 0
    assert flight.acknowledged(is_heard=True, now=0.2).last == 10
    assert flight.wait_s(stats(1000, 30), 0.2, at_once=True) == 0


def test_one_batch_goes_alone_until_a_receipt_comes() -> None:
    flight = flight_at(0.0, 100, is_alone=True)
    send(flight, 1, 10, 0.0)
    assert flight.wait_s(stats(100), 0.0, at_once=True) == pytest.approx(5.0)
    flight.follow(stats(100), 5.0)  # silence
    send(flight, 1, 10, 5.0)
    assert flight.wait_s(stats(100), 5.0, at_once=True) == pytest.approx(10.0)
    flight.receipted(10, 6.0)
    flight.follow(stats(100, 10), 6.0)
    for first in (11, 21):
        assert flight.wait_s(stats(100, 10), 6.0, at_once=True) == 0
        send(flight, first, first + 9, 6.0)
    flight.rewind(stats(100, 10), 7.0, MANY)
    send(flight, 11, 20, 7.0)
    assert flight.wait_s(stats(100, 10), 7.0, at_once=True) > 0


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
    flight = Flight(PACE._replace(awaits_receipts=False), 0.0)
    flight.rewind(stats(100), 0.0, MANY)
    flight.follow(stats(100), 0.0)
    for first in range(1, 100, 10):
        assert flight.wait_s(stats(100), 0.0, at_once=False) == 0
        send(flight, first, first + 9, 0.0)
    assert flight.sent_to == 100
    assert flight.wait_s(stats(100, receipted_to=100), 0.0, at_once=True) >= 60


def test_without_receipts_the_window_is_what_the_broker_has_not_acknowledged() -> None:
    flight = Flight(PACE._replace(awaits_receipts=False), 0.0)
    flight.rewind(stats(100), 0.0, MANY)
    flight.follow(stats(100), 0.0)
    for first in (1, 11):
        assert flight.wait_s(stats(100), 0.0, at_once=False) == 0
        flight.send(piece(first, first + 9), 10, 0.0)
    assert flight.wait_s(stats(100), 0.0, at_once=True) >= 60
    flight.follow(stats(100), 60.0)
    assert flight.sent_to == 20, "a connection without PUBACKs ends; nothing is repeated in it"
    assert flight.acknowledged(is_heard=False, now=60.0).last == 10
    assert flight.wait_s(stats(100), 60.0, at_once=True) == 0


def test_a_receipt_is_due_from_the_first_batch_sent_without_one() -> None:
    flight = flight_at(100.0, 50)
    assert flight.waiting_s(stats(50), 130.0) == 0
    send(flight, 1, 10, 130.0)
    send(flight, 11, 20, 131.0)
    assert flight.waiting_s(stats(50), 135.0) == 5
    flight.follow(stats(50), 140.0)  # all of it is sent again
    send(flight, 1, 10, 140.0)
    assert flight.waiting_s(stats(50), 190.0) == 60
    flight.rewind(stats(50), 195.0, MANY)  # in a new connection
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
    flight.send(piece(1, 10), 10, 0.0)
    flight.repeated(0, 0.1)
    flight.acknowledged(is_heard=True, now=0.2)
    flight.follow(stats(100), 0.2)
    # The two may have crossed; then the answer to the batch is on its way.
    assert flight.sent_to == 10
    assert flight.wait_s(stats(100), 0.2, at_once=True) == pytest.approx(0.3)
    flight.follow(stats(100), 0.5)
    assert flight.sent_to == 0


def test_a_batch_that_crossed_the_collector_s_word_is_not_sent_again() -> None:
    flight = flight_at(0.0, 100)
    flight.send(piece(1, 10), 10, 0.0)
    flight.repeated(0, 0.1)
    flight.acknowledged(is_heard=True, now=0.2)
    flight.receipted(10, 0.3)
    for now in (0.3, 0.5, 3.0):
        flight.follow(stats(100, receipted_to=10), now)
        assert flight.sent_to == 10
        assert flight.wait_s(stats(100, receipted_to=10), now, at_once=True) == 0


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
    flight.repeated(20, 0.7)  # too late to have crossed it
    flight.follow(stats(100, receipted_to=20), 0.7)
    assert flight.sent_to == 20


def test_a_batch_that_nobody_was_subscribed_to_goes_again_alone_until_somebody_is() -> None:
    flight = flight_at(0.0, 100)
    now, waits = 0.0, []
    for _ in range(6):
        assert flight.send(piece(1, 10), 10, now).again == (now > 0)
        flight.acknowledged(is_heard=False, now=now)
        assert flight.is_unheard
        assert flight.unheard_s(now) == now
        flight.follow(stats(100), now)
        wait = flight.wait_s(stats(100), now, at_once=False)
        waits.append(wait)
        now += wait
        assert flight.wait_s(stats(100), now, at_once=False) == 0
    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    flight.send(piece(1, 10), 10, now)
    flight.acknowledged(is_heard=False, now=now)
    flight.repeated(0, now)  # a collector comes
    flight.follow(stats(100), now)
    assert not flight.is_unheard
    assert flight.unheard_s(now) == 0
    assert flight.wait_s(stats(100), now, at_once=False) == 0
    flight.send(piece(1, 10), 10, now)
    flight.acknowledged(is_heard=False, now=now + 1)
    assert flight.unheard_s(now + 3) == 2
    flight.rewind(stats(100), now + 10, 20)  # while there was no broker nobody can tell
    assert flight.unheard_s(now + 11) == 1


def test_what_was_sent_behind_a_batch_that_nobody_took_goes_again_behind_it() -> None:
    """The collector goes away while a window of batches is on its way."""
    flight = flight_at(0.0, 100)
    flight.send(piece(1, 10), 10, 0.0)
    flight.send(piece(11, 20), 10, 0.0)
    flight.acknowledged(is_heard=True, now=0.1)
    flight.acknowledged(is_heard=False, now=0.1)
    assert flight.sent_to == 10
    flight.receipted(10, 0.1)
    flight.follow(stats(100, 10), 0.1)
    flight = flight_at(0.0, 100)
    flight.send(piece(1, 10), 10, 0.0)
    flight.send(piece(11, 20), 10, 0.0)
    flight.acknowledged(is_heard=False, now=0.1)
    flight.acknowledged(is_heard=False, now=0.1)
    assert flight.sent_to == 0
    assert flight.wait_s(stats(100), 0.1, at_once=True) == 0.5, "one wait for both"


def test_the_largest_batch_without_an_acknowledgement_may_have_been_too_large() -> None:
    flight = flight_at(0.0, 100)
    assert flight.ended() == 0
    flight.send(piece(1, 10), 500, 0.0)
    flight.send(piece(11, 13), 300, 0.0)
    assert flight.ended() == 10
    flight.acknowledged(is_heard=True, now=0.1)
    assert flight.ended() == 3
    flight.too_large(3)
    assert flight.most == 1


def test_a_new_connection_waits_for_its_first_receipt_no_longer_than_the_first_did() -> None:
    flight = flight_at(0.0, 10)
    now = 0.0
    for _ in range(4):
        send(flight, 1, 10, now)
        now += flight.wait_s(stats(10), now, at_once=False)
        flight.follow(stats(10), now)
    flight.rewind(stats(10), now, MANY)
    send(flight, 1, 10, now)
    assert flight.wait_s(stats(10), now, at_once=False) == 5.0


@pytest.mark.parametrize("sending_s", [0.002, 0.4])
def test_readings_do_not_age_more_and_more_until_they_are_sent(sending_s: float) -> None:
    """An hour of a record each second and a batch each second, as a loop with a clock sees it."""
    flight = Flight(PACE._replace(interval_s=1.0, in_flight=4000, retry_s=1e6), 0.0)
    now, ages = 0.0, []
    flight.rewind(stats(0), now, MANY)
    flight.follow(stats(0), now)
    flight.receipted(0, now)
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
            send(flight, flight.sent_to + 1, second, now, size=0)
            now += sending_s
            ages.append(now - second)
    assert len(ages) == 3599
    assert max(ages) <= sending_s + 0.007
