"""Bounds how often a handshake of TLS begins: each takes milliseconds of the loop that polls buses.

The number of connections bounds how many are open at a time, not how many come and go. Whoever has
so many addresses that some are forgotten still meets the limit of all.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from gateway_agent.rate import Rate

#: As many as there may be connections, for a page that opens in several browsers at once, ...
ALL_AT_ONCE: Final = 200
ADDRESS_AT_ONCE: Final = 40
#: ... and then so many in each second: a browser keeps a connection open for half a minute.
ALL_PER_S: Final = 10
ADDRESS_PER_S: Final = 4
MAX_ADDRESSES: Final = 1024


class Handshakes:
    """Decides whether a handshake may begin, by the address that it is with."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._all = Rate(ALL_AT_ONCE, ALL_PER_S, now())
        self._of: OrderedDict[str, Rate] = OrderedDict()

    def __len__(self) -> int:
        return len(self._of)

    def may_begin(self, address: str, is_loopback: bool) -> bool:
        """Return whether one may begin, and count it; what is refused does not count.

        From this machine, where a proxy stands for many, only the limit of all applies.
        """
        now = self._now()
        if not self._all.has_room(now):
            return False
        if not is_loopback:
            rate = self._of.pop(address, None) or Rate(ADDRESS_AT_ONCE, ADDRESS_PER_S, now)
            self._of[address] = rate  # the newest last
            while len(self._of) > MAX_ADDRESSES:
                self._of.popitem(last=False)
            if not rate.has_room(now):
                return False
            rate.take()
        self._all.take()
        return True
