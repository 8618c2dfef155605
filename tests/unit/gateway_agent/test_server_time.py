"""Wall time from receipts: only where the round trip bounds it."""

from gateway_agent.store.window import Slice
from gateway_agent.uplink.server_time import MAX_ROUND_MS, ServerTime
from protocols.uplink import CLOCK_SERVER, GENESIS, Anchor, Receipt

SERVER_MS = 1_800_000_000_000


class Pupil:
    """A clock that notes what it is taught."""

    def __init__(self) -> None:
        self.now = 1_000
        self.learned: list[tuple[int, int, int, int]] = []

    def boot_ms(self) -> int:
        return self.now

    def learn(self, boot_ms: int, wall_ms: int, unc_ms: int, state: int) -> None:
        self.learned.append((boot_ms, wall_ms, unc_ms, state))


def piece(last: int, stream: int = 7) -> Slice:
    return Slice(stream, last, last, GENESIS, GENESIS, (), Anchor(bytes(16), 0, None, 0, 0))


def receipt(to: int, stream: int = 7, server_ms: int = SERVER_MS) -> Receipt:
    return Receipt("gw", stream, to, GENESIS, server_ms)


def test_the_middle_of_the_round_trip_is_taken_with_half_of_it_as_uncertainty() -> None:
    clock = Pupil()
    times = ServerTime(clock, 7, 100)
    times.sending(piece(110))
    clock.now += 30
    times.sending(piece(120))  # the first one is still followed
    clock.now += 70
    times.receipted(receipt(115))
    times.receipted(receipt(120))
    assert clock.learned == [(1_100, SERVER_MS + 50, 51, CLOCK_SERVER)]


def test_a_receipt_that_may_be_of_before_gives_no_time() -> None:
    clock = Pupil()
    times = ServerTime(clock, 7, 100)
    times.receipted(receipt(100))  # nothing was sent
    times.sending(piece(100))  # sent by a process before, too
    times.receipted(receipt(100))
    times.sending(piece(110))
    times.receipted(receipt(109))  # does not cover it
    times.receipted(receipt(110, stream=8))
    clock.now += MAX_ROUND_MS + 1
    times.receipted(receipt(110))  # too long ago
    times.sending(piece(120))
    times.receipted(receipt(120, server_ms=1_000))  # a collector whose clock is not set
    assert clock.learned == []
    times.sending(piece(5, stream=8))  # a stream that this process began
    times.receipted(receipt(5, stream=8))
    assert len(clock.learned) == 1
