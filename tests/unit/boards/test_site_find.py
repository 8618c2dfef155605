"""Two nodes with one address are found, whatever their unique ids and however they clash."""

import random
from collections.abc import Sequence

import pytest

from boards.site.find import Presence, find
from protocols.modbus_client import WriteCounter
from protocols.wire.crc import crc16


class Bus:
    """Nodes that all answer to a window; of several at once noise comes, or now and then one."""

    def __init__(self, uids: Sequence[bytes], seed: int, captured: float = 0.0) -> None:
        self.uids = uids
        self.asked = 0
        self._random = random.Random(seed)
        self._captured = captured

    def ask(self, salt: int, low: int, high: int) -> Presence | bool | None:
        self.asked += 1
        here = [uid for uid in self.uids if low <= crc16(salt.to_bytes(2, "big") + uid) <= high]
        if not here:
            return None
        if len(here) > 1 and self._random.random() >= self._captured:
            return True
        return Presence(self._random.choice(here), 1, True, WriteCounter(1, 0))


@pytest.mark.parametrize("captured", [0.0, 0.5, 1.0])
def test_two_nodes_with_one_address_are_found_100_times_of_100(captured: float) -> None:
    """``captured``: how often the nearer transmitter drowns the other and is heard whole."""
    worst = 0
    for seed in range(100):
        chance = random.Random(1000 + seed)
        uids = sorted(chance.randbytes(12) for _ in range(2))
        if seed % 2:  # boards of one reel: their ids differ in a bit
            uids = sorted([uids[0], uids[0][:11] + bytes([uids[0][11] ^ 1])])
        bus = Bus(uids, seed, captured)
        assert [node.uid for node in find(bus.ask)] == uids, seed
        worst = max(worst, bus.asked)
    assert worst <= 80


@pytest.mark.parametrize("count", [0, 1, 5, 30])
def test_any_number_of_nodes(count: int) -> None:
    chance = random.Random(count)
    uids = sorted(chance.randbytes(12) for _ in range(count))
    bus = Bus(uids, count)
    assert [node.uid for node in find(bus.ask)] == uids
    assert bus.asked <= 1 + 16 * 4 * count


def test_an_answer_that_comes_late_hides_nobody() -> None:
    """The answer to the question before says nothing of who stands in the window asked now."""
    hidden = 0
    for seed in range(100):
        chance = random.Random(seed)
        uids = sorted(chance.randbytes(12) for _ in range(3))
        bus = Bus(uids, seed)
        before: list[Presence] = []

        def late(
            salt: int,
            low: int,
            high: int,
            bus: Bus = bus,
            before: list[Presence] = before,
            chance: random.Random = chance,
        ) -> Presence | bool | None:
            answer = bus.ask(salt, low, high)
            came = before[-1] if before and chance.random() < 0.2 else answer
            if isinstance(answer, Presence):
                before.append(answer)
            return came

        hidden += [node.uid for node in find(late)] != uids
    assert hidden == 0
