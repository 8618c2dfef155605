"""``tianfu-gateway snapshot``: fetch the last picture of a camera node from the running agent."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from gateway_agent.config import load
from gateway_agent.errors import OperatorError
from gateway_agent.file_socket import FileQuestion, ask_file


def snapshot(
    node: Annotated[str, typer.Argument(help="The node: its name in the configuration, or id.")],
    config: Annotated[Path, typer.Option("--config", "-c", help="The agent's configuration.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fetch the last picture of a camera node on a link and write it to a file.

    Example: tianfu-gateway snapshot cam-1 --config gateway.toml --out gate.jpg

    The agent must be running. The file is written when all of it is there with the SHA-256 that the
    node gave; it is for you alone (mode 0600). The node refuses while its image switch (setting
    image_export) is off. Exit status 1: there is no picture, and why.
    """
    state = load(config).gateway.state_dir
    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(f"picture of {node}", total=None)
        answer, data = ask_file(
            state,
            FileQuestion(node),
            lambda have, size: shown.update(task, completed=have, total=size),
        )
    write_whole(out, data)
    if json_output:
        result = {
            "node": node,
            "out": str(out),
            "number": answer.number,
            "size": answer.size,
            "sha256": answer.sha256,
        }
        typer.echo(json.dumps(result))
    else:
        typer.echo(f"{out}: picture {answer.number}, {answer.size} bytes, SHA-256 {answer.sha256}")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 in one step: it is the old one or the new one at any moment.

    OperatorError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OperatorError(f"{path}: {error.strerror or error}") from error
