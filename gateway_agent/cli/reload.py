"""``tianfu-gateway reload``: the running agent takes its edited configuration."""

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from gateway_agent.config import load
from gateway_agent.reload.plan import ConfigChange
from gateway_agent.reload.socket import ReloadAnswer, ReloadQuestion, ask_reload
from protocols.exit_status import FAULT, GOOD


def reload(
    config: Annotated[Path, typer.Option("--config", "-c", help="The agent's configuration.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change, and how.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Apply an edited configuration to the running agent, where it differs.

    Buses that are the same are not disturbed. The change is undone by itself if an uplink that
    worked, or too many devices that answered, fall silent within the time of [reload]; `status`
    shows that, and so do the log and the stream.

    Example: tianfu-gateway reload --config /etc/tianfu/gateway.toml

    Exit status 1: it was refused, and nothing was changed. 2: the file cannot be used.
    """
    if dry_run:
        answer = show_difference(config, json_output)
    else:
        directory = load(config).gateway.state_dir
        answer = ask_reload(directory, ReloadQuestion("apply"))
        _show(answer, json_output, dry_run=False)
    raise typer.Exit(FAULT if answer.plan.problems else GOOD)


def show_difference(config: Path, json_output: bool) -> ReloadAnswer:
    """Print what a reload would change, or why it would be refused. StatusError: nobody answers."""
    answer = ask_reload(load(config).gateway.state_dir, ReloadQuestion("plan"))
    _show(answer, json_output, dry_run=True)
    return answer


def _show(answer: ReloadAnswer, json_output: bool, dry_run: bool) -> None:
    if json_output:
        typer.echo(json.dumps(msgspec.to_builtins(answer)))
    else:
        _print(answer, dry_run)


def _print(answer: ReloadAnswer, dry_run: bool) -> None:
    plan = answer.plan
    for row in plan.rows:
        typer.echo(line_of(row))
    if answer.changes > len(plan.rows):
        typer.echo(f"... and {answer.changes - len(plan.rows)} more")
    for problem in plan.problems:
        typer.echo(f"refused: {problem}", err=True)
    if plan.problems:
        typer.echo("nothing was changed", err=True)
    elif dry_run:
        typer.echo(f"{answer.changes} changes, none applied")
    elif answer.probation_s:
        typer.echo(f"{answer.changes} changes applied, on probation for {answer.probation_s} s")
    else:
        typer.echo(f"{answer.changes} changes, in force")


def line_of(row: ConfigChange) -> str:
    """Return one difference as a line."""
    return f"{row.path}: {row.old or 'nothing'} -> {row.new or 'nothing'}: {row.effect}"
