"""``tianfu-gateway report``: one archive for a question to the authors, without secrets."""

import time
from pathlib import Path
from typing import Annotated

import typer

from gateway_agent.errors import OperatorError


def report(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The configuration file.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The archive to write.", show_default=False)
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option("--log", help="Log lines from this file, not from the journal."),
    ] = None,
) -> None:
    """Write a support bundle: configuration, status, log, versions, state of the outbox.

    Passwords, tokens and keys are taken out, wherever they stand; look into it before you send it.

    Example: tianfu-gateway report --config /etc/tianfu/gateway.toml
    """
    from gateway_agent.support_bundle import make_bundle

    target = out or Path(time.strftime("tianfu-report-%Y%m%d-%H%M%S.tar.gz", time.gmtime()))
    try:
        names = make_bundle(config, target, log)
    except OSError as error:
        raise OperatorError(f"{target}: cannot be written: {error.strerror}") from error
    typer.echo(f"{target}: {', '.join(names)}")
