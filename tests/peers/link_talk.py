"""Two ends of the link on a wire in virtual time, so that one test serves every pair of ends."""

from collections.abc import Callable
from random import Random
from typing import Protocol

_BYTES_PER_MS = 11.52  # 115,200 baud, 10 bits a byte

Event = tuple[object, ...]


class End(Protocol):
    """What the tests use of an end, be it the peer's or the product's."""

    @property
    def is_open(self) -> bool: ...
    def feed(self, data: bytes, now: int) -> None: ...
    def send(self, number: int, message: bytes) -> None: ...
    def poll(self, now: int) -> bytes: ...
    def next_event(self) -> Event | None: ...
    def drop(self, number: int) -> None: ...
    def taken(self, number: int) -> None: ...
    def close(self, reason: int) -> None: ...


class Talk:
    """Carry bytes both ways, a millisecond at a time; each end keeps the events that it gave."""

    def __init__(self, node: End, gateway: End, fault_rate: float = 0.0, seed: int = 1) -> None:
        self.ends = [node, gateway]
        self.events: list[list[Event]] = [[], []]
        self.on_step: Callable[[], None] = lambda: None
        self._watchers: list[Callable[[int, Event], None]] = []
        self.now = 0
        self.sent = [0, 0]
        self.longest = [0, 0]
        self.record: list[list[bytes]] | None = None
        self._lines = [b"", b""]
        self._credit = [0.0, 0.0]
        self._fault_rate, self._random = fault_rate, Random(seed)

    def watch(self, watcher: Callable[[int, Event], None]) -> None:
        """Call it with the side and the event of everything that comes out."""
        self._watchers.append(watcher)

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
        self.on_step()
        for side, end in enumerate(self.ends):
            passed = b""
            self._credit[side] += _BYTES_PER_MS
            while (count := int(self._credit[side])) > 0:
                if not self._lines[side]:
                    self._lines[side] = end.poll(self.now)
                    self._note(side, self._lines[side])
                if not self._lines[side]:
                    self._credit[side] = 0.0  # an idle line saves no time for later
                    break
                passed += self._lines[side][:count]
                self._credit[side] -= len(self._lines[side][:count])
                self._lines[side] = self._lines[side][count:]
            if passed:
                self.ends[1 - side].feed(self._disturbed(passed), self.now)
        for side, end in enumerate(self.ends):
            while (event := end.next_event()) is not None:
                self.events[side].append(event)
                for watcher in self._watchers:
                    watcher(side, event)

    def _note(self, side: int, data: bytes) -> None:
        self.sent[side] += len(data)
        self.longest[side] = max(self.longest[side], len(data))
        if self.record is not None and data:
            self.record[side].append(data)

    def _disturbed(self, data: bytes) -> bytes:
        flips = (
            byte ^ 1 << self._random.randrange(8)
            if self._random.random() < self._fault_rate
            else byte
            for byte in data
        )
        return bytes(flips)
