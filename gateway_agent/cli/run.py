"""``tianfu-gateway run``: run the agent until a signal stops it."""

from pathlib import Path
from typing import Annotated

import typer


def run(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The configuration file.", show_default=False)
    ],
) -> None:
    """Poll, record and deliver until SIGTERM or SIGINT; then stop cleanly within 10 s.

    SIGHUP reloads the configuration, as `tianfu-gateway reload` does.

    Example: tianfu-gateway run --config /etc/tianfu/gateway.toml

    Exit status 74: the medium failed. What was acknowledged is on it; start the command again (a
    supervisor should, always) and it recovers by itself.
    """
    from gateway_agent import service

    service.run(config)
