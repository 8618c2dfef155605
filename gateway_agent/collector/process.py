"""Runs the collector as a process, until a signal stops it: ``tianfu-gateway collect``."""

import asyncio
import sqlite3
import sys
from pathlib import Path
from typing import Final

from gateway_agent import threads
from gateway_agent.errors import OperatorError
from gateway_agent.process import stop_on_signal
from gateway_agent.store.errors import StoreFailed
from gateway_agent.supervisor import Supervisor

from .config import CollectorConfig, load
from .service import CollectorService, run_collector

_REMEDY: Final = (
    "; collector.database has to be a file that this user can write, in a directory of a local"
    " file system"
)


def run(config: Path) -> None:
    """Verify, store and return receipts until a signal. OperatorError: why that is not possible."""
    loaded = load(config)
    try:
        threads.run(_serve(loaded))
    except (sqlite3.Error, OSError, StoreFailed) as error:
        is_about_file = isinstance(error, sqlite3.OperationalError | OSError | StoreFailed)
        remedy = _REMEDY if is_about_file else ""
        raise OperatorError(f"{loaded.collector.database}: {error}{remedy}") from error


async def _serve(config: CollectorConfig) -> None:
    stop, manager = asyncio.Event(), Supervisor()

    def ask_to_stop() -> None:
        manager.stopping()
        stop.set()

    stop_on_signal(ask_to_stop)

    def ready() -> None:
        sys.stdout.write(f"collecting from {config.broker.where}\n")
        sys.stdout.flush()

    service = CollectorService(config)
    with manager.following(service.state):
        await run_collector(service, stop, ready)
