"""The last look at a bench: has every node counted the time that has passed for its engine?"""

from __future__ import annotations

from collections.abc import Mapping

from hil.engines.abilities import CountsTime
from hil.engines.base import Board


async def check_clocks(nodes: Mapping[str, Board]) -> None:
    """Compare each node's milliseconds since its last reset with its engine's clock.

    EngineError, or HostTooSlow where the engine follows the host, names each node that differs.
    """
    wrong = [
        (board.time_error, f"node {name} {apart}")
        for name, board in nodes.items()
        if isinstance(board, CountsTime)
        and (uptime := await board.uptime()) is not None
        and (apart := uptime.apart())
    ]
    if wrong:
        raise wrong[0][0]("; ".join(text for _, text in wrong))
