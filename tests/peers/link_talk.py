"""Two ends of the link on a wire in virtual time, so that one test serves every pair of ends."""

from collections.abc import Callable
from random import Random
from typing import Protocol

_BYTES_PER_MS = 12  # 115,200 baud, 10 bits a byte

Event = tuple[object, ...]


class End(Protocol):
    """What the tests use of an end, be it the peer's or the product's."""

    is_open: bool

    def feed(self, data: bytes, now: int) -> None: ...
    def send(self, number: int, message: bytes) -> None: ...
    def poll(self, now: int) -> bytes: ...
    def next_event(self) -> Event | None: ...


class Talk:
    """Carry bytes both ways, a millisecond at a time; each end keeps the events that it gave."""

    def __init__(self, node: End, gateway: End, fault_rate: float = 0.0, seed: int = 1) -> None:
        self.ends = [node, gateway]
        self.events: list[list[Event]] = [[], []]
        self.on_event: Callable[[int, Event], None] = lambda side, event: None
        self.now = 0
        self._lines = [b"", b""]
        self._fault_rate, self._random = fault_rate, Random(seed)

    def restart(self, side: int, end: End) -> None:
        """Put a new end in the place of one that lost everything."""
        self.ends[side] = end
        self._lines[side] = b""

    def until(self, condition: Callable[[], bool], limit_ms: int) -> None:
        end = self.now + limit_ms
        while not condition():
            assert self.now < end, (
                f"not within {limit_ms} ms: {[events[-3:] for events in self.events]}"
            )
            self.step()

    def run(self, duration_ms: int) -> None:
        for _ in range(duration_ms):
            self.step()

    def opened(self) -> None:
        self.until(lambda: all(end.is_open for end in self.ends), 10_000)

    def messages(self, side: int, number: int) -> list[bytes]:
        """Return the messages of a channel that came out at one side."""
        found = [event[2] for event in self.events[side] if event[:2] == ("message", number)]
        return [message for message in found if isinstance(message, bytes)]

    def step(self) -> None:
        self.now += 1
        for side, end in enumerate(self.ends):
            if not self._lines[side]:
                self._lines[side] = end.poll(self.now)
            data, self._lines[side] = (
                self._lines[side][:_BYTES_PER_MS],
                self._lines[side][_BYTES_PER_MS:],
            )
            if data:
                self.ends[1 - side].feed(self._disturbed(data), self.now)
        for side, end in enumerate(self.ends):
            while (event := end.next_event()) is not None:
                self.events[side].append(event)
                self.on_event(side, event)

    def _disturbed(self, data: bytes) -> bytes:
        flips = (
            byte ^ 1 << self._random.randrange(8)
            if self._random.random() < self._fault_rate
            else byte
            for byte in data
        )
        return bytes(flips)
