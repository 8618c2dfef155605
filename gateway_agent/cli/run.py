"""``tianfu-gateway run``: the agent, until it is told to stop."""

import asyncio
import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from gateway_agent.agent import GatewayAgent
from gateway_agent.clock import SystemClock
from gateway_agent.config import Config, load
from gateway_agent.counters import Counters
from gateway_agent.store.errors import EXIT_STORE_FAILED, StoreFailed

log = logging.getLogger(__name__)


def run(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The configuration file.", show_default=False)
    ],
) -> None:
    """Poll, record and deliver until SIGTERM or SIGINT; then stop cleanly within 10 s.

    Example: tianfu-gateway run --config /etc/tianfu/gateway.toml

    Exit status 74: the medium failed. What was acknowledged is on it; start the command again (a
    supervisor should, always) and it recovers by itself.
    """
    loaded = load(config)
    try:
        asyncio.run(_serve(loaded))
    except StoreFailed as error:
        if isinstance(error.__cause__, (PermissionError, FileExistsError, NotADirectoryError)):
            # Starting again does not mend this: somebody has to.
            typer.echo(
                f"{error}; gateway.state_dir has to be a directory that this user can write: change"
                " its rights, or name another one",
                err=True,
            )
            raise typer.Exit(EXIT_STORE_FAILED) from error
        typer.echo(f"{error}; start again to recover from what is on the medium", err=True)
        raise typer.Exit(EXIT_STORE_FAILED) from error


async def _serve(config: Config) -> None:
    agent = GatewayAgent(config, SystemClock(), Counters())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.request_stop)
    log.info("gateway %s, state in %s", config.gateway.id, config.gateway.state_dir)
    await agent.run()
    log.info("stopped")
