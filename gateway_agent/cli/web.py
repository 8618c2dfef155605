"""``tianfu-gateway web user``: who may log in to the console."""

import json
import sys
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.table import Table

from gateway_agent.cli.output import table_console
from gateway_agent.config import load
from gateway_agent.errors import OperatorError
from gateway_agent.web.users import MAX_PASSWORD, Role, add_user, read_users, remove_user

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="The console of a gateway.",
)
user = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Who may log in to the console, in the file that `[web] users` names.",
)
app.add_typer(user, name="user")

Config = Annotated[Path, typer.Option("--config", "-c", help="The agent's configuration.")]
UserName = Annotated[str, typer.Argument(help="Letters, digits, '-', '_' and '.'.")]


@user.command("add")
def add(
    name: UserName,
    config: Config,
    role: Annotated[
        str, typer.Option("--role", help="viewer: looks only; operator: changes things too.")
    ] = "viewer",
) -> None:
    """Add a user, or give one a new password and role. The password is asked for, or on stdin.

    Examples: tianfu-gateway web user add li --role operator --config gateway.toml
    pass show console | tianfu-gateway web user add li --config gateway.toml

    A running agent needs no restart; sessions of a user who is changed end.
    """
    if role not in ("viewer", "operator"):
        raise OperatorError(f"--role: expected viewer or operator, got {role!r}")
    path = _file(config)
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline(MAX_PASSWORD + 2).rstrip("\n")
    add_user(path, name, cast(Role, role), password)
    typer.echo(f"{name} may log in as {role}: {path}")


@user.command("remove")
def remove(name: UserName, config: Config) -> None:
    """Remove a user, whose sessions end at once.

    Example: tianfu-gateway web user remove li --config gateway.toml
    """
    path = _file(config)
    remove_user(path, name)
    typer.echo(f"{name} may log in no more: {path}")


@user.command("list")
def list_users(
    config: Config,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List who may log in.

    Example: tianfu-gateway web user list --config gateway.toml
    """
    found = read_users(_file(config)).values()
    if json_output:
        users = [{"name": item.name, "role": item.role} for item in found]
        typer.echo(json.dumps({"users": users}))
        return
    table = Table()
    for column in ("user", "role"):
        table.add_column(column)
    for item in found:
        table.add_row(item.name, item.role)
    table_console().print(table)


def _file(config: Path) -> Path:
    web = load(config).web
    if web is None or web.users is None:
        raise OperatorError(
            f'{config}: expected a file of users; write [web] and below it users = "users.json"'
        )
    return web.users
