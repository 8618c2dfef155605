"""``tianfu-gateway profile``: list, show, check and try the profiles of third-party devices."""

import asyncio
import json
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from gateway_agent.cli.discover import bus_of
from gateway_agent.cli.output import table_console
from gateway_agent.config import Bus
from gateway_agent.counters import Counters
from gateway_agent.field.bus_errors import BusDownError
from gateway_agent.field.master import Master
from gateway_agent.field.profile import Profile, ProfilePoint, load_profile, shipped
from gateway_agent.field.profile.language import WriteSpec
from gateway_agent.field.profile.points import table_of
from gateway_agent.field.profile.trial import TriedPoint, try_profile
from gateway_agent.tables import ConfigError, Problem
from protocols.exit_status import FAULT, GOOD, UNUSABLE
from protocols.text_of_others import printable

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="List, show, check and try the profiles of third-party devices.",
)

_JSON = typer.Option("--json", help="Print one JSON object.")
_NAME = typer.Argument(help="The name of a shipped profile, or a .toml file.")
_UNTRIED = "from the manual, not tried on the device"


def _head(profile: Profile) -> dict[str, object]:
    head = profile.profile
    return {
        "name": head.name,
        "title": head.title,
        "source": head.source,
        "tried": head.tried or _UNTRIED,
        "points": len(profile.points),
    }


@app.command("list")
def list_profiles(json_output: Annotated[bool, _JSON] = False) -> None:
    """List the profiles that come with the gateway.

    Example: tianfu-gateway profile list
    """
    heads = [_head(load_profile(name)) for name in shipped()]
    if json_output:
        typer.echo(json.dumps({"profiles": heads}))
        return
    table = Table("profile", "device", "points", "tried")
    for head in heads:
        table.add_row(*(printable(str(head[key])) for key in ("name", "title", "points", "tried")))
    table_console().print(table)


@app.command()
def show(name: Annotated[str, _NAME], json_output: Annotated[bool, _JSON] = False) -> None:
    """Show the points of a profile, with everything it inherits.

    Example: tianfu-gateway profile show eastron-sdm630
    """
    profile = load_profile(name)
    if json_output:
        points = [msgspec.to_builtins(point.spec) for point in profile.points]
        typer.echo(json.dumps(_head(profile) | {"point": points}))
        return
    head = profile.profile
    lines = (
        f"{head.name}: {head.title}",
        f"source: {head.source}",
        f"tried: {head.tried or _UNTRIED}",
    )
    typer.echo("\n".join(map(printable, lines)))  # profiles are passed on from stranger to stranger
    if len(profile.files) > 1:
        typer.echo("files: " + ", ".join(path.name for path in profile.files))
    table = Table("point", "table", "register", "type", "unit", "bounds", "what")
    for point in profile.points:
        table.add_row(*(Text(printable(cell)) for cell in _row(point, profile)))
    table_console().print(table)


def _row(point: ProfilePoint, profile: Profile) -> tuple[str, ...]:
    spec = point.spec
    bounds = " to ".join("" if end is None else f"{end:g}" for end in (spec.low, spec.high))
    return (
        spec.name,
        table_of(spec, profile.profile),
        str(spec.register),
        spec.type,
        spec.unit,
        "" if bounds == " to " else bounds,
        spec.what if spec.write is None else f"{spec.what} ({_may(spec.write)})".strip(),
    )


def _may(write: WriteSpec) -> str:
    bounded = write.low is not None and write.high is not None
    bounds = f", {write.low:g} to {write.high:g}" if bounded else ""
    return f"can be set{bounds}{', with --confirm' if write.confirm else ''}"


