"""One Renode for many emulations, one after the other: what makes a suite of tests quick.

A worker of a test run has a pool. It lends a Renode to an engine and takes it back, cleared. One
that ended by itself, gave no answer or was used by a failing test is not lent again.
"""

from __future__ import annotations

from hil.renode.server import RenodeServer


class RenodePool:
    """Lends one Renode at a time. Use it in a thread that lives as long as the pool, as the main
    thread of a test run does: the kernel ends Renode together with the thread that started it.
    """

    def __init__(self) -> None:
        self._idle: RenodeServer | None = None
        self._doubted = False

    def take(self) -> RenodeServer:
        """Return the Renode that is idle, else a new one."""
        idle, self._idle, self._doubted = self._idle, None, False
        if idle is not None and idle.lost():
            idle.kill()
            idle = None
        return idle or RenodeServer()

    def doubt(self) -> None:
        """Do not lend again what is lent now: its user failed, its state is unknown."""
        self._doubted = True

    async def give_back(self, server: RenodeServer) -> bool:
        """Clear ``server`` and keep it for the next user; False: it is of no use, end it.

        RenodeError if it cannot be cleared.
        """
        if self._idle is not None or self._doubted or server.lost():
            return False
        await server.clear()
        self._idle = server
        return True

    def close(self) -> None:
        """End the one that is idle."""
        if self._idle is not None:
            self._idle.kill()
            self._idle = None
