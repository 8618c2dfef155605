"""``tianfu-node probe``: what is connected?"""

import dataclasses
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from boards.errors import BoardError
from boards.ports import PortInfo, named, serial_ports
from boards.probe.findings import PortLook
from boards.probe.look import LookPlan, console_at, look
from boards.usb_devices import UsbDevice, usb_devices
from protocols.exit_status import FAULT, UNUSABLE

from .line import Baud

MAX_UNIT = 247


def probe(
    port: Annotated[
        list[str] | None,
        typer.Option(
            help="Look at this port; several may be named. One that is alone needs none. "
            "gateway:BUS: the nodes on a bus of a running gateway."
        ),
    ] = None,
    units: Annotated[
        str, typer.Option(help="Addresses on a bus that are asked, as 1-16 or 2,5,7.")
    ] = "1-16",
    baud: Baud = 0,
    wait: Annotated[
        float, typer.Option(min=0, help="Only listen, this many seconds, for a console.")
    ] = 0,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what is connected: ports and who uses them, bootloaders, consoles, nodes on a bus.

    Example: tianfu-node probe --port /dev/ttyUSB0

    It only reads. Exit status 0: something was found, 1: nothing, or a port cannot be used.
    """
    try:
        plan = LookPlan(units=_numbers(units), baud=baud)
    except ValueError:
        typer.echo(f"--units: expected addresses as 1-16 or 2,5,7, got {units}", err=True)
        raise typer.Exit(UNUSABLE) from None
    ports = serial_ports()
    devices = usb_devices()
    chosen = port or [each.path for each in ports if len(ports) == 1]
    with Progress(console=Console(stderr=True), transient=True) as bars:
        watcher = _Bar(bars)
        looks = [_listened(path, wait) if wait else look(path, plan, watcher) for path in chosen]
    if json_output:
        typer.echo(
            json.dumps(
                {
                    "ports": [dataclasses.asdict(each) for each in ports],
                    "usb": [dataclasses.asdict(each) for each in devices],
                    "looks": [_plain(each) for each in looks],
                }
            )
        )
    else:
        _print(ports, devices, looks)
    good = all(each.findings for each in looks) if looks else bool(ports or devices)
    if not good:
        raise typer.Exit(FAULT)


class _Bar:
    """One bar for whatever is being read."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._bar = bars.add_task("look", total=None)

    def begin(self, step: str) -> None:
        """Name what is done now."""
        self._bars.reset(self._bar, description=step, total=None)

    def progress(self, done: int, total: int) -> None:
        """Move the bar."""
        self._bars.update(self._bar, completed=done, total=total)

    def end(self, text: str) -> None:
        """Do nothing: the result is printed as a whole."""

    def ask(self, text: str) -> None:
        """Do nothing: a look needs nobody."""


def _listened(path: str, wait_s: float) -> PortLook:
    try:
        found = console_at(path, wait_s, ask=False)
    except BoardError as error:
        return PortLook(path, problem=str(error))
    return PortLook(path, () if found is None else (found,))


def _plain(found: PortLook) -> dict[str, object]:
    return {
        "port": found.port,
        "problem": found.problem or None,
        "found": [
            {"kind": type(each).__name__.removeprefix("Found").lower()} | dataclasses.asdict(each)
            for each in found.findings
        ],
    }


def _print(ports: list[PortInfo], devices: list[UsbDevice], looks: list[PortLook]) -> None:
    for device in devices:
        typer.echo(f"USB {device.place}  {device.what} {device.usb_id} {device.serial}".rstrip())
    if not ports and not looks:
        typer.echo("no serial port: plug an adapter in, or name a port with --port")
    for each in ports:
        place = f"USB {each.place}" if each.place else "not on USB"
        what = each.adapter or "serial port"
        typer.echo(f"{each.path}  {place}  {what} {each.usb_id}".rstrip() + named(each.users))
        if each.lasting:
            typer.echo(f"    {each.lasting}")
    if ports and not looks:
        typer.echo("To see what is at one of them: tianfu-node probe --port PORT")
    for look_ in looks:
        typer.echo(look_.port)
        for line in look_.lines():
            typer.echo(f"    {line}")


def _numbers(text: str) -> list[int]:
    """Return the addresses of "1-16" or "2,5,7". ValueError."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    if not found or min(found) < 1 or max(found) > MAX_UNIT:
        raise ValueError(text)
    return found