@app.command()
def check(files: Annotated[list[str], _NAME], json_output: Annotated[bool, _JSON] = False) -> None:
    """Check profiles and name every mistake. Opens no port.

    Example: tianfu-gateway profile check meter.toml

    Exit status 0: usable, 2: one of them is not.
    """
    problems: list[Problem] = []
    for name in files:
        try:
            load_profile(name)
        except ConfigError as error:
            problems += error.problems
            if not json_output:
                typer.echo(str(error), err=True)
        else:
            if not json_output:
                typer.echo(f"{name}: good")
    if json_output:
        shown = [
            {
                "file": item.file,
                "key": item.key,
                "value": item.value,
                "expected": item.expected,
                "remedy": item.remedy,
            }
            for item in problems
        ]
        typer.echo(json.dumps({"ok": not problems, "problems": shown}))
    raise typer.Exit(UNUSABLE if problems else GOOD)


async def _try(profile: Profile, bus: Bus, unit: int) -> list[TriedPoint]:
    master = Master(bus, Counters())
    try:
        return await try_profile(profile, bus, unit, master)
    finally:
        master.close()


@app.command("try")
def try_once(
    name: Annotated[str, _NAME],
    port: Annotated[str, typer.Option("--port", "-p", help="Serial port of the line.")] = "",
    host: Annotated[str, typer.Option("--host", help="host:port of a TCP device.")] = "",
    unit: Annotated[int, typer.Option("--unit", "-u", min=0, max=255, help="Unit id.")] = 1,
    baudrate: Annotated[int, typer.Option(help="Line speed.")] = 9600,
    parity: Annotated[str, typer.Option(help="N, E or O.")] = "N",
    stopbits: Annotated[int, typer.Option(help="1 or 2.")] = 1,
    timeout_ms: Annotated[int, typer.Option(help="How long to wait for an answer.")] = 1000,
    rtu_over_tcp: Annotated[
        bool, typer.Option(help="--host is a serial server, not a Modbus TCP device.")
    ] = False,
    json_output: Annotated[bool, _JSON] = False,
) -> None:
    """Read one device once and print every point: raw words, meaning, what looks wrong.

    Example: tianfu-gateway profile try meter.toml --port /dev/ttyUSB0 --unit 3

    The agent must not be running on the port. Exit status 0: all looks right, 1: something looks
    wrong, or the device cannot be read.
    """
    if bool(port) == bool(host):
        came = f"got --port {port} and --host {host}" if port else "got neither"
        raise typer.BadParameter(
            "expected --port with the path of a serial line, or --host with a TCP device as"
            f" host:port, for instance --host 10.0.0.7:502; {came}"
        )
    profile = load_profile(name)
    where = port or (host if ":" in host else f"{host}:502")
    bus = bus_of(where, baudrate, parity, stopbits, timeout_ms, rtu_over_tcp)
    try:
        tried = asyncio.run(_try(profile, bus, unit))
    except BusDownError as error:
        typer.echo(error.detail, err=True)
        raise typer.Exit(FAULT) from error
    wrong = sum(1 for item in tried if item.wrong)
    if json_output:
        points = [_tried_dict(item, profile) for item in tried]
        typer.echo(json.dumps({"profile": profile.profile.name, "unit": unit, "points": points}))
    else:
        _show_tried(tried, profile)
        typer.echo(f"{len(tried)} points, {wrong} of them look wrong")
    raise typer.Exit(FAULT if wrong else GOOD)


def _tried_dict(item: TriedPoint, profile: Profile) -> dict[str, object]:
    value = item.value
    return {
        "name": value.name,
        "table": table_of(item.point.spec, profile.profile),
        "register": item.point.spec.register,
        "raw": item.raw,
        "value": value.value,
        "unit": value.unit,
        "text": value.text,
        "quality": value.quality,
        "wrong": item.wrong,
    }


def _show_tried(tried: list[TriedPoint], profile: Profile) -> None:
    table = Table("point", "register", "raw words", "value", "looks wrong")
    for item in tried:
        value = item.value
        number = "" if value.value is None else f"{value.value:.10g} {value.unit}".rstrip()
        meaning = " ".join(part for part in (number or value.quality, value.text) if part)
        place = f"{table_of(item.point.spec, profile.profile)} {item.point.spec.register}"
        cells = (value.name, place, item.raw, meaning, item.wrong)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    table_console().print(table)
