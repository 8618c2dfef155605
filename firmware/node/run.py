"""How a node runs on any board: boot after boot, with a REPL or a signal in between.

Ctrl-C ends the run, sampling first: :meth:`NodeRun.run` returns, the board's REPL may look around,
and :meth:`NodeRun.serve` goes on serving without sampling any more. A commanded restart and a task
that ended are the board's to act on: a chip resets, a process comes back for the next boot.
"""

import asyncio

from micropython import const

from .app import assemble
from .commission import CommissionError
from .console import write_boot_line, write_fault, write_figures, write_line
from .watchdog import TIMEOUT_MS

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from .app import Node
    from .config import Config
    from .events import Events
    from .ports import Machine, NodeBoard, Role


class NodeRun:
    """Run one interpreter's node, boot after boot.

    ``make_board`` makes the board of each boot, ``make_role`` its role (:func:`.app.assemble`).
    """

    def __init__(
        self,
        make_board: "Callable[[], Machine]",
        make_role: "Callable[[str, NodeBoard, Config, Events], Role]",
    ) -> None:
        self._make_board = make_board
        self._make_role = make_role
        self._node: Node | None = None
        self._board: Machine | None = None
        self._sampling = True

    def boot(self) -> "Node | None":
        """Make the node of this boot. If it cannot be made, print the reason and return None."""
        board = self._board = self._make_board()
        # First, so that a board that fails at every boot still gives the reason.
        fault = board.last_fault()
        if fault is not None:
            write_fault(fault[0], fault[1], fault[-1])
        try:
            commission = board.commission()
        except CommissionError as error:
            write_line({"error": str(error)})
            return None
        self._node = node = assemble(board, commission, self._make_role, False)
        if not self._sampling:
            node.stop_sampling()
        return node

    def run(self) -> None:
        """Boot and run. Return after Ctrl-C, or at once on a board that is not commissioned."""
        if self.boot() is not None:
            self._attend(True)

    def serve(self) -> None:
        """Go on after Ctrl-C without sampling, until the next reset. Return as :meth:`run` does."""
        fresh = self._node is None
        node = self._node or self.boot()
        if node is None:
            return
        self._sampling = False
        node.stop_sampling()
        write_figures("sampled", node)
        self._attend(fresh)

    def _attend(self, fresh: bool) -> None:
        while True:
            node = self._node
            board = self._board
            assert node is not None
            assert board is not None
            board.wdt(TIMEOUT_MS)
            try:
                if fresh:
                    write_boot_line(node)
                asyncio.run(node.run())
            except KeyboardInterrupt:
                # It may have hit any task in the middle of its work, so all are made anew. What
                # the node shows changes by one store, so it is whole.
                asyncio.new_event_loop()
                board.interrupted()
                return
            if node.failure:
                write_line({"failure": node.failure})
            board.restart(node)
            # Only a board that is a process gets here.
            asyncio.new_event_loop()
            if self.boot() is None:
                return
            fresh = True
