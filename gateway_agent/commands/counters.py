"""The counters of the orders that were taken: durable before an order acts, so none acts twice."""

from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct

from gateway_agent.clock import GatewayClock
from gateway_agent.state_file import read_state, write_state

FILE_NAME: Final = "orders.json"
MAX_KEYS: Final = 256  # remembered; of more the oldest counter becomes that of all unknown keys

_Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class _Kept(Struct, frozen=True):
    """``since``: what every key without a counter of its own has used."""

    since: _Count
    last: dict[str, _Count]  # by key id, in hex


class OrderCounters:
    """The counters of one gateway, in its state directory."""

    def __init__(self, directory: Path, clock: GatewayClock) -> None:
        self._clock = clock
        self._start_ms = clock.boot_ms()
        self._path = directory / FILE_NAME
        self._kept: _Kept | None = None

    def last(self, kid: bytes, now_ms: int) -> int:
        """Return the last counter of a key. ``now_ms``: Unix time.

        Where the file is absent or damaged, as in a new or restored directory, nobody knows which
        orders were taken, so every one that was made before our start counts as taken.
        """
        if self._kept is None:
            running_ms = self._clock.boot_ms() - self._start_ms
            self._kept = self._read() or _Kept(max(0, now_ms - running_ms), {})
        return self._kept.last.get(kid.hex(), self._kept.since)

    def take(self, kid: bytes, counter: int) -> None:
        """Make a counter durable, after :meth:`last`. OSError: it is not, so it must not act."""
        kept = self._kept
        assert kept is not None
        last = dict(kept.last)
        last.pop(kid.hex(), None)
        since = kept.since
        while len(last) >= MAX_KEYS:
            since = max(since, last.pop(min(last, key=last.__getitem__)))
        new = _Kept(since, last | {kid.hex(): counter})
        write_state(self._path, new)
        self._kept = new

    def _read(self) -> _Kept | None:
        return read_state(self._path, _Kept, "orders made before the start are refused")
