"""Run by test_refusing_medium.py under strace: ``refusing_medium_child.py DIRECTORY``.

Puts records until 600 are durable. Prints how that ended: ``done``, or the error with its remedy.
"""

import asyncio
import logging
import sys
from pathlib import Path

from gateway_agent.counters import Counters
from gateway_agent.service import _remedy
from gateway_agent.store.errors import StoreFailed
from gateway_agent.store.writer import OutboxWriter
from tests.unit.gateway_agent.store_help import StillClock, open_box, records


async def main(root: Path) -> None:
    logging.disable(logging.CRITICAL)
    counters = Counters()
    writer = OutboxWriter(open_box(root, StillClock(), counters))
    writer.start()
    try:
        for first in range(1, 601, 20):
            await writer.put(records(first, 20), {})
    except StoreFailed as error:
        print(f"{error}; {_remedy(error, root)}")  # noqa: T201 # what the test reads
    else:
        print(f"done, full {counters.store_full} times")  # noqa: T201
    await writer.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
