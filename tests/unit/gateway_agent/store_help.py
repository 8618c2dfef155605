"""What the tests of outbox and uplink share: a clock that stands still, records, and a reader."""

import hashlib
from pathlib import Path

from gateway_agent.clock import Wall
from gateway_agent.counters import Counters
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.settings import StoreContext, StoreSettings
from protocols.uplink import ProfileTemplate, Record, Stamp, decode_record

GATEWAY = "gw-1"
DEVICE = f"{GATEWAY}.probe"
WALL_MS = 1_760_000_000_000


class StillClock:
    """A clock that moves only when a test sets it."""

    def __init__(self, boot: int = 1, wall_ms: int | None = WALL_MS) -> None:
        self.boot = boot
        self.now = 1000
        self.wall_ms = wall_ms

    @property
    def boot_id(self) -> bytes:
        return bytes([self.boot]) * 16

    def boot_ms(self) -> int:
        return self.now

    def wall(self) -> Wall:
        return Wall(None, 0, 0) if self.wall_ms is None else Wall(self.wall_ms, 5, 3)


def record(number: int, points: int = 2) -> Record:
    """A record of ``points`` readings that are ``number``, ``number + 1`` ..."""
    template = ProfileTemplate(DEVICE, [(f"p{index}", "Cel", -1) for index in range(points)])
    return template.record(
        [number + index for index in range(points)], Stamp(number, number + 1, WALL_MS, 5, 3)
    )


def records(first: int, count: int) -> list[Record]:
    """Records whose first values are ``first`` to ``first + count - 1``."""
    return [record(number) for number in range(first, first + count)]


def open_box(
    directory: Path,
    clock: StillClock | None = None,
    counters: Counters | None = None,
    max_bytes: int = 1 << 30,
    head_lag_ms: int = 0,
) -> Outbox:
    """An outbox whose head file never lags, unless ``head_lag_ms`` lets it."""
    settings = StoreSettings(directory, GATEWAY, max_bytes, head_lag_ms)
    return Outbox.open(StoreContext(settings, clock or StillClock(), counters or Counters()))


def chain(head: bytes, pieces: list[bytes]) -> bytes:
    """The chain as the documentation has it."""
    for piece in pieces:
        head = hashlib.sha256(head + piece).digest()
    return head


def contents(box: Outbox, step: int = 7) -> list[bytes]:
    """Every record in the outbox, in order; asserts numbers and chain on the way."""
    stats = box.stats()
    after, found = stats.receipted_to, []
    head = b""
    while True:
        piece = box.slice(after, step, 1 << 20)
        if piece is None:
            break
        assert piece.first == after + 1
        assert not head or piece.prev == head
        assert chain(piece.prev, [r.data for r in piece.records]) == piece.head
        found += [r.data for r in piece.records]
        after, head = piece.last, piece.head
    assert after == stats.last
    return found


def numbers(pieces: list[bytes]) -> list[int]:
    """The first values of those that are data."""
    decoded = [decode_record(piece) for piece in pieces]
    return [round(10 * item.values[0].value) for item in decoded if item.gap is None]


def gaps(pieces: list[bytes]) -> list[tuple[str, int | None, int | None]]:
    """Cause, first and last of those that are gaps."""
    found = [decode_record(piece).gap for piece in pieces]
    return [(gap.cause, gap.first, gap.last) for gap in found if gap is not None]
