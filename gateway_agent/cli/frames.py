"""``tianfu-gateway frames``: what passes on a bus of the running agent, live."""

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from gateway_agent.config import load
from gateway_agent.errors import OperatorError
from gateway_agent.frames_socket import watched_frames
from protocols.exit_status import GOOD


def frames(
    bus: Annotated[str, typer.Argument(help="The name of a bus in the configuration.")],
    config: Annotated[Path, typer.Option("--config", "-c", help="The agent's configuration.")],
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="End after so many frames.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each frame.")
    ] = False,
) -> None:
    """Show requests and answers of a polled bus, decoded, as they pass. Sends nothing.

    Example: tianfu-gateway frames roof --config gateway.toml

    Ctrl-C ends it. Exit status 1: there is no such bus, or nothing answers.
    """
    seen = 0
    try:
        for line in watched_frames(load(config).gateway.state_dir, bus):
            if line.error:
                raise OperatorError(line.error)
            if json_output:
                typer.echo(json.dumps(msgspec.to_builtins(line)))
            else:
                if line.lost:
                    typer.echo(f"... {line.lost} frames were lost: this terminal is too slow")
                typer.echo(f"{line.at_ms / 1000:12.3f} {line.kind:<9} {line.text}")
            seen += 1
            if seen == count:
                break
    except KeyboardInterrupt:
        pass
    raise typer.Exit(GOOD)
