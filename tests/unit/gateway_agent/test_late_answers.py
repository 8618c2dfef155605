"""Which answers may still come, and which frame is one of them."""

from gateway_agent.field.late_answers import LATEST_S, LateAnswers
from protocols.modbus_client import VARIABLE, AnswerShape, Read, read_request

TEN = AnswerShape(1, 4, 20)
TWO = AnswerShape(1, 4, 4)


def test_a_shape_is_pending_until_its_unit_answers() -> None:
    late = LateAnswers()
    assert not late
    late.add(TEN, 0.0)
    assert late
    assert late.is_pending(TEN, 1.0)
    assert not late.is_pending(TWO, 1.0)
    assert not late.is_pending(AnswerShape(2, 4, 20), 1.0)
    late.answered(TWO, 1.0)
    assert not late.is_pending(TEN, 1.0)
    late.answered(TWO, 1.0)
    assert not late


def test_an_answer_is_not_waited_for_for_ever() -> None:
    late = LateAnswers()
    late.add(TEN, 0.0)
    assert late.is_pending(TEN, LATEST_S)
    assert not late.is_pending(TEN, LATEST_S + 0.1)


def test_a_pending_answer_is_taken_once() -> None:
    late = LateAnswers()
    late.add(TEN, 0.0)
    assert not late.take(TWO)
    assert not late.take(AnswerShape(1, 3, 20))
    assert not late.take(AnswerShape(2, 4, 20))
    assert late.take(TEN)
    assert not late.take(TEN)


def test_an_exception_or_an_answer_of_variable_length_may_be_any_of_its_function() -> None:
    late = LateAnswers()
    late.add(TEN, 0.0)
    assert late.take(AnswerShape(1, 0x84, VARIABLE))
    late.add(AnswerShape(1, 0x2B, VARIABLE), 0.0)
    assert not late.take(AnswerShape(1, 0x84, VARIABLE))
    assert late.take(AnswerShape(1, 0x2B, VARIABLE))


def test_an_exception_may_be_the_answer_to_an_older_request() -> None:
    late = LateAnswers()
    late.add(AnswerShape(1, 3, 2), 0.0)
    late.add(TEN, 1.0)
    late.add(TWO, 2.0)
    asked = AnswerShape(1, 4, 8)
    late.answered(asked, 3.0, is_refusal=True)
    # Units answer in order: what was asked before TEN is settled with it.
    assert not late.is_pending(AnswerShape(1, 3, 2), 3.0)
    assert not late.is_pending(TEN, 3.0)
    assert late.is_pending(TWO, 3.0)
    assert late.is_pending(asked, 3.0)
    # It is not waited for longer than the older one was.
    assert not late.is_pending(asked, 1.1 + LATEST_S)
    late.answered(AnswerShape(1, 3, 8), 3.0, is_refusal=True)
    assert not late


def test_an_answer_like_a_pending_one_may_be_that() -> None:
    late = LateAnswers()
    late.add(TWO, 0.0)
    late.add(TEN, 1.0)
    late.answered(TEN, 2.0)
    assert not late.is_pending(TWO, 2.0)
    assert late.is_pending(TEN, 2.0)
    late.answered(TEN, 2.0 + LATEST_S)
    assert not late


def test_what_to_probe_with() -> None:
    late = LateAnswers()
    two, ten = (read_request(1, Read(4, 0, words)) for words in (2, 10))
    assert late.least_likely([two, ten], 1.0) is two
    late.add(TWO, 5.0)
    assert late.least_likely([two, ten], 5.0) is ten
    late.add(TEN, 4.0)
    assert late.least_likely([two, ten], 5.0) is ten
    assert late.least_likely([two, ten], 4.5 + LATEST_S) is ten
    assert late.least_likely([two, ten], 6.0 + LATEST_S) is two
