"""``tianfu-gateway``: the command line of gateway and collector.

Commands are imported when they are called, so that each starts as fast as its own needs allow.
Further ones come through the entry point group ``tianfu_gateway.commands``: a plain function with
typer's annotations, or a ``typer.Typer``.

Every command ends with an exit status of :mod:`protocols.exit_status`.
"""

import importlib
import importlib.metadata
import re
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from protocols.exit_status import FAULT

GROUP: Final = "tianfu_gateway.commands"
_MARKUP: Final = "markdown"  # in which `[orders]` is a table of a configuration, not a style
_NEGATIVE: Final = re.compile(r"-\.?\d")
#: The panels of `--help`, each with its commands in the order of their use.
PANELS: Final = {
    "Set up": {
        "keygen": "gateway_agent.cli.keygen:app",
        "enroll": "gateway_agent.cli.enroll:enroll",
        "discover": "gateway_agent.cli.discover:discover",
        "profile": "gateway_agent.cli.profile:app",
        "check": "gateway_agent.cli.check:check",
        "web": "gateway_agent.cli.web:app",
    },
    "Run": {
        "run": "gateway_agent.cli.run:run",
        "collect": "gateway_agent.cli.collect:collect",
        "reload": "gateway_agent.cli.reload:reload",
        "status": "gateway_agent.cli.status:status",
        "frames": "gateway_agent.cli.frames:frames",
        "alarms": "gateway_agent.cli.alarms:alarms",
        "report": "gateway_agent.cli.report:report",
    },
    "Devices": {
        "get": "gateway_agent.cli.command:get",
        "set": "gateway_agent.cli.command:set_value",
        "restart": "gateway_agent.cli.command:restart",
        "snapshot": "gateway_agent.cli.snapshot:snapshot",
        "update": "gateway_agent.cli.update:update",
        "order": "gateway_agent.cli.order:order",
    },
    "Platforms": {
        "hj212": "gateway_agent.cli.hj212:app",
        "trace": "gateway_agent.cli.trace:trace",
    },
    "Readings and their proof": {
        "query": "gateway_agent.cli.query:query",
        "export": "gateway_agent.cli.export:export",
        "retain": "gateway_agent.cli.retain:retain",
        "verify": "gateway_agent.cli.verify:verify",
        "audit": "gateway_agent.cli.audit:audit",
        "stick": "gateway_agent.cli.stick:stick",
        "backup": "gateway_agent.cli.backup:backup",
        "restore": "gateway_agent.cli.backup:restore",
    },
}
BUILT_IN: Final = {name: target for panel in PANELS.values() for name, target in panel.items()}
_PANEL_OF: Final = {name: panel for panel, names in PANELS.items() for name in names}


class LazyGroup(TyperGroup):
    """Imports a command when it is called, and prints what users can mend without a traceback."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override] # a subclass
        """Return our commands in the order of their use, then those of other packages."""
        return [*BUILT_IN, *sorted(_added())]

    def get_command(  # type: ignore[override] # a subclass
        self, ctx: typer.Context, cmd_name: str
    ) -> TyperCommand | TyperGroup | None:
        """Import the command; None if there is none of this name."""
        if cmd_name in BUILT_IN:
            module, _, name = BUILT_IN[cmd_name].partition(":")
            target = getattr(importlib.import_module(module), name)
        else:
            point = _added().get(cmd_name)
            if point is None:
                return None
            try:
                target = point.load()
            except ImportError as error:
                target = _unavailable(cmd_name, error)
        command = typer.main.get_command(_as_app(cmd_name, target))
        assert isinstance(command, (TyperCommand, TyperGroup))
        command.name = cmd_name
        command.rich_help_panel = _PANEL_OF.get(cmd_name, "Of other packages")
        return command

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override] # as the base has it
        """Run the command; print one message for what a user can mend."""
        from gateway_agent.process import end_of

        try:
            return super().invoke(ctx)
        except Exception as error:
            end = end_of(error)
            if end is None:
                raise
            text, status = end
            typer.echo(text, err=True)
            raise typer.Exit(status) from error


class _Command(TyperCommand):
    """A command for which -0.5 is a value: no option of ours starts with a digit."""

    def parse_args(  # type: ignore[override] # a subclass
        self, ctx: typer.Context, args: list[str]
    ) -> list[str]:
        """Parse the words of the command line; return those that are left."""
        ctx.ignore_unknown_options = any(map(_NEGATIVE.match, args))
        return super().parse_args(ctx, args)


def _added() -> dict[str, importlib.metadata.EntryPoint]:
    points = importlib.metadata.entry_points(group=GROUP)
    return {point.name: point for point in points if point.name not in BUILT_IN}


def _unavailable(name: str, error: ImportError) -> Callable[[], None]:
    """Return a command that prints why the real one cannot be imported."""
    reason = f"not available here: {error}"

    def command() -> None:
        typer.echo(
            f"{name}: {reason}; is the package that brings this command installed?", err=True
        )
        raise typer.Exit(FAULT)

    command.__doc__ = f"({reason})"
    return command


def _as_app(name: str, target: Callable[..., object] | typer.Typer) -> typer.Typer:
    if isinstance(target, typer.Typer):
        target.rich_markup_mode = _MARKUP
        return target
    single = typer.Typer(
        pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=_MARKUP
    )
    single.command(name, cls=_Command)(target)
    return single


app = typer.Typer(
    cls=LazyGroup,
    name="tianfu-gateway",
    no_args_is_help=True,
    rich_markup_mode=_MARKUP,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(importlib.metadata.version("tianfu-edge"))
        raise typer.Exit


@app.callback()
def main(
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Log more; twice for everything.")
    ] = 0,
    _: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Read sensors, sign what they measured, deliver it, and account for every reading.

    A gateway in three steps: `keygen gateway --out gateway.pem`, `check --config gateway.toml`,
    `run --config gateway.toml`. Each command's --help has an example.
    """
    from gateway_agent.process import set_up

    set_up(verbose)
