"""How long the writes of an update are, by what became of those before."""

import random

from gateway_agent.config import SerialBus
from gateway_agent.update.bus_update import BusUpdate
from gateway_agent.update.write_length import WriteLength
from tests.virtual_update import image


def after(length: WriteLength, chance: float, writes: int = 200) -> set[int]:
    """Return the lengths in use while each quarter of a write is lost with a chance."""
    rolls = random.Random(7)
    used = []
    for _ in range(writes):
        came = all(rolls.random() >= chance for _ in range(length.quarters))
        length.note(int(came), int(not came))
        used.append(length.quarters)
    return set(used[writes // 2 :])


def test_a_clean_line_carries_whole_blocks() -> None:
    assert after(WriteLength(), 0.0) == {4}


def test_few_losses_change_nothing() -> None:
    assert after(WriteLength(), 0.02) == {4}


def test_writes_shorten_on_a_bad_line_and_lengthen_when_it_is_mended() -> None:
    length = WriteLength()
    assert after(length, 0.55) == {1}
    assert (length.words, length.repeats) == (30, 4)
    assert after(length, 0.0) == {4}
    assert (length.words, length.repeats) == (120, 1)


def test_two_losses_conclude_nothing() -> None:
    length = WriteLength()
    length.note(0, 2)
    assert length.quarters == 4
    length.note(0, 1)
    assert length.quarters == 2


def test_what_was_long_ago_does_not_count() -> None:
    length = WriteLength()
    for _ in range(50):
        length.note(9, 1)
    for _ in range(40):
        length.note(0, 1)
    assert length.quarters == 1


def test_on_a_fast_line_a_block_is_sent_again_and_not_cut() -> None:
    """Its bytes take less time than the pause behind each piece."""
    for baud, shortest in ((9600, 1), (19200, 2), (115200, 4)):
        bus = SerialBus(name="b", port="x", baudrate=baud, device=())
        work = BusUpdate(bus, image(480), 1, [])
        assert after(work._length, 0.9) == {shortest}, baud
